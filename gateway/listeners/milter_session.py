"""One connection of an MTA as a state machine without sockets: milter events in, answers and messages to judge out.

Content is put together to the bytes the MTA has, so that signatures verify; whether a field's value began with a space
is known only where the MTA speaks version 6 (Step.LEADING_SPACE).

Not judged is mail of authenticated clients, and what clients of [milter] own_networks send to domains that [[domain]]
does not name: it goes out. The path of every other recipient is judged, whether it is understood or not.
"""

from __future__ import annotations

import ipaddress
import time
from collections.abc import Callable, Mapping, Sequence
from typing import Any, Literal, NamedTuple, Protocol

import structlog
from prometheus_client import Counter

from gateway.config.settings import Milter
from gateway.listeners import milter_codec as codec
from gateway.listeners import reply as replies
from gateway.listeners.budget import NO_ROOM, Budget, Incoming
from gateway.listeners.command import parse_path
from gateway.listeners.milter_codec import (
    Abort,
    Action,
    Body,
    Connect,
    Data,
    EndOfHeader,
    EndOfMessage,
    Event,
    Header,
    Helo,
    Macros,
    Mail,
    Negotiate,
    ProtocolError,
    Quit,
    QuitNewConnection,
    Rcpt,
    Step,
    Unknown,
)
from gateway.listeners.reply import line, new_queue_id
from gateway.mail.domain import to_a_label
from gateway.mail.edit import inbound_field_to_strip
from gateway.types import Client, Envelope, Filtered, Mta, Recipient, Reply

UNJUDGED = Counter("darban_milter_unjudged_total", "Messages of MTAs that were not judged.", ["reason"])

for _reason in ("authenticated", "goes out"):
    UNJUDGED.labels(_reason)  # a series that is there from the start can be alarmed on

_MAX_RECIPIENTS = 10_000
_MAX_FORGED = 1000  # fields of ours on one message
_MAX_ADDRESS = 1000  # characters
_TOO_FORGED = Reply(550, "5.6.0", "Too many fields that only this server may write")

_STEPS = (
    Step.NO_UNKNOWN | Step.NR_CONNECT | Step.NR_HELO | Step.NR_MAIL | Step.NR_HEADER | Step.NR_END_OF_HEADER
    | Step.NR_BODY | Step.NR_UNKNOWN | Step.LEADING_SPACE
)  # fmt: skip
_NOT_ANSWERED: Mapping[type, Step] = {
    Connect: Step.NR_CONNECT,
    Helo: Step.NR_HELO,
    Mail: Step.NR_MAIL,
    Rcpt: Step.NR_RCPT,
    Data: Step.NR_DATA,
    Header: Step.NR_HEADER,
    EndOfHeader: Step.NR_END_OF_HEADER,
    Body: Step.NR_BODY,
    Unknown: Step.NR_UNKNOWN,
}
_FACTS = frozenset({"j", "i", "auth_authen", "tls_version", "cipher"})
_FACTS_OF_MESSAGE = ("i", "auth_authen")
_FACTS_OF_CLIENT = ("tls_version", "cipher")
_NOBODY = Connect("", False, "", 0)

State = Literal["new", "ready", "envelope", "header", "body"]
_ALWAYS: Mapping[type, State] = {
    Connect: "ready", Helo: "ready", Mail: "envelope", Abort: "ready", Quit: "ready", QuitNewConnection: "ready",
}  # fmt: skip
_NEXT: Mapping[State, Mapping[type, State]] = {  # what may come, and where it leads; Macros and Unknown anywhere
    "new": {Negotiate: "ready"},
    "ready": {**_ALWAYS, Negotiate: "ready"},
    "envelope": {
        **_ALWAYS, Rcpt: "envelope", Data: "envelope", Header: "header", EndOfHeader: "body", Body: "body",
        EndOfMessage: "ready",
    },
    "header": {**_ALWAYS, Header: "header", EndOfHeader: "body", Body: "body", EndOfMessage: "ready"},
    "body": {**_ALWAYS, Body: "body", EndOfMessage: "ready"},
}  # fmt: skip

log = structlog.get_logger("darban.milter")


class Desk(Protocol):
    """What is asked at RCPT (service.Gateway)."""

    def is_ours(self, domain: str) -> bool:
        """Whether [[domain]] names it."""

    def admit(self, client: Client, reverse_path: str) -> Reply | None:
        """Before the first recipient: None to go on."""

    def count_recipient(self, client: Client) -> Reply | None:
        """None to go on."""


class Leave(Exception):
    """The connection is over."""


