"""How long the list of held messages takes when a million are held, on SQLite and PostgreSQL.

    python -m benchmarks.quarantine [--number 1000000] [--stores sqlite,postgresql] [--passes 15] [--out FILE.json]
                                    [--keep FOLDER]

Rows are made up from a fixed seed: 200 domains (one has a third of the mail), campaigns of which the largest has a
fifth of it, 92 % still held, verdicts of about 1 KB. Times are of the whole answer, from the request to the rendered
page, without a network, and of the CPU of this process, which on SQLite is all of it. Holding is one message with its
blob and rows on the disk; PostgreSQL, a cluster of its own, runs with fsync=off, so there it is without the wait.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import random
import sqlite3
import statistics
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, closing
from pathlib import Path
from typing import Any

from sqlalchemy import Engine

from benchmarks.machine import describe
from gateway.stores.blobs import FileBlobs
from gateway.stores.engine import make_engine, migrate
from gateway.stores.quarantine import SqlQuarantine, _row, _text
from gateway.stores.schema import held, held_text
from gateway.types import Account, HeldMessage, Summary
from tests import postgres
from tests.web_app import make_web_app

_BATCH = 5000
_MADE = 20_000
_NOW = 1_800_000_000.0
_SPAN_S = 30 * 86_400.0
_HITS = (
    ("MONEY_WON", "Tells the reader that he has won"), ("URL_TEXT_MISMATCH", "A link shown as another site"),
    ("PHISH_VERIFY_ACCOUNT", "Asks to verify an account"), ("SPF_FAIL", "The domain does not allow this client"),
    ("CLASSIFIER", "The trained classifier's opinion"), ("RDNS_NONE", "The client has no name"),
    ("REPLY_TO_ELSEWHERE", "Answers go to another domain"), ("HTML_ONLY", "HTML without a plain text beside it"),
)  # fmt: skip
_WORDS = (
    "account payment invoice winner parcel mailbox verify urgent offer prize bank delivery password document order "
    "حساب جایزه پرداخت بسته فوری رمز بانک سفارش"
).split()
_SEARCHES = ("text", "sender", "recipient", "finding")
REQUESTS = {
    "first page": "/",
    "first page of a domain": "/?domain=d7.example",
    "all states": "/?state=",
    "highest score": "/?sort=highest",
    "oldest": "/?sort=oldest",
    "folded": "/?fold=yes",
    "kind: phishing": "/?kind=phishing",
    "kind: malware (0.1 %)": "/?kind=malware",
    "finding, common": "/?finding=MONEY_WON",
    "finding, rare": "/?finding=ATTACHMENT_MACRO",
    "text, common": "/?q=invoice",
    "text, Persian": "/?q=جايزه",
    "text, one message": "/?q=Q7777Z",
    "text, none": "/?q=nothingofthekind",
    "sender, some": "/?sender=sender77@",
    "recipient": "/?recipient=user123@d7.example",
    "score and days": "/?score_from=20&score_to=22&day_from=2027-01-01&day_to=2027-01-05",
    "one campaign": "/?campaign=" + hashlib.sha256(b"campaign 300").hexdigest()[:16],
    "bulk page, largest campaign": "/bulk?all=yes&filter=campaign%3D" + hashlib.sha256(b"campaign 0").hexdigest()[:16],
}


def main() -> None:
    """Print JSON, write it where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=1_000_000)
    parser.add_argument("--stores", default="sqlite,postgresql")
    parser.add_argument("--passes", type=int, default=15)
    parser.add_argument("--out", default="")
    parser.add_argument("--without-search", action="store_true", help="no index of trigrams, no question that needs it")
    parser.add_argument("--keep", default="", help="a folder for SQLite's file, filled once")
    options = parser.parse_args()
    result: dict[str, Any] = {"machine": describe(), "messages": options.number, "stores": {}}
    for store in options.stores.split(","):
        with ExitStack() as stack:
            folder = Path(options.keep or stack.enter_context(tempfile.TemporaryDirectory()))
            url = f"sqlite:///{folder}/darban.db"
            if store == "postgresql":
                url = postgres.fresh_database(stack.enter_context(postgres.server()))
            result["stores"][store] = measure(
                url, folder, options.number, options.passes, search=not options.without_search
            )
        print(json.dumps(result["stores"][store], indent=1, ensure_ascii=False), flush=True)
        if options.out:
            Path(options.out).write_text(json.dumps(result, indent=1, ensure_ascii=False) + "\n")


