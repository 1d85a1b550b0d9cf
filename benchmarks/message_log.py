"""What a search of the message log costs, and what a row costs to write, when there are ten million.

    python -m benchmarks.message_log [--rows 10000000] [--stores sqlite,postgresql] [--folder DIR] [--out FILE]

The rows are made up, the same each time: 90 days, 200 domains, 60,000 recipients, 300,000 senders, 150,000 clients, 400
findings, subjects of English and Persian words, all as unevenly spread as in mail. They are loaded without the indexes,
which are made afterwards; then searches are timed, each with so many different values, once all of them for the first
time, once again; then rows are appended in batches as the journal does, each batch on the disk, and old ones purged.
PostgreSQL has its default memory (shared_buffers 128 MB). About 15 GB of disk for each store.
"""

from __future__ import annotations

import argparse
import itertools
import json
import random
import shutil
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
from sqlalchemy import Engine, text

from benchmarks.machine import describe, percentile
from gateway.stores.engine import make_engine, migrate
from gateway.stores.message_log import SqlMessageLog
from gateway.stores.schema import message_log
from gateway.types import LogQuery, LogRow, Scope, Summary
from tests import postgres

DAYS = 90
END = 1_790_000_000.0  # of the rows' time
CHUNK = 100_000
BATCH = 500  # of the journal
TIMES = 40  # values of each search
COLUMNS = tuple(message_log.c.keys())
ENGLISH = """invoice payment order account update meeting report weekly offer free delivery urgent security notice
your the for new of and to re fwd shipping confirm password project budget schedule review team newsletter sale final
reminder request support ticket contract agenda minutes travel flight hotel booking receipt statement""".split()
PERSIAN = """فاکتور پرداخت سفارش حساب جلسه گزارش هفتگی پیشنهاد رایگان ارسال فوری امنیت اطلاعیه شما برای جدید و به از
پروژه بودجه بازبینی خبرنامه فروش یادآوری درخواست پشتیبانی قرارداد سفر پرواز هتل رسید صورتحساب دانشگاه آزمون""".split()
ACTIONS = ("accept", "tag", "quarantine", "reject", "tempfail")
SHARES = (0.45, 0.06, 0.05, 0.40, 0.04)


class Rows:
    """Plausible rows; the same for a seed."""

    def __init__(self, rows: int) -> None:
        self._random = np.random.default_rng(7)
        self._rows = rows
        self.domains = [f"d{n}.example.ir" for n in range(200)]
        self.recipients = [f"user{n}@{self.domains[n % 200]}" for n in range(60_000)]
        sender_domains = [f"s{n}.example.com" for n in range(50_000)]
        self.senders = [f"from{n}@{sender_domains[n % 50_000]}" for n in range(300_000)]
        self.sender_domains = sender_domains
        self.clients = [f"{1 + n % 223}.{n // 223 % 256}.{n * 7 % 256}.{n % 251}" for n in range(150_000)]
        self.findings = [f"FINDING_{n:03}" for n in range(400)]
        rare = [f"word{n}" for n in range(20_000)]
        self.words = [*itertools.chain.from_iterable(zip(ENGLISH, PERSIAN, strict=False)), *rare]

    def chunks(self) -> Iterator[list[tuple[Any, ...]]]:
        """Values of COLUMNS, oldest first."""
        step = DAYS * 86_400 / self._rows
        for first in range(0, self._rows, CHUNK):
            yield list(self._chunk(first, min(CHUNK, self._rows - first), step))

    def _pick(self, size: Any, number: int) -> Any:
        """Few are many: an index below `number`."""
        return (number ** self._random.random(size) - 1).astype(int)

    def _chunk(self, first: int, size: int, step: float) -> Iterator[tuple[Any, ...]]:
        pick = self._pick
        to, by, via = pick(size, 60_000), pick(size, 300_000), pick(size, 150_000)
        acts = self._random.choice(5, size, p=SHARES)
        hits, words = pick((size, 7), 400), pick((size, 6), len(self.words))
        lengths, early = self._random.integers(2, 7, size), self._random.random(size)
        for n in range(size):
            number, action = first + n, ACTIONS[acts[n]]
            at = END - DAYS * 86_400 + number * step
            recipient, sender = self.recipients[to[n]], self.senders[by[n]]
            is_content = action not in ("reject", "tempfail") or early[n] > 0.7
            is_list = is_content and early[n] < 0.3  # the author is not the reverse-path
            author = self.senders[(by[n] * 31 + 5) % 300_000] if is_list else sender
            yield (
                (int(at * 1000) << 18) + n % 1000,
                f"Q{number:013}" if is_content else "",
                at,
                self.clients[via[n]],
                f"mx{via[n]}.example.net",
                sender,
                recipient,
                f"{number:x}.{by[n]}@mail.example.com" if is_content else "",
                " ".join(self.words[w] for w in words[n][: lengths[n]]) if is_content else "",
                f"Name {by[n]} <{author}>" if is_content else "",
                20_000,
                action,
                "250 2.0.0 Message accepted" if action in ACTIONS[:3] else "550 5.1.1 No such user here",
                float(acts[n]),
                " ".join(self.findings[h] for h in sorted(set(hits[n]))) if is_content else "",
                "score 1.0 < tag_at 5.0",
                f"250 2.0.0 Ok: queued as H{number:x}" if action in ACTIONS[:2] else "",
                recipient.rpartition("@")[2],
                sender.rpartition("@")[2],
                author if is_list else None,
                author.rpartition("@")[2] if is_list else None,
                f"h{number:x}" if action in ACTIONS[:2] else None,
            )