class Judge(NamedTuple):
    """A whole message: to be judged, and answered with Session.answer(); `content` is to be closed."""

    envelope: Envelope
    content: Incoming
    mta: Mta


class _Message:
    """One transaction as far as it has come."""

    def __init__(self, mail: Mail, content: Incoming, *, is_authenticated: bool) -> None:
        self.reverse_path, _ = read_path(mail.path, "FROM")
        self.parameters = {one.upper() for one in mail.parameters}
        self.is_authenticated = is_authenticated
        self.is_admitted = False
        self.recipients: dict[Recipient, list[bytes]] = {}  # those judged for -> as the MTA names them
        self.has_others = False
        self.refusal: Reply | None = None  # what is said at the end, whatever else comes
        self.domains: set[str] = set()  # of those judged for
        self.content = content
        self.is_header = True  # the empty line has not come yet
        self.forged: list[tuple[int, bytes]] = []  # (which of its name, name) of fields to take out, top to bottom
        self._seen: dict[str, int] = {}

    @property
    def announced(self) -> int:
        """Bytes, where MAIL said SIZE= (RFC 1870)."""
        said = next((one[5:] for one in self.parameters if one.startswith("SIZE=")), "")
        return int(said) if said.isascii() and said.isdecimal() and len(said) <= 20 else 0

    def note_field(self, name: bytes, raw: bytes, hostname: str) -> None:
        """Remember a field that only we may write. All of such a name are counted, as the MTA counts them."""
        lower = name.decode("latin-1").strip().lower()
        is_forged = inbound_field_to_strip(lower, raw, hostname, self.domains)
        if is_forged or lower == "authentication-results":
            self._seen[lower] = self._seen.get(lower, 0) + 1
        if is_forged and len(self.forged) >= _MAX_FORGED:
            self.refusal = self.refusal or _TOO_FORGED
        elif is_forged:
            self.forged.append((self._seen[lower], name))


