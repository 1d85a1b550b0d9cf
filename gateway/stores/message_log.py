"""The message log: one row for each message and recipient that ever reached us.

A row's number is its time in milliseconds, and 18 bits that tell rows of one millisecond apart: it is at once the order
of the log, the range of dates, the cursor of pages and, in SQLite, the row's place in the full-text indexes.
"""

from __future__ import annotations

import contextlib
import hashlib
import hmac
import ipaddress
import re
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import product
from typing import Any, Final, Literal

from sqlalchemy import ColumnElement, Engine, delete, false, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from gateway.errors import InputError
from gateway.mail.address import domain_of, mention_of, parse_mailboxes
from gateway.mail.domain import to_a_label
from gateway.mail.queued import queue_id_of
from gateway.stores.engine import faults, storable
from gateway.stores.log_search import MIN_PART, LogSearch, Term, log_search
from gateway.stores.schema import message_log
from gateway.types import LogPage, LogQuery, LogRow, Scope, Summary

_SUMMARY = tuple(Summary.__slots__)
_PLAIN = tuple(name for name in LogRow.__slots__ if name not in ("summary", "hits", "number"))
_MAX_PAGE = 1000
_WITHIN_MS = 18  # bits
_FOREVER = (1 << 63) - 1
_MAX_MS = (1 << 63 - _WITHIN_MS) - 1
_RETRIED_S = 5 * 86_400.0  # how long clients retry (RFC 5321 §4.5.4.1: at least 4-5 days)
_MAX_TRIES = 50
_SAME_MILLISECOND = 3  # times that rows of two writers may have the same number, which one in 262,144 has
_EVERYBODY: Final = Scope(is_all=True)

Subjects = Literal["keep", "hash", "drop"]


def subject_writer(subjects: Subjects, secret: bytes) -> Callable[[str], str]:
    """What of a subject is kept: all of it; what only tells equal ones, to nobody without the secret; nothing."""

    def hashed(subject: str) -> str:
        words = " ".join(subject.casefold().split())
        return f"#{hmac.digest(secret, words.encode('utf-8', 'replace'), hashlib.sha256).hex()[:24]}" if words else ""

    writers: dict[Subjects, Callable[[str], str]] = {"keep": str, "hash": hashed, "drop": lambda _: ""}
    return writers[subjects]


