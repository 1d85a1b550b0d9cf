"""The truth for each recipient -> the one reply of DATA (RFC 5321 §4.2.5, DESIGN custody).

| any recipient still with nobody (4xx) | 451: the sender keeps the message |
| everybody refused                     | 5xx, the first refusal's words    |
| else                                  | 250: each is at the next hop or held   |

A refusal among acceptances must have been held before (service.py); where it was not, the answer is 451.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.types import Delivery, Reply

ACCEPTED = Reply(250, "2.0.0", "Message accepted")
DEFERRED = Reply(451, "4.3.0", "Temporary problem, please try again later")
REFUSED = Reply(550, "5.7.1", "Message refused as unsolicited or unsafe")


def settle(deliveries: Sequence[Delivery], queue_id: str) -> Reply:
    """The reply for the whole message. Raises nothing; no deliveries at all is a 451."""
    codes = [delivery.reply.code // 100 for delivery in deliveries]
    if not codes or any(code not in (2, 5) for code in codes):
        deferred = next((d.reply for d in deliveries if d.reply.code // 100 == 4), DEFERRED)
        return _named(Reply(451, _class_of(deferred, "4.3.0"), deferred.text), queue_id)
    if all(code == 5 for code in codes):
        return _named(deliveries[0].reply, queue_id)
    if any(code == 5 for code in codes):
        return _named(DEFERRED, queue_id)
    return _named(ACCEPTED, queue_id)


def _class_of(reply: Reply, default: str) -> str:
    return reply.enhanced if reply.enhanced.startswith("4.") else default


def _named(reply: Reply, queue_id: str) -> Reply:
    return Reply(reply.code, reply.enhanced, f"{reply.text} ({queue_id})")