class Session:
    """Events of one connection, in order."""

    def __init__(self, settings: Milter, max_message_size: int, hostname: str, desk: Desk, budget: Budget) -> None:
        self.state: State = "new"
        self._settings = settings
        self._max_message_size = max_message_size
        self._hostname = hostname
        self._desk = desk
        self._budget = budget
        self._is_over = False  # content is to go to disk
        self._own_networks = [ipaddress.ip_network(one) for one in settings.own_networks]
        self._unanswered: frozenset[type] = frozenset()  # events that the MTA waits for no answer to
        self._has_space = False  # fields' values come with the space behind the colon
        self._facts: dict[str, str] = {}
        self._client = _NOBODY
        self._is_own_client = False
        self._helo = ""
        self._message: _Message | None = None

    @property
    def is_idle(self) -> bool:
        """Whether no message is open."""
        return self._message is None

    def take(self, event: Event) -> bytes | Judge:
        """What to say, b"" for nothing; or what to judge first. Raises ProtocolError, Leave."""
        kind = type(event)
        after = self.state if kind in (Macros, Unknown) and self.state != "new" else _NEXT[self.state].get(kind)
        if after is None:
            raise ProtocolError(f"{kind.__name__} where none belongs")
        answer = _HANDLERS[kind](self, event)
        self.state = "ready" if self._message is None else after
        return b"" if kind in self._unanswered else answer

    async def flush(self) -> None:
        """After each event: what is too much for memory goes to disk."""
        if self._is_over and self._message is not None:
            await self._message.content.flush()
        self._is_over = False

    def forget(self) -> None:
        """No message is open any more."""
        self._drop_content()
        self._message = None
        self._drop_facts(_FACTS_OF_MESSAGE)

    # --- connection and envelope --------------------------------------------------------------------------------------

    def _on_negotiate(self, offered: Negotiate) -> bytes:
        needed = Action.ADD_HEADER | Action.CHANGE_HEADER
        needed |= Action.QUARANTINE if self._settings.quarantine == "mta" else Action.DELETE_RECIPIENT
        if offered.version < codec.MIN_VERSION or needed & ~offered.actions:
            log.warning("MTA that lacks what is needed", version=offered.version, lacks=repr(needed & ~offered.actions))
            raise Leave
        steps = _STEPS & offered.steps
        self._unanswered = frozenset(kind for kind, step in _NOT_ANSWERED.items() if step & steps)
        self._has_space = Step.LEADING_SPACE in steps
        return codec.negotiated(min(offered.version, codec.VERSION), needed, steps)

    def _on_macros(self, event: Macros) -> bytes:
        self._facts |= {name: value[:200] for name, value in event.values.items() if name in _FACTS}
        return b""

    def _on_connect(self, event: Connect) -> bytes:
        self.forget()
        self._drop_facts(_FACTS_OF_CLIENT)
        self._set_client(event)
        return codec.CONTINUE

    def _on_helo(self, event: Helo) -> bytes:
        self.forget()
        self._helo = event.name[:255]
        return codec.CONTINUE

    def _on_mail(self, event: Mail) -> bytes:
        self._drop_content()  # an MTA may begin anew without Abort; what it says of the new one came before
        self._message = _Message(event, self._budget.begin(), is_authenticated=bool(self._facts.get("auth_authen")))
        return codec.CONTINUE

    def _on_rcpt(self, event: Rcpt) -> bytes:
        message = self._open()
        address, domain = read_path(event.path, "TO")
        if message.is_authenticated or (self._is_own_client and not self._desk.is_ours(domain)):
            message.has_others = True
            return codec.CONTINUE
        if len(message.recipients) >= _MAX_RECIPIENTS:
            return codec.reply_code(line(replies.TOO_MANY_RECIPIENTS))
        if not message.recipients and self._budget.refuses(message.announced):
            NO_ROOM.labels("mail").inc()
            return codec.reply_code(line(replies.NO_ROOM))
        client = self._envelope_client()
        deferred = None if message.is_admitted else self._desk.admit(client, message.reverse_path)
        message.is_admitted = deferred is None
        deferred = deferred or self._desk.count_recipient(client)
        if deferred is not None:
            return codec.reply_code(line(deferred))
        message.recipients.setdefault(Recipient(address, domain), []).append(event.raw)
        message.domains.add(domain)
        return codec.CONTINUE

    def _on_data(self, _event: Data) -> bytes:
        return self._unless_unjudged(Data)

    def _on_abort(self, _event: Abort) -> bytes:
        self.forget()
        return b""

    def _on_quit(self, _event: Quit) -> bytes:
        raise Leave

    def _on_new_connection(self, _event: QuitNewConnection) -> bytes:
        self.forget()
        self._facts.clear()
        self._set_client(_NOBODY)
        return b""

    def _on_unknown(self, _event: Unknown) -> bytes:
        return codec.CONTINUE

    # --- content ------------------------------------------------------------------------------------------------------

    def _on_header(self, event: Header) -> bytes:
        message = self._open()
        name, value = event
        if b"\n" in value:
            value = value.replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
        raw = b"%b%b%b\r\n" % (name, b":" if self._has_space else b": ", value)
        message.note_field(name, raw, self._hostname)
        if message.refusal is not None:
            self._drop_content()
        self._keep(message, raw)
        return codec.CONTINUE

    def _on_end_of_header(self, _event: EndOfHeader) -> bytes:
        self._end_header(self._open())
        return self._unless_unjudged(EndOfHeader)

    def _on_body(self, event: Body) -> bytes:
        message = self._open()
        self._end_header(message)
        self._keep(message, event.chunk)
        return codec.CONTINUE

    def _on_end_of_message(self, event: EndOfMessage) -> bytes | Judge:
        message = self._open()
        self._end_header(message)
        self._keep(message, event.chunk)
        if not message.recipients:
            return self._leave_unjudged(message)
        if message.refusal is not None:
            said = line(message.refusal)
            log.warning("not looked at", mta_queue_id=self._facts.get("i", ""), reply=said.decode().strip())
            self.forget()
            return codec.reply_code(said)
        mta = Mta(
            name=self._facts.get("j", ""),
            queue_id=self._facts.get("i", ""),
            has_others=message.has_others,
            holds=self._settings.quarantine == "mta",
        )
        content, message.content = message.content, self._budget.begin()  # whose it is now gives it back
        self._is_over = False
        return Judge(self._envelope(message), content, mta)

    def _open(self) -> _Message:
        assert self._message is not None  # _NEXT lets nothing in that needs one
        return self._message

    def _end_header(self, message: _Message) -> None:
        if message.is_header:
            message.is_header = False
            self._keep(message, b"\r\n")

    def _keep(self, message: _Message, piece: bytes) -> None:
        if not message.recipients or message.refusal is not None:
            return
        self._is_over |= message.content.add(piece)
        if message.content.size > self._max_message_size:
            message.refusal = replies.TOO_LARGE
            self._drop_content()

    def _drop_content(self) -> None:
        if self._message is not None:
            self._message.content.close()

    def _drop_facts(self, names: Sequence[str]) -> None:
        for name in names:
            self._facts.pop(name, None)

    # --- answers ------------------------------------------------------------------------------------------------------

    def _unless_unjudged(self, kind: type) -> bytes:
        """CONTINUE; or ACCEPT where nobody's mail is to be judged and the MTA can still hear it before the content."""
        message = self._open()
        if message.recipients or kind in self._unanswered:
            return codec.CONTINUE
        return self._leave_unjudged(message)

    def _leave_unjudged(self, message: _Message) -> bytes:
        reason = "authenticated" if message.is_authenticated else "goes out"
        UNJUDGED.labels(reason).inc()
        log.info(
            "not judged",
            reason=reason,
            mta_queue_id=self._facts.get("i", ""),
            client_ip=self._client.ip,
            reverse_path=message.reverse_path,
        )
        self.forget()
        return codec.ACCEPT

    def defer(self) -> bytes:
        """There is no room to judge it."""
        NO_ROOM.labels("content").inc()
        self.forget()
        self.state = "ready"
        return codec.reply_code(line(replies.NO_ROOM))

    def answer(self, filtered: Filtered, on_top: Sequence[bytes]) -> bytes:
        """What the MTA is told about the message that was judged.

        Args:
            on_top: whole fields to put above it, the topmost first.
        """
        message, outcome = self._open(), filtered.outcome
        self.forget()
        self.state = "ready"
        if outcome.reply.code // 100 != 2:
            return codec.reply_code(line(outcome.reply))
        held = [] if filtered.hold else [one.recipient for one in outcome.deliveries if one.action == "quarantine"]
        if len(held) == len(message.recipients) and not message.has_others:
            return codec.DISCARD
        return b"".join(
            (
                # from the bottom: a deletion may move the count of what stands below it
                *(codec.delete_field(occurrence, name) for occurrence, name in reversed(message.forged)),
                *(self._insert(raw) for raw in reversed(on_top)),
                *(codec.delete_recipient(raw) for one in held for raw in message.recipients[one]),
                *([codec.quarantine(filtered.hold)] if filtered.hold else []),
                codec.CONTINUE,
            )
        )

    def _insert(self, raw: bytes) -> bytes:
        name, _, value = raw.partition(b":")
        value = value.rstrip(b"\r\n").replace(b"\r\n", b"\n")
        return codec.insert_field(0, name, value if self._has_space else value.removeprefix(b" "))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _set_client(self, event: Connect) -> None:
        ip = read_ip(event.ip)
        self._client, self._helo = event._replace(ip=ip), ""
        self._is_own_client = event.is_local or (
            bool(ip) and any(ipaddress.ip_address(ip) in network for network in self._own_networks)
        )

    def _envelope_client(self) -> Client:
        tls = " ".join(filter(None, (self._facts.get("tls_version", ""), self._facts.get("cipher", ""))))
        return Client(self._client.ip, self._client.port, self._helo, "ESMTPS" if tls else "ESMTP", tls)

    def _envelope(self, message: _Message) -> Envelope:
        return Envelope(
            queue_id=new_queue_id(),
            client=self._envelope_client(),
            reverse_path=message.reverse_path,
            recipients=tuple(message.recipients),
            received_at=time.time(),
            hostname=self._hostname,
            is_8bitmime="BODY=8BITMIME" in message.parameters,
            is_smtputf8="SMTPUTF8" in message.parameters,
        )


