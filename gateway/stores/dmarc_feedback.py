"""What DMARC reports are made of (RFC 9990): counted rows by UTC day and policy domain, and which reports were sent.

A day's domain has one policy, the one that was seen last (RFC 9990 §3.3). Limits: MAX_DOMAIN_ROWS different rows for a
domain and day, MAX_DAY_ROWS for a day, about 300 bytes each; what is beyond is counted in the metric and left out, or
whoever makes up addresses and domains could fill the disk. Days older than keep_days go when a new day begins.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections import Counter
from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

import prometheus_client
from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects import postgresql, sqlite
from sqlalchemy.exc import IntegrityError

from gateway.errors import StoreError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import dmarc_policy, dmarc_row, dmarc_sent
from gateway.types import DmarcRow, DmarcSending

DROPPED = prometheus_client.Counter(
    "darban_dmarc_dropped_total", "Messages left out of DMARC reports, as the day had too many different ones."
)

MAX_DAY_ROWS = 300_000
MAX_DOMAIN_ROWS = 20_000
DAY_S = 86_400
_CLAIM_S = 3600.0  # a claim this old was left by a run that died
_CHUNK = 500  # ids of one statement
_PLAIN = ("domain", "source_ip", "header_from", "envelope_from", "envelope_to", "disposition", "is_dkim_aligned",
          "is_spf_aligned")  # fmt: skip
_LONGEST = 1000  # characters of one value


class SqlDmarcFeedback:
    """Implements ports.DmarcStore."""

    def __init__(self, engine: Engine, keep_days: int = 30, now: Callable[[], float] = time.time) -> None:
        self._engine = engine
        self._keep_days = keep_days
        self._now = now
        self._sizes: dict[int, Counter[str]] = {}  # day -> domain -> rows, of the days that are written to

    def add(self, rows: Sequence[DmarcRow]) -> None:
        """Count them. Rows of the same values, however many, are one."""
        if not rows:
            return
        counted: dict[str, dict[str, Any]] = {}
        for row in rows:
            values = _values(row)
            known = counted.setdefault(values["id"], values | {"count": 0})
            known["count"] += row.count
        try:
            with faults("DMARC reports"), self._engine.begin() as connection:
                self._write(connection, counted, rows)
        except BaseException:
            self._sizes.clear()  # what was thought to be written was not
            raise

    def domains(self, day: int) -> Sequence[str]:
        """Sorted."""
        query = select(dmarc_policy.c.domain).where(dmarc_policy.c.day == day).order_by(dmarc_policy.c.domain)
        with faults("DMARC reports"), self._engine.connect().execution_options(read_only=True) as connection:
            return list(connection.scalars(query))

    def rows(self, day: int, domain: str) -> Sequence[DmarcRow]:
        """Most messages first."""
        policy = select(dmarc_policy).where(dmarc_policy.c.day == day, dmarc_policy.c.domain == domain)
        query = select(dmarc_row).where(dmarc_row.c.day == day, dmarc_row.c.domain == domain)
        query = query.order_by(dmarc_row.c.count.desc(), dmarc_row.c.id)
        with faults("DMARC reports"), self._engine.connect().execution_options(read_only=True) as connection:
            last = connection.execute(policy).mappings().first()
            found = connection.execute(query).mappings().all()
        return [_row(dict(one), last["published"], last["at"]) for one in found] if last else []

    def claim(self, day: int, domain: str, address: str, report_id: str) -> bool:
        """One of several runs that ask at the same time is told True."""
        key = (dmarc_sent.c.day == day) & (dmarc_sent.c.domain == domain) & (dmarc_sent.c.address == address)
        values = {"report_id": report_id, "state": "sending", "at": self._now(), "note": ""}
        try:
            with faults("DMARC reports"), self._engine.begin() as connection:
                found = connection.execute(select(dmarc_sent).where(key).with_for_update()).mappings().first()
                if found is None:
                    connection.execute(insert(dmarc_sent).values(day=day, domain=domain, address=address, **values))
                    return True
                is_stale = found["state"] == "sending" and self._now() - found["at"] > _CLAIM_S
                if found["state"] != "failed" and not is_stale:
                    return False
                connection.execute(update(dmarc_sent).where(key).values(**values))
                return True
        except StoreError as error:
            if isinstance(error.__cause__, IntegrityError):  # another run was first
                return False
            raise

    def settle(self, day: int, domain: str, address: str, state: DmarcSending, note: str) -> None:
        """The end of a claim."""
        key = (dmarc_sent.c.day == day) & (dmarc_sent.c.domain == domain) & (dmarc_sent.c.address == address)
        with faults("DMARC reports"), self._engine.begin() as connection:
            connection.execute(
                update(dmarc_sent).where(key).values(state=state, at=self._now(), note=storable(note[:300]))
            )

    def purge(self, before_day: int) -> int:
        """Forget the days before; how many rows went."""
        with faults("DMARC reports"), self._engine.begin() as connection:
            return _purge(connection, before_day)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _write(self, connection: Connection, counted: Mapping[str, dict[str, Any]], rows: Sequence[DmarcRow]) -> None:
        known: set[str] = set()
        ids = list(counted)
        for start in range(0, len(ids), _CHUNK):
            chunk = ids[start : start + _CHUNK]
            known.update(connection.scalars(select(dmarc_row.c.id).where(dmarc_row.c.id.in_(chunk))))
        wanted = [one for one in counted.values() if one["id"] in known or self._has_room(connection, one)]
        if wanted:
            _add_counts(connection, wanted)
        kept = {(one["day"], one["domain"]) for one in wanted}
        policies = {key: one for one in sorted(rows, key=lambda row: row.at) if (key := _policy_key(one)) in kept}
        if policies:
            _note_policies(connection, policies)

    def _has_room(self, connection: Connection, row: Mapping[str, Any]) -> bool:
        sizes = self._sizes_of(connection, row["day"])
        if sizes[row["domain"]] >= MAX_DOMAIN_ROWS or sizes[""] >= MAX_DAY_ROWS:
            DROPPED.inc(row["count"])
            return False
        sizes[row["domain"]] += 1
        sizes[""] += 1  # the day's own
        return True

    def _sizes_of(self, connection: Connection, day: int) -> Counter[str]:
        """How many rows the day's domains have: read once, then kept up."""
        if day not in self._sizes:
            query = select(dmarc_row.c.domain, func.count()).where(dmarc_row.c.day == day).group_by(dmarc_row.c.domain)
            sizes: Counter[str] = Counter({row[0]: row[1] for row in connection.execute(query)})
            sizes[""] = sum(sizes.values())
            if not sizes[""]:
                _purge(connection, day - self._keep_days)
            self._sizes = {kept: self._sizes[kept] for kept in self._sizes if abs(kept - day) <= 1}
            self._sizes[day] = sizes
        return self._sizes[day]


