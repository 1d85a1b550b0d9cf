"""One POST to a webhook: the address is looked at before anything is sent there, and the whole try has one deadline.

A URL can name a server inside our network (SSRF), also by a name whose answer changes. So the name is looked up once,
an address that is not global is refused unless the webhook allows it, and the connection goes to the address that was
looked at; TLS still demands the name's certificate. Redirects are not followed, and only the answer's head is read.
"""

from __future__ import annotations

import asyncio
import contextlib
import ipaddress
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from urllib.parse import urlsplit

from gateway.ports import Resolver

_MAX_HEAD = 16_384
_STATUS = re.compile(rb"HTTP/1\.[01] ([1-5][0-9]{2})(?: |\r)")
_RETRY_AFTER = re.compile(rb"\r\nretry-after:[ \t]*([0-9]{1,6})[ \t]*\r\n", re.IGNORECASE)
_LONGEST_WAIT_S = 3600.0


@dataclass(frozen=True, slots=True)
class Answer:
    """What came of a try."""

    status: int  # 0: none came
    told: str  # in words
    retry_after_s: float = 0.0

    @property
    def is_taken(self) -> bool:
        """Whether the receiver has it."""
        return 200 <= self.status < 300


class WebhookClient:
    """For all webhooks. `authorities` is a file of certificates to trust besides, for tests and private ones."""

    def __init__(self, resolver: Resolver, authorities: str | None = None) -> None:
        self._resolver = resolver
        self._tls = ssl.create_default_context()
        if authorities:
            self._tls.load_verify_locations(authorities)

    async def post(
        self, url: str, body: bytes, fields: Mapping[str, str], *, allow_private: bool, timeout_s: float
    ) -> Answer:
        """Never raises."""
        try:
            async with asyncio.timeout(timeout_s):
                return await self._post(url, body, fields, allow_private)
        except TimeoutError:
            return Answer(0, f"no answer within {timeout_s:g} s")
        except ssl.SSLError as error:
            return Answer(0, f"TLS: {getattr(error, 'verify_message', '') or error.reason}")
        except (OSError, EOFError, ValueError, asyncio.LimitOverrunError) as error:
            return Answer(0, getattr(error, "strerror", None) or str(error) or type(error).__name__)

    async def _post(self, url: str, body: bytes, fields: Mapping[str, str], allow_private: bool) -> Answer:
        to = urlsplit(url)
        host, is_tls = to.hostname or "", to.scheme == "https"
        address = await self._address(host, allow_private)
        reader, writer = await asyncio.open_connection(
            address,
            to.port or (443 if is_tls else 80),
            ssl=self._tls if is_tls else None,
            server_hostname=host if is_tls else None,
            limit=_MAX_HEAD,
        )
        try:
            path = (to.path or "/") + (f"?{to.query}" if to.query else "")
            named = {"Host": to.netloc, "Content-Type": "application/json", "Content-Length": str(len(body))}
            named |= {"User-Agent": "Darban", "Connection": "close"}
            lines = [f"POST {path} HTTP/1.1", *(f"{name}: {value}" for name, value in (named | dict(fields)).items())]
            writer.write("\r\n".join([*lines, "", ""]).encode("ascii") + body)
            await writer.drain()
            while True:
                answer = _read(await reader.readuntil(b"\r\n\r\n"))
                if answer.status >= 200:  # what comes before is provisional
                    return answer
        finally:
            writer.transport.abort()

    async def _address(self, host: str, allow_private: bool) -> str:
        """Raises OSError for a name without addresses, or with one that must not be reached."""
        with contextlib.suppress(ValueError):
            return _checked(host, host, allow_private)
        found: list[str] = []
        for rdtype in ("A", "AAAA"):
            answer = await self._resolver.query(host, rdtype)
            found += [str(one) for one in answer.records]
        if host == "localhost":
            found = ["127.0.0.1"]
        if not found:
            raise OSError(f"{host}: has no address")
        # one that must not be reached spoils them all: there is no honest reason for such a mix
        checked = [_checked(one, host, allow_private) for one in found]
        return checked[0]


def _checked(address: str, host: str, allow_private: bool) -> str:
    """Raises ValueError for what is no address, PermissionError for one that is not to be reached."""
    ip = ipaddress.ip_address(address)
    inner = getattr(ip, "ipv4_mapped", None) or getattr(ip, "sixtofour", None)
    is_public = ip.is_global and not ip.is_multicast and (inner is None or inner.is_global)
    if ip in _NAT64:
        is_public = ipaddress.ip_address(int(ip) & 0xFFFF_FFFF).is_global
    if not is_public and not allow_private:
        raise PermissionError(f"{host}: {address} is an address of a private network (allow_private)")
    return address


_NAT64 = ipaddress.ip_network("64:ff9b::/96")  # RFC 6052


def _read(head: bytes) -> Answer:
    status = _STATUS.match(head)
    if status is None:
        raise ValueError("the answer is not HTTP")
    wait = _RETRY_AFTER.search(head)
    wait_s = min(float(wait[1]), _LONGEST_WAIT_S) if wait else 0.0
    return Answer(int(status[1]), f"answered {status[1].decode()}", wait_s)
