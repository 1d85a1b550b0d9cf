"""Handing over by SMTP (RFC 5321) or LMTP (RFC 2033, a reply for each recipient) to one server; connections are kept.

A connection that was kept may have been closed by the server meanwhile: then the transaction begins again on a
fresh one, once, and only while no content was sent. After the final dot nothing is ever repeated here: a lost reply is
a 451, and the client decides. What a transaction without content sent leaves undecided another server may be asked
(route.py). What TLS is demanded says the URL (tls.py), who the client is the server hears where it wants to
(true_client.py), and a server that fails is left alone for a while (breaker.py). 8-bit content to a server that does
not announce 8BITMIME is encoded first (mail/seven_bit.py).
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Mapping, Sequence
from typing import NamedTuple

import structlog

from gateway.config.load import read_secret
from gateway.config.next_hop_url import NextHopUrl
from gateway.errors import ConfigError
from gateway.mail.seven_bit import encode_bodies, encode_header
from gateway.net.breaker import Breaker
from gateway.net.dialogue import Answer, Dialogue
from gateway.net.tls import Tls, client_context, look_up_tlsa
from gateway.net.true_client import proxy_header, xclient, xforward
from gateway.ports import Resolver
from gateway.types import Client, Envelope, Recipient, Reply

_CONNECT_S = 15.0
_COMMAND_S = 60.0
_DATA_S = 300.0
_QUIT_S = 2.0
_IDLE_S = 20.0
_MAX_IDLE = 20
_MAX_USES = 100
_LONG = 1 << 18  # bytes that take longer to encode than a thread takes to be asked
_MAX_ADDRESSES = 8  # of one host that are tried

UNREACHABLE = Reply(451, "4.4.1", "The next hop cannot be reached now")
BROKEN = Reply(451, "4.4.2", "The next hop broke the dialogue")
NEEDS_SMTPUTF8 = Reply(550, "5.6.7", "The next hop does not take internationalized addresses")
NEEDS_8BITMIME = Reply(554, "5.6.3", "The next hop takes no 8-bit content, and this cannot be converted")
NOT_VERIFIED = Reply(250, "2.1.5", "The next hop does not tell")

_OF_THE_DIALOGUE = frozenset((500, 502, 503, 504, 530, 534, 535, 538, 555))

log = structlog.get_logger("darban.next_hop")


class Attempt(NamedTuple):
    """What one server said."""

    replies: dict[str, Reply]
    undecided: frozenset[str] = frozenset()  # addresses about which another server may be asked: nothing was sent


class _Fault(NamedTuple):
    """Why a connection could not be had."""

    step: str
    error: str


class SmtpServer:
    """One server behind us."""

    def __init__(self, url: NextHopUrl, hostname: str, resolver: Resolver, mx_domain: str = "") -> None:
        """`mx_domain` is what the host was looked up for, "" for one the admin named. Raises ConfigError."""
        self._url, self._hostname, self._resolver, self._mx_domain = url, hostname, resolver, mx_domain
        self._verb = "LHLO" if url.is_lmtp else "EHLO"
        self._context = client_context(url)
        self._password = _read_password(url)
        self._kept: list[_Kept] = []
        self.breaker = Breaker(url.shown, self._answers)

    @property
    def name(self) -> str:
        """As logs and metrics call it."""
        return self._url.shown

    async def attempt(self, wanted: Transaction) -> Attempt:
        """One transaction. Any fault is a 451, never raised."""
        if self.breaker.is_down:
            return wanted.undecided(UNREACHABLE)
        while True:
            kept = await self._ready(wanted.client)
            if isinstance(kept, _Fault):
                self.breaker.failed(*kept, wanted.queue_id)
                return wanted.undecided(UNREACHABLE)
            was_used = kept.uses > 0
            refused = await self._introduce(kept, wanted)
            if refused is not None and was_used:
                continue
            if refused is not None:  # of the client, not of us: no fault of the server
                log.warning(
                    "next hop refuses the client",
                    next_hop=self.name,
                    queue_id=wanted.queue_id,
                    error=kept.dialogue.fault,
                )
                return wanted.attempt(wanted.all(refused))
            replies = await wanted.over(kept.dialogue, is_lmtp=self._url.is_lmtp)
            if replies is None and was_used:  # closed while it was kept: a fresh one is tried
                continue
            if not kept.dialogue.is_open:
                self.breaker.failed(wanted.step, kept.dialogue.fault, wanted.queue_id)
            else:
                self.breaker.worked()
            await self._keep(kept)
            return wanted.undecided(BROKEN) if replies is None else wanted.attempt(replies)

    async def close(self) -> None:
        """Give up what is kept."""
        self.breaker.close()
        kept, self._kept = self._kept, []
        for one in kept:
            await one.dialogue.leave(_QUIT_S)

    async def _answers(self) -> bool:
        """Whether a connection can be had now."""
        kept = await self._open(None)
        if isinstance(kept, _Fault):
            return False
        await self._keep(kept)
        return True

    # --- connections ----------------------------------------------------------------------------------------------

    async def _ready(self, client: Client | None) -> _Kept | _Fault:
        while (kept := self._take(client)) is not None:
            if kept.is_fresh_enough():
                return kept
            await kept.dialogue.leave(_QUIT_S)
        return await self._open(client)

    def _take(self, client: Client | None) -> _Kept | None:
        """A kept connection on which the server sees this client, or may be told of it."""
        for index in range(len(self._kept) - 1, -1, -1):
            kept = self._kept[index]
            if kept.client == client or (client is not None and not self._url.proxy and kept.may_be_told):
                return self._kept.pop(index)
        return None

    async def _open(self, client: Client | None) -> _Kept | _Fault:
        """A fresh one, greeted and as secure as is demanded."""
        targets = await self._targets()
        if isinstance(targets, str):
            return _Fault("dns", targets)
        tls, places = targets
        for may_use_tls in (True, False):
            dialogue = await self._connect(places, client)
            if isinstance(dialogue, _Fault):
                return dialogue
            if not await dialogue.begin(self._verb, self._hostname, _COMMAND_S):
                return _Fault("greeting", dialogue.fault)
            if self._mx_domain and dialogue.greeting.partition(" ")[0].lower() == self._hostname.lower():
                dialogue.end("")
                return _Fault("greeting", f"the MX of {self._mx_domain} leads to ourselves: a loop")
            if tls is not None and may_use_tls and "STARTTLS" in dialogue.offers:
                if not await dialogue.start_tls(tls, self._verb, self._hostname, _COMMAND_S):
                    if tls.is_needed:
                        return _Fault("tls", dialogue.fault)
                    log.warning("TLS failed, plain text is used", next_hop=self.name, error=dialogue.fault)
                    continue
            elif tls is not None and tls.is_needed:
                dialogue.end("")
                return _Fault("tls", f"STARTTLS is not offered, and tls={self._url.tls}")
            if self._url.user and not await dialogue.log_in(self._url.user, self._password, _COMMAND_S):
                return _Fault("auth", dialogue.fault)
            return _Kept(dialogue, client if self._url.proxy else None)
        raise AssertionError("plain text was the last try")

    async def _targets(self) -> tuple[Tls | None, list[tuple[str, int]]] | str:
        """What TLS is demanded, and where to connect to; in words why nothing is known."""
        url, host = self._url, self._url.host
        name = url.name or host
        needed = url.tls in ("required", "verify", "dane-only")
        tls = None if url.tls == "none" else Tls(self._context, name, needed)
        is_dane = url.tls in ("dane", "dane-only")
        if not (self._mx_domain or is_dane):
            return tls, [(host, url.port)]
        answers = [await self._resolver.query(host, rdtype) for rdtype in ("A", "AAAA")]
        found = [str(record) for answer in answers for record in answer.records]
        if not found:
            return f"no address of {host}: {answers[0].status}"
        if is_dane:
            said = await look_up_tlsa(self._resolver, host, url.port, answers)
            if isinstance(said, str):
                return said
            is_demanded, records = said
            if url.tls == "dane-only" and not records:
                return f"{host}: no secure TLSA record, and tls=dane-only"
            tls = Tls(self._context, name, needed or is_demanded, records, (host, *filter(None, [self._mx_domain])))
        return tls, [(address, url.port) for address in found[:_MAX_ADDRESSES]]

    async def _connect(self, places: Sequence[tuple[str, int]], client: Client | None) -> Dialogue | _Fault:
        loop = asyncio.get_running_loop()
        fault = _Fault("connect", "no address")
        for host, port in places:
            try:
                async with asyncio.timeout(_CONNECT_S):
                    if self._url.path:
                        _, dialogue = await loop.create_unix_connection(Dialogue, self._url.path)
                        return dialogue
                    transport, dialogue = await loop.create_connection(Dialogue, host, port)
            except (OSError, TimeoutError) as error:
                fault = _Fault("connect", repr(error)[:200])
                continue
            if self._url.proxy:
                own, peer = (transport.get_extra_info(end)[:2] for end in ("sockname", "peername"))
                dialogue.preface(proxy_header(self._url.proxy, client, own, peer))
            return dialogue
        return fault

    async def _introduce(self, kept: _Kept, wanted: Transaction) -> Reply | None:
        """Tell who the client is, where the server wants to know; a reply when it refuses that client."""
        client, offered = wanted.client, kept.dialogue.offers.get("XCLIENT", "")
        line = xclient(client, offered) if client is not None and client != kept.client else ""
        if not line or client is None:
            return None
        answer = await kept.dialogue.speak_for(line, self._verb, client.helo or self._hostname, _COMMAND_S)
        if answer is None:
            kept.client = client
            return None
        if kept.dialogue.is_open and kept.client is None:
            return None  # it takes us for the client, as one without XCLIENT does
        kept.dialogue.end(kept.dialogue.fault or "XCLIENT refused")  # or it would take this client for the one before
        return refusal(as_reply(answer)) if answer.code // 100 == 5 else BROKEN

    async def _keep(self, kept: _Kept) -> None:
        kept.uses += 1
        kept.idle_since = time.monotonic()
        if kept.may_be_told and kept.dialogue.is_open and len(self._kept) < _MAX_IDLE:
            self._kept.append(kept)
        else:
            await kept.dialogue.leave(_QUIT_S)


class _Kept:
    """A connection between transactions."""

    def __init__(self, dialogue: Dialogue, client: Client | None) -> None:
        self.dialogue = dialogue
        self.client = client  # whom the server takes for the client; None: us
        self.uses = 0
        self.idle_since = time.monotonic()

    @property
    def may_be_told(self) -> bool:
        """Whether the server may take another for the client after this one: Postfix allows one XCLIENT."""
        return self.client is None or "XCLIENT" in self.dialogue.offers

    def is_fresh_enough(self) -> bool:
        """Whether it is worth trying."""
        return self.dialogue.is_open and self.uses < _MAX_USES and time.monotonic() - self.idle_since < _IDLE_S


class Transaction:
    """One message, or with content None the question whether a recipient would be taken."""

    def __init__(
        self,
        reverse_path: str,
        recipients: Sequence[Recipient],
        parameters: Mapping[str, str],
        content: bytes | None = None,
        client: Client | None = None,
        queue_id: str = "",
    ) -> None:
        """`parameters` are those of MAIL, said where they are offered; `client` is None where we ask for ourselves."""
        self._reverse_path = reverse_path
        self._recipients = recipients
        self._parameters = parameters
        self._content = content
        self._is_lmtp = False
        self._is_put_off = False  # for now, before anybody was asked for
        self._has_sent = False  # content, which may have been taken whatever was said
        self.client = client
        self.queue_id = queue_id
        self.step = "mail"

    @classmethod
    def question(cls, recipient: Recipient) -> Transaction:
        """Would this recipient be taken? Nothing is sent."""
        return cls("", [recipient], {} if _is_ascii(recipient) else {"SMTPUTF8": ""})

    @classmethod
    def message(cls, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Transaction:
        """A message for these of its recipients."""
        parameters = {"BODY": "8BITMIME"} if envelope.is_8bitmime or not content.isascii() else {}
        if envelope.is_smtputf8:
            parameters["SMTPUTF8"] = ""
        client = envelope.client if envelope.client.ip else None  # mail of our own has none
        return cls(envelope.reverse_path, recipients, parameters, content, client, envelope.queue_id)

    def all(self, reply: Reply) -> dict[str, Reply]:
        """The same for each recipient."""
        return {one.address: reply for one in self._recipients}

    def attempt(self, replies: dict[str, Reply]) -> Attempt:
        """These replies, and for whom another server may be asked."""
        if self._has_sent:
            return Attempt(replies)
        faults = [one for one, reply in replies.items() if reply in (UNREACHABLE, BROKEN)]
        put_off = [one for one, reply in replies.items() if self._is_put_off and reply.code // 100 == 4]
        return Attempt(replies, frozenset((*faults, *put_off)))

    def undecided(self, reply: Reply) -> Attempt:
        """This server has said nothing of anybody."""
        return Attempt(self.all(reply), frozenset(one.address for one in self._recipients))

    async def over(self, dialogue: Dialogue, *, is_lmtp: bool = False) -> dict[str, Reply] | None:
        """A reply for each recipient; None when the dialogue ended before anything was said or sent."""
        self._is_lmtp = is_lmtp
        is_utf8 = "SMTPUTF8" in dialogue.offers
        if not is_utf8 and not self._reverse_path.isascii():
            return self.all(NEEDS_SMTPUTF8)
        replies = {} if is_utf8 else {one.address: NEEDS_SMTPUTF8 for one in self._recipients if not _is_ascii(one)}
        asked = [one for one in self._recipients if one.address not in replies]
        if not asked:
            return replies
        refused = await self._fit(dialogue.offers)
        if refused is not None:
            return replies | dict.fromkeys((one.address for one in asked), refused)
        told = self._told(dialogue)
        commands = [
            *told,
            f"MAIL FROM:<{self._reverse_path}>{self._said(dialogue)}",
            *(f"RCPT TO:<{' '.join((f'{one.address}>', *one.parameters))}" for one in asked),
            "RSET" if self._content is None else "DATA",
        ]
        answers = await dialogue.commands(commands, _COMMAND_S, lambda known: _goes_on(known[len(told) :]))
        if not answers or answers[0].code == 421:
            return None
        commands, answers = commands[len(told) :], answers[len(told) :]  # what it said to XFORWARD decides nothing
        if not answers or any(answer.code // 100 == 3 for answer in answers[: len(commands) - 1]):
            dialogue.end(dialogue.fault or "out of step: 3xx before DATA")
            return self.all(BROKEN)
        if not answers[0].is_positive:
            about = self._about_sender(answers[0])
            self._is_put_off = about.code // 100 == 4
            replies |= dict.fromkeys((one.address for one in asked), about)
        else:
            self.step = "rcpt"
            for one, answer in zip(asked, answers[1:], strict=False):
                replies[one.address] = as_reply(answer)
        last = answers[len(commands) - 1] if len(answers) == len(commands) else None
        if self._content is not None:
            await self._hand_over(dialogue, self._content, last, replies)
        elif last is None and dialogue.is_open:
            await dialogue.command("RSET", _COMMAND_S)  # one that hangs up now has answered all the same
        return self.all(BROKEN) | replies

    async def _fit(self, offers: Mapping[str, str]) -> Reply | None:
        """Make the content one that the server can take; the reply when that cannot be."""
        content = self._content
        if content is None or content.isascii() or {"8BITMIME", "SMTPUTF8"} <= offers.keys():
            return None
        for offer, encode, reply in (
            ("SMTPUTF8", encode_header if "SMTPUTF8" in self._parameters else None, NEEDS_SMTPUTF8),
            ("8BITMIME", encode_bodies, NEEDS_8BITMIME),
        ):
            if offer not in offers and encode is not None and content is not None:
                is_long = len(content) > _LONG
                content = await asyncio.to_thread(encode, content) if is_long else encode(content)
                if content is None:
                    return reply
        self._content = content
        return None

    async def _hand_over(
        self, dialogue: Dialogue, content: bytes, start: Answer | None, replies: dict[str, Reply]
    ) -> None:
        """`replies` holds those to RCPT; afterwards those to the end of the content."""
        taken = [address for address, reply in replies.items() if reply.code // 100 == 2]
        self.step = "data"
        if start is not None and start.code == 354 and taken:
            replies |= dict.fromkeys(taken, BROKEN)
            self._has_sent = True
            answers = await dialogue.send(content, len(taken) if self._is_lmtp else 1, _DATA_S)
            for address, answer in zip(taken, answers if self._is_lmtp else answers * len(taken), strict=False):
                replies[address] = as_reply(answer)
            return
        refused = BROKEN if start is None else refusal(as_reply(start))
        self._is_put_off = self._is_put_off or (bool(taken) and refused.code // 100 == 4)
        replies |= dict.fromkeys(taken, refused)
        if start is not None and start.code in (250, 354):  # 354 with nobody to take it: nothing ends it but this
            dialogue.end(f"out of step: {start.code} to DATA")
        elif dialogue.is_open:
            await dialogue.command("RSET", _COMMAND_S)

    def _about_sender(self, answer: Answer) -> Reply:
        reply = as_reply(answer)
        if self._content is not None:
            return refusal(reply)
        # the null reverse-path refused for good says nothing of a recipient: the message itself will have to tell
        return NOT_VERIFIED if reply.code // 100 == 5 else reply

    def _told(self, dialogue: Dialogue) -> list[str]:
        """Who the client is, for the server's log, where it takes us for the client."""
        offered = dialogue.offers.get("XFORWARD")
        if self.client is None or offered is None or "XCLIENT" in dialogue.offers:
            return []
        return xforward(self.client, self.queue_id, offered)

    def _said(self, dialogue: Dialogue) -> str:
        said = {"SIZE": str(len(self._content))} if self._content is not None else {}
        said |= self._parameters
        offered = {name for name in said if ("8BITMIME" if name == "BODY" else name) in dialogue.offers}
        return "".join(f" {name}={value}" if value else f" {name}" for name, value in said.items() if name in offered)


