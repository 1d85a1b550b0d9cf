"""The truth for each recipient -> the one reply of DATA (RFC 5321 §4.2.5), by the tables of custody.py."""

from __future__ import annotations

from collections.abc import Sequence

from gateway.policy.custody import answer, state_of
from gateway.types import Delivery, Reply

ACCEPTED = Reply(250, "2.0.0", "Message accepted")
DEFERRED = Reply(451, "4.3.0", "Temporary problem, please try again later")
REFUSED = Reply(550, "5.7.1", "Message refused as unsolicited or unsafe")


def settle(deliveries: Sequence[Delivery], queue_id: str) -> Reply:
    """The reply for the whole message. Raises nothing; no deliveries at all is a 451."""
    states = [state_of(one.action, one.reply) for one in deliveries]
    code = answer(states).code
    if code // 100 == 2:
        return _named(ACCEPTED, queue_id)
    if code // 100 == 5:
        return _named(deliveries[0].reply, queue_id)
    deferred = next((one.reply for one in deliveries if one.reply.code // 100 == 4), DEFERRED)
    enhanced = deferred.enhanced if deferred.enhanced.startswith("4.") else DEFERRED.enhanced
    return _named(Reply(code, enhanced, deferred.text), queue_id)


def _named(reply: Reply, queue_id: str) -> Reply:
    return Reply(reply.code, reply.enhanced, f"{reply.text} ({queue_id})")
