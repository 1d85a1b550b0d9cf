"""accept and tag: hand the annotated message over, one transaction for each next hop and threshold."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import replace
from functools import partial

from gateway.actions.annotate import annotate, client_name
from gateway.mail.route import next_hop_of
from gateway.ports import NextHop, PolicySource, Sealer
from gateway.types import Delivery, Disposition, Envelope, NextHopUrls, Reply, Verdict

_LONG = 1 << 18  # bytes whose body takes longer to sign (1 ms) than a thread takes to be asked
_NOT_OURS = Reply(451, "4.3.5", "The recipient's domain has no next hop now")


class Relay:
    """Relays at once; there is no queue. Whatever the next hop does not take stays with the client."""

    def __init__(
        self, policies: PolicySource, next_hop: Callable[[NextHopUrls], NextHop], sealer: Sealer | None = None
    ) -> None:
        self._policies = policies
        self._next_hop = next_hop
        self._sealer = sealer

    async def apply(
        self, envelope: Envelope, content: bytes, verdict: Verdict, wanted: Sequence[Disposition]
    ) -> tuple[Delivery, ...]:
        """One delivery for each disposition, in order; the replies are the next hops' own."""
        name = client_name(verdict.auth)
        if name != envelope.client.name:
            envelope = replace(envelope, client=replace(envelope.client, name=name))
        groups: dict[tuple[NextHopUrls, float], list[Disposition]] = {}
        replies: dict[str, Reply] = {}
        for one in wanted:
            policy = self._policies.policy(one.recipient.domain)
            if policy is None:
                replies[one.recipient.address] = _NOT_OURS
            else:
                groups.setdefault((next_hop_of(policy, one.recipient), one.required_score), []).append(one)
        work = [self._hand_over(envelope, content, verdict, url, group) for (url, _), group in groups.items()]
        for handed in await asyncio.gather(*work) if len(work) > 1 else [await one for one in work]:
            replies.update(handed)
        return tuple(Delivery(one.recipient, one.action, replies[one.recipient.address], one.reason) for one in wanted)

    async def _hand_over(
        self, envelope: Envelope, content: bytes, verdict: Verdict, url: NextHopUrls, group: Sequence[Disposition]
    ) -> dict[str, Reply]:
        recipients = [one.recipient for one in group]
        work = partial(annotate, envelope, content, verdict, recipients, group[0].required_score, self._sealer)
        is_long = self._sealer is not None and len(content) > _LONG
        annotated = await asyncio.to_thread(work) if is_long else work()
        return dict(await self._next_hop(url).deliver(envelope, annotated, recipients))