class SqlMessageLog:
    """Implements ports.MessageLog."""

    def __init__(self, engine: Engine, subject: Callable[[str], str] = str) -> None:
        """`subject` says what of a subject is kept; what is looked for goes through it too."""
        self._engine = engine
        self._subject = subject
        self._found: LogSearch | None = None

    def append(self, rows: Sequence[LogRow]) -> None:
        """All in one transaction."""
        if not rows:
            return
        with faults("message log"):
            for left in reversed(range(_SAME_MILLISECOND)):
                try:
                    with self._engine.begin() as connection:
                        connection.execute(insert(message_log), list(self._numbered(rows)))
                    return
                except IntegrityError:
                    if not left:
                        raise

    def search(self, query: LogQuery) -> LogPage:
        """One page, newest first. Each way to understand what is asked is one look-up in an index."""
        limit = max(1, min(query.limit, _MAX_PAGE))
        search = self._search()
        since = 0 if query.since is None else _first_of(query.since)
        before = _FOREVER if query.until is None else _first_of(query.until)
        if query.before is not None:
            before = min(before, max(0, query.before))
        numbers: set[int] = set()
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            for terms in self._ways(query, search):
                numbers.update(search.numbers(connection, terms, since, before, limit + 1))
            page = sorted(numbers, reverse=True)[:limit]
            found = select(message_log).where(message_log.c.number.in_(page)).order_by(message_log.c.number.desc())
            rows = connection.execute(found).mappings().all() if page else []
        return LogPage(tuple(_log_row(row) for row in rows), page[-1] if len(numbers) > limit else None)

    def of_message(self, queue_id: str, scope: Scope = _EVERYBODY) -> Sequence[LogRow]:
        """In the order of the recipients, at most as many as a page has."""
        return self._rows(message_log.c.queue_id == queue_id, *self._may_see(scope))

    def about(self, address: str, *, as_sender: bool) -> Sequence[LogRow]:
        """Rows of messages to this address, and from it when that is asked for; oldest first."""
        query = select(message_log).where(_names(address, as_sender=as_sender)).order_by(message_log.c.number)
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            found = [_log_row(row) for row in connection.execute(query).mappings()]
        named = mention_of(address)
        return [one for one in found if any(map(named.search, (one.recipient, one.reverse_path, one.summary.author)))]

    def erase(self, address: str, pseudonym: str, *, as_sender: bool) -> int:
        """Take out the rows of messages to this address; of those from it take out name, subject and Message-ID."""
        named = mention_of(address)
        columns = (message_log.c.number, message_log.c.recipient, message_log.c.reverse_path, message_log.c.author)
        query = select(*columns).where(_names(address, as_sender=as_sender))
        with faults("message log"), self._engine.begin() as connection:
            rows = connection.execute(query).all()
            to = [row.number for row in rows if named.search(row.recipient)]
            sent = [row.number for row in rows if named.search(row.reverse_path) or named.search(row.author)]
            words = {"reverse_path": pseudonym, "author": pseudonym, "subject": "", "message_id": "", "reason": ""}
            nobody: dict[str, str | None] = {"reverse_path_domain": "", "author_address": None, "author_domain": None}
            for start in range(0, len(to), _MAX_PAGE):
                chosen = message_log.c.number.in_(to[start : start + _MAX_PAGE])
                connection.execute(delete(message_log).where(chosen))
            for start in range(0, len(sent), _MAX_PAGE):
                chosen = message_log.c.number.in_(sent[start : start + _MAX_PAGE])
                connection.execute(update(message_log).where(chosen).values(words | nobody))
        return len({*to, *sent})

    def row(self, number: int, scope: Scope = _EVERYBODY) -> LogRow | None:
        """The row in this place."""
        rows = self._rows(message_log.c.number == min(max(number, 0), _FOREVER), *self._may_see(scope))
        return rows[0] if rows else None

    def tries(self, row: LogRow) -> Sequence[LogRow]:
        """Others from and to the same addresses, as long before and after as clients retry, oldest first."""
        return self._rows(
            *(self._search().is_(by, storable(getattr(row, by))).condition for by in ("recipient", "reverse_path")),
            message_log.c.number.between(_first_of(row.at - _RETRIED_S), _first_of(row.at + _RETRIED_S)),
            message_log.c.number != row.number,
            limit=_MAX_TRIES,
        )

    def purge(self, older_than_s: float, limit: int = 1000) -> int:
        """Forget so many at most of the rows older than so many seconds; how many went."""
        oldest = select(message_log.c.number).order_by(message_log.c.number).limit(limit)
        oldest = oldest.where(message_log.c.number < _first_of(time.time() - older_than_s))
        with faults("message log"), self._engine.begin() as connection:
            return connection.execute(delete(message_log).where(message_log.c.number.in_(oldest))).rowcount

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _rows(self, *conditions: ColumnElement[bool], limit: int = _MAX_PAGE) -> list[LogRow]:
        query = select(message_log).where(*conditions).order_by(message_log.c.number).limit(limit)
        with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
            return [_log_row(row) for row in connection.execute(query).mappings()]

    def _may_see(self, scope: Scope) -> list[ColumnElement[bool]]:
        if scope.is_all:
            return []
        return [or_(false(), *(term.condition for term in _in_scope(scope, self._search())))]

    def _search(self) -> LogSearch:
        if self._found is None:
            with faults("message log"), self._engine.connect().execution_options(read_only=True) as connection:
                self._found = log_search(connection)
        return self._found

    def _numbered(self, rows: Sequence[LogRow]) -> Iterator[dict[str, object]]:
        """Rows of one millisecond have numbers in their order."""
        used: dict[int, int] = {}
        for row in rows:
            first = _first_of(row.at)
            within = used.get(first, secrets.randbelow(1 << (_WITHIN_MS - 1)))
            used[first] = within + 1
            yield _row(replace(row, summary=replace(row.summary, subject=self._subject(row.summary.subject)))) | {
                "number": first + within
            }

    def _ways(self, query: LogQuery, search: LogSearch) -> Iterator[tuple[Term, ...]]:
        """Conditions that have to hold together; a row that meets one of these lists is found."""
        choices = [_in_scope(query.scope, search)] if not query.scope.is_all else []
        if query.message_id.strip():
            choices.append([search.is_("message_id", _bare(query.message_id))])
        if query.action:
            choices.append([search.is_("action", query.action)])
        if query.finding.strip():
            choices.append([search.finding(storable(query.finding.strip()))])
        if query.queue_id.strip():
            choices.append(_queue_ids(_bare(query.queue_id), search))
        if query.sender.strip():
            choices.append(_of_addresses("sender", _bare(query.sender), _SENDERS, search))
        if query.recipient.strip():
            choices.append(_of_addresses("recipient", _bare(query.recipient), _RECIPIENTS, search))
        if query.client.strip():
            choices.append(_clients(query.client.strip(), search))
        if query.subject.strip():
            choices.append(self._parts_of_subject(query.subject.strip(), search))
        if query.text.strip():
            choices.append(self._anything(query.text.strip(), search))
        return product(*choices)

    def _parts_of_subject(self, part: str, search: LogSearch) -> list[Term]:
        kept = self._subject(storable(part))
        if len(kept) < MIN_PART:
            raise InputError(f"subject: {part!r} is too short; write at least {MIN_PART} characters")
        return [search.part_of_subject(kept)]

    def _anything(self, text: str, search: LogSearch) -> list[Term]:
        """What a text may be: one word may be many things, several words are a part of a subject."""
        bare = _bare(text)
        if _network(bare) is not None:
            return _clients(bare, search)
        if len(bare.split()) != 1:
            return self._parts_of_subject(text, search)
        terms = [search.is_("message_id", bare)]
        if len(self._subject(bare)) >= MIN_PART:
            terms += self._parts_of_subject(bare, search)
        if "@" in bare or "." in bare:
            with contextlib.suppress(InputError):  # a word with a dot or an @ that is no address
                terms += _of_addresses("", bare, (*_SENDERS, *_RECIPIENTS), search)
        else:
            terms += _queue_ids(bare, search) + _of_addresses("", f"{bare}@", (*_SENDERS, *_RECIPIENTS), search)
        return terms