def _purge(connection: Connection, before_day: int) -> int:
    connection.execute(delete(dmarc_policy).where(dmarc_policy.c.day < before_day))
    connection.execute(delete(dmarc_sent).where(dmarc_sent.c.day < before_day))
    return connection.execute(delete(dmarc_row).where(dmarc_row.c.day < before_day)).rowcount


def _insert(connection: Connection, table: Any) -> Any:
    """An INSERT that knows ON CONFLICT."""
    return (postgresql if connection.dialect.name == "postgresql" else sqlite).insert(table)


def _add_counts(connection: Connection, rows: Sequence[Mapping[str, Any]]) -> None:
    statement = _insert(connection, dmarc_row)
    statement = statement.on_conflict_do_update(
        index_elements=["id"], set_={"count": dmarc_row.c.count + statement.excluded.count}
    )
    connection.execute(statement, sorted(rows, key=lambda one: str(one["id"])))  # one order for all, or they deadlock


def _note_policies(connection: Connection, policies: Mapping[tuple[int, str], DmarcRow]) -> None:
    statement = _insert(connection, dmarc_policy)
    statement = statement.on_conflict_do_update(
        index_elements=["day", "domain"],
        set_={"published": statement.excluded.published, "at": statement.excluded.at},
        where=dmarc_policy.c.at <= statement.excluded.at,
    )
    values = [
        {"day": day, "domain": domain, "published": storable(row.published), "at": row.at}
        for (day, domain), row in sorted(policies.items())
    ]
    connection.execute(statement, values)


def _policy_key(row: DmarcRow) -> tuple[int, str]:
    return int(row.at // DAY_S), row.domain[:255]


def _values(row: DmarcRow) -> dict[str, Any]:
    """The columns, all but the count; the id is their hash."""
    values: dict[str, Any] = {name: _bounded(getattr(row, name)) for name in _PLAIN}
    values |= {
        "day": int(row.at // DAY_S),
        "domain": row.domain[:255],
        "overrides": " ".join(row.overrides),
        "dkim": json.dumps([[_bounded(word) for word in one] for one in row.dkim]),
        "spf_domain": _bounded(row.spf[0]),
        "spf_result": row.spf[1][:16],
    }
    written = json.dumps(sorted(values.items())).encode()
    return values | {"id": hashlib.sha256(written).hexdigest()[:32]}


def _bounded(value: Any) -> Any:
    return str(storable(value[:_LONGEST])) if isinstance(value, str) else value


def _row(values: Mapping[str, Any], published: str, at: float) -> DmarcRow:
    plain: Iterable[tuple[str, Any]] = ((name, values[name]) for name in _PLAIN)
    return DmarcRow(
        at=at,
        published=published,
        overrides=tuple(values["overrides"].split()),
        dkim=tuple((domain, selector, result) for domain, selector, result in json.loads(values["dkim"])),
        spf=(values["spf_domain"], values["spf_result"]),
        count=values["count"],
        **dict(plain),
    )
