"""Message-log rows for what was refused before there was a message; a flood becomes a number.

Of each client network and reason the first ROWS_EACH in a minute are rows of their own, ROWS of all together; the
others are counted, and told in one row for each when the minute is over, of the MAX_TOLD largest.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Sequence

from gateway.types import Client, LogRow, Reply, Summary

WINDOW_S = 60.0
ROWS_EACH = 5
ROWS = 60
MAX_TOLD = 20
_MAX_COUNTED = 1000  # pairs of network and reason; more are counted as one
_NO_SUMMARY = Summary()
_OTHERS = "other networks"


class Refusals:
    """The rows of one process."""

    def __init__(self, network_of: Callable[[str], str], now: Callable[[], float]) -> None:
        self._network_of = network_of
        self._now = now
        self._began = now()
        self._seen: Counter[tuple[str, str]] = Counter()
        self._counted: Counter[tuple[str, str]] = Counter()
        self._rows = 0

    @property
    def is_counting(self) -> bool:
        """Whether `flush` would have something to tell."""
        return bool(self._counted)

    def take(self, client: Client, reverse_path: str, recipient: str, reply: Reply, reason: str) -> Sequence[LogRow]:
        """The rows to write now: none when it is only counted."""
        told = self.flush() if self._now() - self._began >= WINDOW_S else ()
        key = (self._network_of(client.ip) or client.ip, reason)
        if key not in self._seen and len(self._seen) >= _MAX_COUNTED:
            key = (_OTHERS, reason)
        self._seen[key] += 1
        if self._seen[key] > ROWS_EACH or self._rows >= ROWS:
            self._counted[key] += 1
            return told
        self._rows += 1
        return (*told, _row(self._now(), client, reverse_path, recipient, reply, reason))

    def flush(self) -> Sequence[LogRow]:
        """The minute is over: what was only counted, and a new one begins."""
        at = self._now()
        told = self._counted.most_common(MAX_TOLD)
        rest = self._counted.total() - sum(number for _, number in told)
        rows = [_sum(at, network, f"{number} more like this: {reason}") for (network, reason), number in told]
        if rest:
            rows.append(_sum(at, _OTHERS, f"{rest} more, of several reasons"))
        self._seen.clear()
        self._counted.clear()
        self._began, self._rows = at, 0
        return rows


def _row(at: float, client: Client, reverse_path: str, recipient: str, reply: Reply, reason: str) -> LogRow:
    return LogRow(
        queue_id="",  # there was no message
        at=at,
        client_ip=client.ip,
        helo=client.helo,
        reverse_path=reverse_path,
        recipient=recipient,
        summary=_NO_SUMMARY,
        action="tempfail" if reply.code // 100 == 4 else "reject",
        reply=f"{reply.code} {reply.enhanced} {reply.text}",
        score=0.0,
        reason=reason,
    )


def _sum(at: float, network: str, reason: str) -> LogRow:
    return LogRow("", at, network, "", "", "", _NO_SUMMARY, "reject", "", 0.0, reason=reason)