def _bare(said: str) -> str:
    return str(storable(said.strip().strip("<>")))


def _queue_ids(said: str, search: LogSearch) -> list[Term]:
    """Ours from its beginning, in upper case as all are; the next hop's as a whole."""
    return [search.begins("queue_id", said.upper()), search.is_("next_hop_id", said.lower())]


def _of_addresses(what: str, said: str, places: Sequence[tuple[str, str]], search: LogSearch) -> list[Term]:
    """In each place: an address, "local-part@", or a domain. Raises InputError for what is none of them."""
    local, at, domain = said.lower().rpartition("@")
    if local and domain:
        return [search.is_(by, f"{local}@{domain}") for by, _ in places]
    if at and local:
        return [search.begins(by, f"{local}@") for by, _ in places]
    name = to_a_label(domain)
    if not name:
        raise InputError(f"{what}: {said!r} is neither an address nor a domain")
    return [search.is_(by, name) for _, by in places]


def _network(said: str) -> ipaddress.IPv4Network | ipaddress.IPv6Network | None:
    try:
        return ipaddress.ip_network(said.strip("[]"), strict=False)
    except ValueError:
        return None


def _clients(said: str, search: LogSearch) -> list[Term]:
    """An address, or a network as the texts that its addresses begin with. Raises InputError."""
    network = _network(said)
    if network is None:
        raise InputError(f"client: {said!r} is no address; write for example 192.0.2.1 or 192.0.2.0/24")
    size = 8 if network.version == 4 else 16
    if network.num_addresses <= 1 << size and network.prefixlen % size:
        return [Term("client_ip", message_log.c.client_ip.in_(map(str, network)), is_range=True)]
    if network.num_addresses == 1:
        return [search.is_("client_ip", str(network.network_address))]
    if network.prefixlen < size or (network.version == 6 and network.prefixlen % size):
        raise InputError(
            f"client: {said!r} is too wide a network; write /8 or narrower, of IPv6 /16, /32, /48 or another 16th"
        )
    parts = network.subnets(new_prefix=-(-network.prefixlen // size) * size)
    return [search.begins("client_ip", text) for part in parts for text in _beginnings(part)]


def _beginnings(network: ipaddress.IPv4Network | ipaddress.IPv6Network) -> list[str]:
    """Of the texts of its addresses; of IPv6 also with its last zeros shortened (RFC 5952 §4.2)."""
    if network.version == 4:
        return [".".join(str(network.network_address).split(".")[: network.prefixlen // 8]) + "."]
    octets = network.network_address.packed  # the text of a mapped address has dots since Python 3.13
    groups = [f"{int.from_bytes(octets[at : at + 2]):x}" for at in range(0, network.prefixlen // 8, 2)]
    text = ":".join(groups)
    shortened = re.sub(r"(?::0)+$", "", text)
    return [f"{text}:"] if shortened == text else [f"{text}:", f"{shortened}::"]


_SENDERS: Final = (("reverse_path", "reverse_path_domain"), ("author_address", "author_domain"))
_RECIPIENTS: Final = (("recipient", "recipient_domain"),)


def _in_scope(scope: Scope, search: LogSearch) -> list[Term]:
    """One of these has to hold. Nothing is in the scope of nothing."""
    domain = message_log.c.recipient_domain
    below = [domain.endswith(one[1:], autoescape=True) for one in scope.domains if one.startswith("*.")]
    return [
        *(search.is_("recipient", one) for one in scope.addresses),
        *(search.is_("recipient_domain", one) for one in scope.domains if not one.startswith("*.")),
        *(Term("", one) for one in below),
    ]


def _first_of(at: float) -> int:
    """The least number of a row of this time."""
    return max(0, min(int(at * 1000), _MAX_MS)) << _WITHIN_MS


def _names(address: str, *, as_sender: bool) -> ColumnElement[bool]:
    columns = (message_log.c.recipient, message_log.c.reverse_path, message_log.c.author)
    return or_(*(one.icontains(address, autoescape=True) for one in (columns if as_sender else columns[:1])))


def _log_row(row: Mapping[Any, Any]) -> LogRow:
    return LogRow(
        summary=Summary(**{name: row[name] for name in _SUMMARY}),
        hits=tuple(row["hits"].split()),
        number=row["number"],
        **{name: row[name] for name in _PLAIN},
    )


def _row(row: LogRow) -> dict[str, object]:
    author = parse_mailboxes(row.summary.author)[:1]
    address, domain = (author[0].address.lower(), author[0].domain) if author else ("", "")
    reverse_path_domain = domain_of(row.reverse_path)
    values: dict[str, object] = {name: getattr(row, name) for name in _PLAIN}
    values |= {name: getattr(row.summary, name) for name in _SUMMARY}
    values |= {
        "hits": " ".join(row.hits),
        "recipient_domain": domain_of(row.recipient),
        "reverse_path_domain": reverse_path_domain,
        "author_address": address if address and address != row.reverse_path.lower() else None,
        "author_domain": domain if domain and domain != reverse_path_domain else None,
        "next_hop_id": queue_id_of(row.next_hop_reply).lower() or None,
    }
    return {name: storable(value) for name, value in values.items()}
