"""One-time codes by time: RFC 6238 over RFC 4226, as authenticator apps have them (SHA-1, 6 digits, 30 s).

Pure: the clock is given, what was taken before is the store's to know.
"""

from __future__ import annotations

import base64
import hmac
import secrets
from collections.abc import Iterator, Sequence
from typing import Final
from urllib.parse import quote

PERIOD_S: Final = 30
DIGITS: Final = 6
_SECRET_BYTES: Final = 20  # RFC 4226 §4: 160 bits are recommended
_DRIFT: Final = 1  # steps a clock may be off, RFC 6238 §5.2
_RECOVERY_CODES: Final = 10
_ALPHABET: Final = "abcdefghjkmnpqrstuvwxyz23456789"  # nothing that looks like another
_GROUPS, _GROUP = 3, 4  # 59 bits


def new_secret() -> str:
    """A secret in base32, without padding."""
    return base64.b32encode(secrets.token_bytes(_SECRET_BYTES)).decode()


def code_at(secret: str, step: int) -> str:
    """The code of a time step. Raises ValueError for what is not base32."""
    key = base64.b32decode(secret + "=" * (-len(secret) % 8), casefold=True)
    mac = hmac.digest(key, step.to_bytes(8, "big"), "sha1")
    offset = mac[-1] & 0xF  # RFC 4226 §5.3
    number = int.from_bytes(mac[offset : offset + 4], "big") & 0x7FFF_FFFF
    return f"{number % 10**DIGITS:0{DIGITS}d}"


def step_of(secret: str, code: str, now: float) -> int | None:
    """The time step that the code belongs to, of those near now; None: it is no code now."""
    typed = tidy(code).encode()
    matching = [one for one in _steps(now) if hmac.compare_digest(code_at(secret, one).encode(), typed)]
    return matching[0] if matching else None


def uri(secret: str, name: str, issuer: str) -> str:
    """What the picture says to an app (the otpauth form that all of them read)."""
    label = f"{quote(issuer, safe='')}:{quote(name, safe='')}"
    return f"otpauth://totp/{label}?secret={secret}&issuer={quote(issuer, safe='')}&digits={DIGITS}&period={PERIOD_S}"


def new_recovery_codes() -> Sequence[str]:
    """Codes to keep on paper, as abcd-efgh-jkmn."""
    return [
        "-".join("".join(secrets.choice(_ALPHABET) for _ in range(_GROUP)) for _ in range(_GROUPS))
        for _ in range(_RECOVERY_CODES)
    ]


def tidy(code: str) -> str:
    """As typed by people: spaces and hyphens go, Persian and Arabic digits are digits."""
    kept = "".join(code.split()).lower().replace("-", "")
    return "".join(str(int(one)) if one.isdecimal() else one for one in kept)


def _steps(now: float) -> Iterator[int]:
    here = int(now // PERIOD_S)
    yield from range(here - _DRIFT, here + _DRIFT + 1)
