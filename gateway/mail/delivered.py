"""A message as it lies in a mailbox -> the message as it was judged: what was put on top at delivery is taken off.

The reverse of actions/annotate.py. Our trace field (RFC 5321 §4.4) is the last that was put there: what stands above
it is ours, or of servers behind us; what stands below it is what came in, in the same bytes but for line ends, and for
inbound fields that pretended to be ours, which are gone. Where another server relayed the message and only asked us
(milter), the trace field is its own, and X-Darban-Mta above it says which. The fields alone prove nothing: whoever
believes them asks the message log for the queue id first. Linear; never raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, cast, get_args

from gateway.mail.authentication_results import authserv_id_of
from gateway.mail.edit import to_crlf
from gateway.mail.header import read_header
from gateway.mail.resinfo import ResInfo, read
from gateway.types import AuthMethod, AuthResult, HeaderField

_METHODS = get_args(AuthMethod)
_DOMAIN = {"dkim": "header.d", "dmarc": "header.from"}
_IDENTITY = {"dkim": "header.i", "iprev": "policy.iprev"}


class Delivered(NamedTuple):
    """A message that says it came through us."""

    queue_id: str
    content: bytes  # as it was judged
    auth: tuple[AuthResult, ...]
    is_flagged: bool  # it was tagged as spam


def read_delivered(content: bytes, hostname: str) -> Delivered | None:
    """The message below our fields; None for one that does not say that this host delivered it."""
    header, fields = read_header(content)
    ours = next((place for place, one in enumerate(fields) if one.name.lower() == "x-darban-id"), None)
    if ours is None:
        return None
    queue_id = fields[ours].text
    trace = _find_trace(fields, ours, (f" by {hostname} with ", f" id {queue_id}"))
    if trace is None or not queue_id:
        return None
    named = [piece for piece in header.pieces if piece[0]]
    on_top = fields[: trace + 1]
    flag = next((one.text for one in on_top if one.name.lower() == "x-spam-flag"), "")
    said = next((one.text for one in on_top[ours:] if _is_result_of(one, hostname)), "")
    auth = tuple(_result(one) for one in read(said) or () if one.method in _METHODS)
    return Delivered(queue_id, to_crlf(content[named[trace][2] :]), auth, flag.upper() == "YES")


def _find_trace(fields: Sequence[HeaderField], ours: int, signs: tuple[str, str]) -> int | None:
    """The place of the first trace field below X-Darban-Id that has these signs, or those of the server named there."""
    is_named = False
    for place, one in enumerate(fields[ours:], ours):
        if _is_trace(one, signs):
            return place
        if one.name.lower() == "x-darban-mta" and not is_named:
            name, _, mta_queue_id = one.text.partition(" ")
            signs, is_named = (f" by {name} ", f" id {mta_queue_id}"), True
    return None


def _is_trace(field: HeaderField, signs: tuple[str, str]) -> bool:
    if field.name.lower() != "received":
        return False
    text = " ".join(field.text.split())  # Postfix folds with tabs
    return all(sign in text for sign in signs)


def _is_result_of(field: HeaderField, hostname: str) -> bool:
    return field.name.lower() == "authentication-results" and authserv_id_of(field.text) == hostname.lower()


def _result(found: ResInfo) -> AuthResult:
    """As far as the field tells it: no alignment, no reasons."""
    said = dict(found.properties)
    domain, identity = said.get(_DOMAIN.get(found.method, ""), ""), said.get(_IDENTITY.get(found.method, ""), "")
    if found.method == "spf":
        identity = "helo" if "smtp.helo" in said else "mailfrom"
        domain = said.get(f"smtp.{identity}", "")
    return AuthResult(cast(AuthMethod, found.method), found.result, domain, said.get("header.s", ""), identity)