def measure(url: str, folder: Path, number: int, passes: int, *, search: bool) -> dict[str, Any]:
    """Fill the store, then ask."""
    migrate(url)
    engine = make_engine(url)
    quarantine = SqlQuarantine(engine, FileBlobs(f"file://{folder}/blobs"))
    started = time.perf_counter()
    if not quarantine.mark():
        fill(engine, number, search=search)
    filled_s = time.perf_counter() - started
    web, owner = make_web_app(folder, engine=engine), Account("bench", "owner")
    web.accounts.add(owner)
    client = web.client(owner)
    asked = {name: path for name, path in REQUESTS.items() if search or not name.startswith(_SEARCHES)}
    found = {name: timed(lambda path=path: client.get(path), passes) for name, path in asked.items()}  # type: ignore[misc]
    second = client.get("/").text.split('rel="next"')[0].rpartition('href="')[2].split('"')[0].replace("&amp;", "&")
    found["second page"] = timed(lambda: client.get(second), passes)
    news = client.get("/").text.partition('hx-get="/news')[2].partition('"')[0].replace("&amp;", "&")
    found["what is new (every 15 s)"] = timed(lambda: client.get(f"/news{news}"), passes)
    page = client.get("/")
    result = {
        "rows_per_second_filling": round(number / filled_s) if filled_s > 1 else None,
        "first_page_bytes": len(page.content),
        "requests": found,
        "hold_ms": _held(quarantine, passes),
    }
    engine.dispose()
    return result


def timed(ask: Callable[[], Any], passes: int) -> dict[str, Any]:
    """Milliseconds: median and the slowest of nine in ten; the first, cold one beside them; CPU of this process."""
    times, cpu = [], []
    for _ in range(passes + 1):
        started, used = time.perf_counter(), time.process_time()
        answer = ask()
        times.append((time.perf_counter() - started) * 1000)
        cpu.append((time.process_time() - used) * 1000)
        assert answer.status_code in (200, 204), (answer.status_code, answer.url)
    warm = sorted(times[1:])
    p90 = warm[min(len(warm) - 1, int(len(warm) * 0.9))]
    return {"first_ms": round(times[0], 1), "p50_ms": round(statistics.median(warm), 1), "p90_ms": round(p90, 1)} | {
        "cpu_ms": round(statistics.median(cpu), 1)
    }


