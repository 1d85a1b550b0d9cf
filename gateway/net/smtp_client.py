"""Relaying over SMTP (RFC 5321) with aiosmtplib; connections are reused. Implements ports.NextHop.

A connection that was kept may have been closed by the next hop meanwhile: then the transaction begins again on a
fresh one, once, and only while no content was sent. After the final dot nothing is ever repeated here: a lost reply is
a 451, and the client decides. STARTTLS is used where it is offered, its certificate not verified: the next hop is
named by the admin, and plain text would be the alternative. 8-bit content is sent as it is to a next hop that does not
announce 8BITMIME: every server in use takes it, and converting would break signatures.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import AsyncIterator, Mapping, Sequence

import aiosmtplib
import structlog
from aiosmtplib import SMTP, SMTPException, SMTPRecipientRefused, SMTPResponseException, SMTPSenderRefused

from gateway.mail.edit import to_crlf
from gateway.types import Envelope, Recipient, Reply

_CONNECT_S = 15.0
_COMMAND_S = 60.0
_DATA_S = 300.0
_IDLE_S = 20.0
_MAX_IDLE = 20
_MAX_USES = 100

UNREACHABLE = Reply(451, "4.4.1", "The next hop cannot be reached now")
BROKEN = Reply(451, "4.4.2", "The next hop broke the dialogue")
NEEDS_SMTPUTF8 = Reply(550, "5.6.7", "The next hop does not take internationalized addresses")
OFFERS = {"SIZE": "SIZE", "BODY": "8BITMIME", "SMTPUTF8": "SMTPUTF8"}  # what MAIL's options need to be announced
NOT_VERIFIED = Reply(250, "2.1.5", "The next hop does not tell")

_OF_THE_DIALOGUE = frozenset((500, 502, 503, 504, 530, 534, 535, 538, 555))

log = structlog.get_logger("darban.next_hop")


class _Kept:
    """A connection between transactions."""

    def __init__(self, client: SMTP) -> None:
        self.client = client
        self.uses = 0
        self.idle_since = time.monotonic()

    def is_fresh_enough(self) -> bool:
        """Whether it is worth trying."""
        return self.client.is_connected and self.uses < _MAX_USES and time.monotonic() - self.idle_since < _IDLE_S


class SmtpNextHop:
    """One server behind us."""

    def __init__(self, host: str, port: int, hostname: str) -> None:
        self._host, self._port, self._hostname = host, port, hostname
        self._idle: list[_Kept] = []

    async def verify(self, recipient: Recipient) -> Reply:
        """MAIL, RCPT, RSET; nothing is sent."""
        try:
            kept = await self._begin("", [] if recipient.address.isascii() else ["SMTPUTF8"])
            async with self._giving_back(kept):
                reply = await _recipient(kept.client, recipient, [])
                await _reset(kept.client)
                return reply
        except SMTPSenderRefused as error:
            return about_recipient(as_reply(error.code, error.message))
        except (SMTPException, OSError, TimeoutError) as error:
            return self._fault("verify", error)

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """One transaction."""
        replies: dict[str, Reply] = {}
        try:
            kept = await self._begin(envelope.reverse_path, options_of(envelope, len(content)))
            async with self._giving_back(kept):
                replies = await self._transact(kept.client, envelope, content, recipients)
        except SMTPSenderRefused as error:
            refused = refusal(as_reply(error.code, error.message))
            return {one.address: refused for one in recipients}
        except _NeedsSmtpUtf8:
            return {one.address: NEEDS_SMTPUTF8 for one in recipients}
        except (SMTPException, OSError, TimeoutError) as error:
            fault = self._fault("deliver", error, envelope.queue_id)
            return {one.address: fault for one in recipients}
        return replies

    async def close(self) -> None:
        """Give up what is kept."""
        idle, self._idle = self._idle, []
        for kept in idle:
            await _quit(kept.client)

    # --- pieces -------------------------------------------------------------------------------------------------------

    async def _begin(self, reverse_path: str, options: Sequence[str]) -> _Kept:
        """A connection on which MAIL was accepted. Raises SMTPSenderRefused and connection errors."""
        while self._idle:
            kept = self._idle.pop()
            if not kept.is_fresh_enough():
                await _quit(kept.client)
                continue
            try:
                await _mail(kept.client, reverse_path, options)
            except SMTPSenderRefused as error:
                if error.code == 421:  # it closes what was kept (RFC 5321 §3.8)
                    kept.client.close()
                    break
                self._idle.append(kept)
                raise
            except (SMTPException, OSError, TimeoutError):
                kept.client.close()
                break
            except _NeedsSmtpUtf8:
                self._idle.append(kept)
                raise
            return kept
        kept = _Kept(await self._connect())
        try:
            await _mail(kept.client, reverse_path, options)
        except SMTPSenderRefused:
            await _quit(kept.client)
            raise
        except (SMTPException, OSError, TimeoutError, _NeedsSmtpUtf8):
            kept.client.close()
            raise
        return kept

    async def _connect(self) -> SMTP:
        client = SMTP(
            hostname=self._host,
            port=self._port,
            local_hostname=self._hostname,
            timeout=_COMMAND_S,
            validate_certs=False,
        )
        async with asyncio.timeout(_CONNECT_S):
            await client.connect()
            if not client.is_ehlo_or_helo_needed:
                return client
            await client.ehlo()
        return client

    async def _transact(
        self, client: SMTP, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]
    ) -> dict[str, Reply]:
        replies = {one.address: await _recipient(client, one, one.parameters) for one in recipients}
        taken = [address for address, reply in replies.items() if reply.code // 100 == 2]
        if not taken:
            await _reset(client)
            return replies
        try:
            response = await client.data(_terminated(content), timeout=_DATA_S)
            answer = as_reply(response.code, response.message)
        except SMTPResponseException as error:
            answer = refusal(as_reply(error.code, error.message))
            if answer is BROKEN:
                client.close()
        except (SMTPException, OSError, TimeoutError) as error:
            client.close()
            answer = self._fault("data", error, envelope.queue_id)
        return {address: answer if address in taken else reply for address, reply in replies.items()}

    @contextlib.asynccontextmanager
    async def _giving_back(self, kept: _Kept) -> AsyncIterator[None]:
        """Keep the connection for the next transaction, unless something broke in it."""
        try:
            yield
        except BaseException:
            kept.client.close()
            raise
        kept.uses += 1
        kept.idle_since = time.monotonic()
        if kept.client.is_connected and len(self._idle) < _MAX_IDLE:
            self._idle.append(kept)
        elif kept.client.is_connected:
            await _quit(kept.client)

    def _fault(self, step: str, error: BaseException, queue_id: str = "") -> Reply:
        log.warning(
            "next hop fault",
            next_hop=f"{self._host}:{self._port}",
            step=step,
            queue_id=queue_id,
            error=repr(error)[:200],
        )
        is_unreached = isinstance(error, aiosmtplib.SMTPConnectError)
        return UNREACHABLE if is_unreached or isinstance(error, TimeoutError) else BROKEN


class _NeedsSmtpUtf8(Exception):
    """The envelope has non-ASCII addresses and the next hop lacks SMTPUTF8 (RFC 6531 §3.2)."""


def options_of(envelope: Envelope, size: int) -> list[str]:
    """MAIL's options, where the next hop offers them."""
    options = [f"SIZE={size}"]
    if envelope.is_8bitmime:
        options.append("BODY=8BITMIME")
    if envelope.is_smtputf8:
        options.append("SMTPUTF8")
    return options