def load(engine: Engine, rows: Rows) -> float:
    """Seconds. Without indexes, which are made afterwards."""
    began = time.perf_counter()
    is_sqlite = engine.dialect.name == "sqlite"
    with engine.begin() as connection:
        later = _drop_sqlite(connection) if is_sqlite else _drop_postgresql(connection)
    for chunk in rows.chunks():
        with engine.begin() as connection:
            raw = connection.connection.driver_connection
            assert raw is not None
            if is_sqlite:
                raw.executemany(f"INSERT INTO message_log VALUES ({','.join('?' * len(COLUMNS))})", chunk)
            else:
                with raw.cursor().copy(f"COPY message_log ({','.join(COLUMNS)}) FROM STDIN") as copy:
                    for row in chunk:
                        copy.write_row(row)
    for statement in later:
        with engine.begin() as connection:
            connection.exec_driver_sql(statement)
    if not is_sqlite:
        with engine.connect().execution_options(isolation_level="AUTOCOMMIT") as connection:
            connection.exec_driver_sql("VACUUM ANALYZE message_log")
    return time.perf_counter() - began


def _drop_sqlite(connection: Any) -> list[str]:
    connection.exec_driver_sql("PRAGMA cache_size=-1000000")
    found = connection.execute(
        text(
            "SELECT name, type, sql FROM sqlite_master WHERE tbl_name = 'message_log' AND type IN ('index', 'trigger')"
        )
    ).all()
    for name, kind, _ in found:
        connection.exec_driver_sql(f"DROP {kind} {name}")
    rebuilt = [f"INSERT INTO {one}({one}) VALUES ('rebuild')" for one in ("message_log_subject", "message_log_finding")]
    return ["PRAGMA cache_size=-1000000", *(sql for _, _, sql in found), *rebuilt]


def _drop_postgresql(connection: Any) -> list[str]:
    found = connection.execute(
        text("SELECT indexname, indexdef FROM pg_indexes WHERE tablename = 'message_log' AND indexname !~ 'pkey'")
    ).all()
    for name, _ in found:
        connection.exec_driver_sql(f"DROP INDEX {name}")
    return ["SET maintenance_work_mem = '1GB'", *(definition for _, definition in found)]