def fill(engine: Engine, number: int, *, search: bool) -> None:
    """All the rows, without waiting for the disk: some are made here, the others of them by the store itself; indexes
    are made afterwards, which is several times faster.
    """
    names = [column.name for column in held.columns]
    texts = [column.name for column in held_text.columns if column.name != "number"]
    is_sqlite = engine.dialect.name == "sqlite"
    with closing(engine.raw_connection()) as pooled:
        driver: Any = pooled.driver_connection
        do = driver.execute
        if is_sqlite:
            do("PRAGMA synchronous=OFF")
            do("DROP TRIGGER held_text_added")
        else:
            driver.autocommit = True
        dropped = _drop_indexes(do, is_sqlite=is_sqlite, search=search)
        made = list(messages(min(number, _MADE)))
        for start in range(0, len(made), _BATCH):
            batch = made[start : start + _BATCH]
            rows = (_row(one) | {"blob": one.content_hash, "storage_key": ""} for one in batch)
            _insert(driver, "held_message", names, [[row[name] for name in names] for row in rows])
            _insert(driver, "held_text", texts, [[row[name] for name in texts] for row in map(_text, batch)])
        for copy in range(1, number // _MADE):
            do(_again("held_message", names, "id", copy))
            do(_again("held_text", texts, "held_id", copy))
        for statement in dropped:
            do(statement)
        if is_sqlite:
            if search:
                do("INSERT INTO held_search(held_search) VALUES ('rebuild')")
            columns = "sender, recipient, words, hits"
            news = ", ".join(f"new.{one}" for one in columns.split(", "))
            do(
                "CREATE TRIGGER held_text_added AFTER INSERT ON held_text BEGIN "
                f"INSERT INTO held_search(rowid, {columns}) VALUES (new.number, {news}); END"
            )
            do("PRAGMA synchronous=FULL")
        else:
            do("ANALYZE")  # as autovacuum does; nobody does it for SQLite


def _again(table: str, names: list[str], key: str, copy: int) -> str:
    """The rows made here once more, under other ids, one second apart, of another thirtieth of the campaigns."""
    numbered = f"'{copy:06x}' || substr({{}}, 7)"
    changed = {
        key: numbered.format(key),
        "content_hash": numbered.format("content_hash"),
        "blob": numbered.format("blob"),
        "received_at": f"received_at - {copy}",
        "state_at": f"state_at - {copy}",
        "queue_id": f"queue_id || '{copy}'",
        "words": f"replace(words, 'z ', 'z{copy} ')",
    }
    shift = f"CASE WHEN campaign < '8' THEN campaign ELSE '{copy:02x}' || substr(campaign, 3) END"
    values = ", ".join((changed | {"campaign": shift}).get(name, name) for name in names)
    return f"INSERT INTO {table} ({', '.join(names)}) SELECT {values} FROM {table} WHERE substr({key}, 1, 4) <> '0000'"


def _drop_indexes(do: Callable[[str], Any], *, is_sqlite: bool, search: bool) -> list[str]:
    """The statements that make them again."""
    asked = "SELECT name, sql FROM sqlite_master WHERE type = 'index' AND sql IS NOT NULL AND tbl_name IN {}"
    if not is_sqlite:
        asked = (
            "SELECT indexname, indexdef FROM pg_indexes WHERE tablename IN {} AND indexname NOT LIKE '%_pkey' "
            "AND indexname NOT LIKE '%_key'"
        )
    found = list(do(asked.format("('held_message', 'held_text')")))
    for name, _ in found:
        do(f"DROP INDEX {name}")
    return [statement for name, statement in found if search or not name.endswith("_trigrams")]


def _insert(driver: Any, table: str, names: list[str], rows: list[list[Any]]) -> None:
    if isinstance(driver, sqlite3.Connection):
        driver.execute("BEGIN")
        marks = ", ".join("?" * len(names))
        driver.executemany(f"INSERT INTO {table} ({', '.join(names)}) VALUES ({marks})", rows)
        driver.execute("COMMIT")
        return
    with driver.cursor() as cursor, cursor.copy(f"COPY {table} ({', '.join(names)}) FROM STDIN") as copy:
        for row in rows:
            copy.write_row(row)


def messages(number: int) -> Iterator[HeldMessage]:
    """The same every time."""
    chooser = random.Random(5)
    drawn = chooser.random
    verdicts = [_verdict(chooser) for _ in range(300)]
    rare = _verdict(chooser, ("ATTACHMENT_MACRO", "A file that can hold macros"))
    subjects = [" ".join(chooser.choices(_WORDS, k=4)) for _ in range(3000)]
    campaigns = [hashlib.sha256(f"campaign {key}".encode()).hexdigest()[:16] for key in range(100_000)]
    for place in range(number):
        digest = "f" + hashlib.sha256(str(place).encode()).hexdigest()[1:]  # copies begin with zeros
        a, b, c = drawn(), drawn(), drawn()
        domain = "d7.example" if a < 0.33 else f"d{int(a * 10_000) % 200}.example"
        names, verdict = verdicts[int(b * 300)] if place % 5000 != 4999 else rare
        sender = f"sender{int(b * 5000)}@s{int(c * 900)}.example"
        at = _NOW - _SPAN_S * (1 - place / number)
        kind: Any = "malware" if c < 0.001 else "phishing" if c < 0.2 else "spam"
        summary = Summary(
            f"{place}@example",
            f"{subjects[int(c * 3000)]} {int(a * 100_000)}",
            f"Somebody <{sender}>",
            int(2000 + b * 90_000),
        )
        yield HeldMessage(
            digest[:32], f"Q{place}Z", digest, sender, f"user{int(c * 400)}@{domain}", domain, "192.0.2.1", "h.example",
            at, summary, round(8 + 24 * b * b * a, 2), "score 9.0 >= quarantine_at 8.0", verdict, state=_state(c),
            state_at=at,
            kind=kind, hits=names, attachments=int(place % 9 == 0), campaign=campaigns[int(b**12 * 100_000)],
        )  # fmt: skip


def _state(drawn: float) -> Any:
    return "held" if drawn < 0.92 else "deleted" if drawn < 0.97 else "released"


def _verdict(chooser: random.Random, *more: tuple[str, str]) -> tuple[tuple[str, ...], str]:
    seen = ["something that was seen " * 6]
    listed = [
        {"name": name, "score": round(chooser.uniform(0.5, 6), 2), "description": told, "evidence": seen}
        for name, told in (*chooser.sample(_HITS, 4), *more)
    ]
    told = {"hits": listed, "incomplete": [], "prediction": {"probability": 0.99, "contributions": []}}
    return tuple(str(one["name"]) for one in listed), json.dumps(told)


def _held(quarantine: SqlQuarantine, passes: int) -> dict[str, Any]:
    """One message, its blob and rows on the disk."""
    times = []
    for number, one in zip(range(passes), messages(passes), strict=True):
        content = f"Subject: {time.time_ns()} {number}\r\n\r\nbody\r\n".encode()
        digest = hashlib.sha256(content).hexdigest()
        fresh = HeldMessage(
            **{name: getattr(one, name) for name in HeldMessage.__slots__} | {"id": digest[:32], "content_hash": digest}
        )
        started = time.perf_counter()
        quarantine.hold([fresh], content)
        times.append((time.perf_counter() - started) * 1000)
    return {"p50_ms": round(statistics.median(times), 2), "max_ms": round(max(times), 2)}


if __name__ == "__main__":
    main()