def _goes_on(answers: Sequence[Answer]) -> bool:
    """One by one: nothing after a MAIL that was refused."""
    return not answers or answers[0].is_positive


def _is_ascii(recipient: Recipient) -> bool:
    return recipient.address.isascii()


def _read_password(url: NextHopUrl) -> str:
    if not url.password_file:
        return ""
    try:
        return read_secret(url.password_file).decode().strip("\r\n")
    except ValueError as error:
        raise ConfigError(f"next_hop {url.shown}: password_file {url.password_file}: {error}") from None


def as_reply(answer: Answer) -> Reply:
    """The next hop's words as a Reply of ours; its enhanced code where it gave one.

    A 5xx that complains about the dialogue and not about the message or its addresses (a missing STARTTLS or AUTH, an
    unknown command or parameter) is a fault between us and the next hop: 451, or a misconfiguration would bounce mail.
    What is no final reply is one out of step: 451 too.
    """
    first = " ".join(answer.lines).strip()
    if answer.code in _OF_THE_DIALOGUE or not 200 <= answer.code <= 599:
        return Reply(451, "4.3.5", f"next hop: {answer.code} {first}"[:300])
    if answer.code // 100 == 3 or answer.code == 421:  # 421 is about the connection (RFC 5321 §3.8)
        return BROKEN
    word, _, rest = first.partition(" ")
    parts = word.split(".")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        return Reply(answer.code, word, rest[:300])
    return Reply(answer.code, f"{answer.code // 100}.0.0", first[:300])


def refusal(reply: Reply) -> Reply:
    """What stands where only a refusal can: a 2xx there is no custody, but a dialogue out of step."""
    return reply if reply.code // 100 in (4, 5) else BROKEN