def searches(made: Rows, rows: int) -> dict[str, Callable[[random.Random], LogQuery]]:
    """Name -> a query with other values each time."""
    everybody = LogQuery()

    def some(of: list[str], upto: float = 1.0) -> Callable[[random.Random], str]:
        return lambda chance: of[int((len(of) * upto) ** chance.random()) - 1]

    recipient, sender, client = some(made.recipients), some(made.senders), some(made.clients)
    domain, sender_domain = some(made.domains), some(made.sender_domains)
    common, rare = some(made.words[:60]), some(made.words[1000:])

    def days(chance: random.Random) -> dict[str, float]:
        since = END - chance.uniform(2, DAYS) * 86_400
        return {"since": since, "until": since + 86_400}

    def row(chance: random.Random) -> int:
        return chance.randrange(rows)

    return {
        "the newest": lambda _: everybody,
        "an older page": lambda c: LogQuery(before=int((END - c.uniform(1, DAYS) * 86_400) * 1000) << 18),
        "a day": lambda c: LogQuery(**days(c)),
        "queue id": lambda c: LogQuery(queue_id=f"Q{row(c):013}"),
        "queue id of the next hop": lambda c: LogQuery(queue_id=f"H{row(c):x}"),
        "message id": lambda c: LogQuery(message_id=f"<{row(c):x}.{int(row(c) ** 0.5)}@mail.example.com>"),
        "recipient": lambda c: LogQuery(recipient=recipient(c)),
        "recipient, refused": lambda c: LogQuery(recipient=recipient(c), action="reject"),
        "recipient, a day": lambda c: LogQuery(recipient=recipient(c), **days(c)),
        "recipient's domain": lambda c: LogQuery(recipient=domain(c)),
        "domain, held": lambda c: LogQuery(recipient=domain(c), action="quarantine"),
        "sender": lambda c: LogQuery(sender=sender(c)),
        "sender's domain": lambda c: LogQuery(sender=sender_domain(c)),
        "sender and recipient": lambda c: LogQuery(sender=sender(c), recipient=recipient(c)),
        "local part": lambda c: LogQuery(text=recipient(c).partition("@")[0] + "@"),
        "client": lambda c: LogQuery(client=client(c)),
        "client network": lambda c: LogQuery(client=client(c).rpartition(".")[0] + ".0/24"),
        "verdict": lambda c: LogQuery(action=c.choice(("quarantine", "tempfail", "tag", "scanned"))),
        "finding, common": lambda c: LogQuery(finding=c.choice(made.findings[:20])),
        "finding, rare": lambda c: LogQuery(finding=c.choice(made.findings[200:])),
        "finding, of a domain": lambda c: LogQuery(finding=some(made.findings)(c), recipient=domain(c)),
        "finding, a day": lambda c: LogQuery(finding=some(made.findings)(c), **days(c)),
        "subject, a common word": lambda c: LogQuery(subject=common(c)),
        "subject, a rare word": lambda c: LogQuery(subject=rare(c)),
        "subject, two words": lambda c: LogQuery(subject=f"{common(c)} {common(c)}"),
        "subject, not there": lambda c: LogQuery(subject=f"zq{row(c)}xy"),
        "subject, a day": lambda c: LogQuery(subject=common(c), **days(c)),
        "subject, of a sender": lambda c: LogQuery(subject=common(c), sender=sender(c)),
        "text: an address": lambda c: LogQuery(text=recipient(c)),
        "text: a word": lambda c: LogQuery(text=common(c)),
        "text: a queue id": lambda c: LogQuery(text=f"Q{row(c):013}"),
        "a domain admin's newest": lambda c: LogQuery(scope=Scope(domains=(domain(c), domain(c)))),
        "a domain admin's subject": lambda c: LogQuery(subject=common(c), scope=Scope(domains=(domain(c),))),
        "a domain admin's rare subject": lambda c: LogQuery(subject=rare(c), scope=Scope(domains=(domain(c),))),
        "a recipient's newest": lambda c: LogQuery(scope=Scope(addresses=(recipient(c),))),
        "a recipient's subject": lambda c: LogQuery(subject=common(c), scope=Scope(addresses=(recipient(c),))),
    }


def measure(log: SqlMessageLog, asked: dict[str, Callable[[random.Random], LogQuery]]) -> list[dict[str, Any]]:
    """Milliseconds of each search: the first time, and again."""
    found = []
    for name, make in asked.items():
        queries = [make(chance) for chance in (random.Random(seed) for seed in range(TIMES))]
        passes = []
        for _ in range(2):
            times, rows = [], []
            for query in queries:
                began = time.perf_counter()
                rows.append(len(log.search(query).rows))
                times.append((time.perf_counter() - began) * 1000)
            passes.append(times)
        first, again = passes
        found.append(
            {
                "search": name,
                "rows": statistics.median(rows),
                "p50_ms": round(percentile(again, 0.5), 1),
                "p95_ms": round(percentile(again, 0.95), 1),
                "max_ms": round(max(again), 1),
                "first_p95_ms": round(percentile(first, 0.95), 1),
                "first_max_ms": round(max(first), 1),
            }
        )
        print(json.dumps(found[-1]), flush=True)
    return found