def read_path(text: str, keyword: str) -> tuple[str, str]:
    """(address, domain) of a path that an MTA has taken; what our own door would refuse is read as far as it goes."""
    path = parse_path(f"{keyword}:{text}", keyword)
    if path is not None:
        return path.address, path.domain
    bare = "".join(char for char in text[:_MAX_ADDRESS] if char.isprintable()).strip()
    bare = bare.removeprefix("<").removesuffix(">")
    local, _, domain = bare.rpartition("@")
    label = to_a_label(domain) if local else ""
    return (f"{local}@{label}", label) if label else (bare, "")


def read_ip(text: str) -> str:
    """The address as it is compared, IPv4 in IPv6 as itself; "" for what is none."""
    try:
        address = ipaddress.ip_address(text.partition("%")[0])
    except ValueError:
        return ""
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return str(mapped or address)


_HANDLERS: Mapping[type, Callable[[Session, Any], bytes | Judge]] = {
    Negotiate: Session._on_negotiate,
    Macros: Session._on_macros,
    Connect: Session._on_connect,
    Helo: Session._on_helo,
    Mail: Session._on_mail,
    Rcpt: Session._on_rcpt,
    Data: Session._on_data,
    Header: Session._on_header,
    EndOfHeader: Session._on_end_of_header,
    Body: Session._on_body,
    EndOfMessage: Session._on_end_of_message,
    Abort: Session._on_abort,
    Quit: Session._on_quit,
    QuitNewConnection: Session._on_new_connection,
    Unknown: Session._on_unknown,
}