async def _mail(client: SMTP, reverse_path: str, wanted: Sequence[str]) -> None:
    """MAIL with those of the options that the next hop announces."""
    options = [one for one in wanted if client.supports_extension(OFFERS[one.partition("=")[0]].lower())]
    if "SMTPUTF8" in wanted and "SMTPUTF8" not in options and not reverse_path.isascii():
        raise _NeedsSmtpUtf8
    await client.mail(reverse_path, options=options, encoding="utf-8" if "SMTPUTF8" in options else "ascii")


async def _recipient(client: SMTP, recipient: Recipient, options: Sequence[str]) -> Reply:
    is_ascii = recipient.address.isascii()
    if not is_ascii and not client.supports_extension("smtputf8"):
        return NEEDS_SMTPUTF8
    try:
        response = await client.rcpt(recipient.address, options=options, encoding="ascii" if is_ascii else "utf-8")
    except SMTPRecipientRefused as error:
        return as_reply(error.code, error.message)
    return as_reply(response.code, response.message)


async def _reset(client: SMTP) -> None:
    """RSET; one that hangs up after a refusal has refused all the same."""
    try:
        await client.rset()
    except (SMTPException, OSError, TimeoutError):
        client.close()


async def _quit(client: SMTP) -> None:
    with contextlib.suppress(SMTPException, OSError, TimeoutError):
        async with asyncio.timeout(2.0):
            await client.quit()
    client.close()


def _terminated(content: bytes) -> bytes:
    content = to_crlf(content)
    return content if content.endswith(b"\r\n") else content + b"\r\n"


def as_reply(code: int, message: str) -> Reply:
    """The next hop's words as a Reply of ours; its enhanced code where it gave one.

    A 5xx that complains about the dialogue and not about the message or its addresses (a missing STARTTLS or AUTH, an
    unknown command or parameter) is a fault between us and the next hop: 451, or a misconfiguration would bounce mail.
    """
    first = message.replace("\r", " ").replace("\n", " ").strip()
    if code in _OF_THE_DIALOGUE or not 200 <= code <= 599:
        return Reply(451, "4.3.5", f"next hop: {code} {first}"[:300])
    word, _, rest = first.partition(" ")
    parts = word.split(".")
    if len(parts) == 3 and all(part.isdigit() for part in parts):
        return Reply(code, word, rest[:300])
    return Reply(code, f"{code // 100}.0.0", first[:300])


def refusal(reply: Reply) -> Reply:
    """What stands where only a refusal can: a 2xx there is no custody, but a dialogue out of step."""
    return reply if reply.code // 100 in (4, 5) else BROKEN


def about_recipient(sender_reply: Reply) -> Reply:
    """What a refused MAIL FROM:<> says about a recipient: a 5xx nothing, so the message itself will have to tell."""
    return NOT_VERIFIED if sender_reply.code // 100 == 5 else sender_reply