def write(log: SqlMessageLog, made: Rows, batches: int) -> dict[str, float]:
    """Rows a second of appending, and of purging; the longest batch of each."""
    rows = list(_new_rows(made, batches * BATCH))
    appended = [_timed(lambda at=at: log.append(rows[at : at + BATCH])) for at in range(0, len(rows), BATCH)]  # type: ignore[misc]
    age = time.time() - END + (DAYS - 1) * 86_400
    purged = [_timed(lambda: log.purge(age, 1000)) for _ in range(min(batches, 20))]
    return {
        "append_rows_s": round(len(rows) / sum(appended)),
        "append_batch_p95_ms": round(percentile(appended, 0.95) * 1000, 1),
        "purge_rows_s": round(1000 * len(purged) / sum(purged)),
        "purge_batch_max_ms": round(max(purged) * 1000, 1),
    }


def _timed(act: Callable[[], object]) -> float:
    began = time.perf_counter()
    act()
    return time.perf_counter() - began


def _new_rows(made: Rows, number: int) -> Iterator[LogRow]:
    """After the others."""
    for values in itertools.islice(itertools.chain.from_iterable(made.chunks()), number):
        row = dict(zip(COLUMNS, values, strict=True))
        summary = Summary(row["message_id"], row["subject"], row["author"], row["size_bytes"])
        plain = {name: row[name] for name in LogRow.__slots__ if name in row and name not in ("number", "hits")}
        yield replace(LogRow(summary=summary, hits=tuple(row["hits"].split()), **plain), at=END + row["at"] % 86_400)


def run(url: str, rows: int, batches: int) -> dict[str, Any]:
    """One store."""
    migrate(url)
    engine = make_engine(url)
    made = Rows(rows)
    with engine.connect() as connection:
        is_empty = connection.scalar(text("SELECT max(number) FROM message_log")) is None
    seconds = load(engine, made) if is_empty else 0.0
    print(f"{engine.dialect.name}: {rows} rows in {seconds:.0f} s", flush=True)
    log = SqlMessageLog(engine)
    found = {
        "load_s": round(seconds),
        "size_gb": round(_size(engine) / 1e9, 2),
        "searches": measure(log, searches(made, rows)),
        **write(log, Rows(rows), batches),
    }
    engine.dispose()
    return found


def _size(engine: Engine) -> int:
    query = "SELECT pg_total_relation_size('message_log')"
    if engine.dialect.name == "sqlite":
        query = "SELECT page_count * page_size FROM pragma_page_count, pragma_page_size"
    with engine.connect() as connection:
        return int(connection.scalar(text(query)) or 0)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--rows", type=int, default=10_000_000)
    parser.add_argument("--batches", type=int, default=40)
    parser.add_argument("--stores", default="sqlite,postgresql")
    parser.add_argument("--folder", type=Path)
    parser.add_argument("--url", help="an own database, loaded when it is empty and kept")
    parser.add_argument("--out", type=Path)
    arguments = parser.parse_args()
    told: dict[str, Any] = {"machine": describe(), "rows": arguments.rows, "stores": {}}
    for store in [arguments.url.partition(":")[0]] if arguments.url else arguments.stores.split(","):
        with ExitStack() as stack:
            url = arguments.url or _fresh(store, arguments.folder, stack)
            told["stores"][store] = run(url, arguments.rows, arguments.batches)
        if arguments.out:
            arguments.out.write_text(json.dumps(told, indent=1, ensure_ascii=False) + "\n")


def _fresh(store: str, parent: Path | None, stack: ExitStack) -> str:
    if store == "postgresql":
        return postgres.fresh_database(stack.enter_context(postgres.server(is_durable=True)))
    folder = Path(tempfile.mkdtemp(prefix="darban-log-", dir=parent))
    stack.callback(shutil.rmtree, folder, ignore_errors=True)
    return f"sqlite:///{folder}/darban.db"


if __name__ == "__main__":
    main()
