"""Verdict and domain policy -> what is wanted for each recipient.

`on_incomplete` answers a verdict that lacks a check, a rule set or the classifier. A silent DNS is noted in the
verdict but does not raise the action by itself: mail flows (docs/fail-modes.md). An entry on the sender
(policy/senders.py) stands in the place of the score, and `on_incomplete` above both: who is allowed is let in as far as
the message was looked at.
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.types import ActionName, Disposition, DomainPolicy, Recipient, Ruling, Verdict

_SEVERITY: dict[ActionName, int] = {"accept": 0, "tag": 1, "quarantine": 2, "reject": 3}


def decide(verdict: Verdict, recipient: Recipient, policy: DomainPolicy, ruling: Ruling | None = None) -> Disposition:
    """The disposition for one recipient, with the named reason. `ruling`: what somebody's entry on the sender says."""
    action, reason = _by_score(verdict.score, policy)
    required_score = policy.tag_at
    if ruling is not None:
        action, reason = _ruled(action, reason, ruling)
        required_score = ruling.required_score if ruling.action == "accept" else required_score
    missing = [what for what in verdict.incomplete if not what.startswith("dns")]
    if missing and _SEVERITY[policy.on_incomplete] > _SEVERITY[action]:
        action, reason = policy.on_incomplete, f"incomplete: {missing[0]}"
    return Disposition(recipient, action, reason, required_score)


def _ruled(action: ActionName, reason: str, ruling: Ruling) -> tuple[ActionName, str]:
    """An allow delivers, a block is the least that is done; one that does not count is told where it would have."""
    if ruling.action is None:
        return action, reason if action == "accept" else f"{reason}; {ruling.reason}"
    if ruling.action == "accept" or _SEVERITY[ruling.action] >= _SEVERITY[action]:
        return ruling.action, ruling.reason
    return action, f"{reason}; {ruling.reason}"


def _by_score(score: float, policy: DomainPolicy) -> tuple[ActionName, str]:
    if score >= policy.reject_at:
        return "reject", f"score {score:.1f} >= reject_at {policy.reject_at:.1f}"
    if score >= policy.quarantine_at:
        return "quarantine", f"score {score:.1f} >= quarantine_at {policy.quarantine_at:.1f}"
    if score >= policy.tag_at:
        return "tag", f"score {score:.1f} >= tag_at {policy.tag_at:.1f}"
    return "accept", f"score {score:.1f} < tag_at {policy.tag_at:.1f}"


def share_copy(dispositions: Sequence[Disposition]) -> tuple[Disposition, ...]:
    """For a message that stays one for all who get it: marked at the lowest threshold of these, tagged for all of them
    where it is for one. Nobody gets without a tag what his own policy tags."""
    delivered = [wanted for wanted in dispositions if wanted.action in ("accept", "tag")]
    required_score = min((wanted.required_score for wanted in delivered), default=0.0)
    is_tagged = any(wanted.action == "tag" for wanted in delivered)
    return tuple(
        _shared(wanted, required_score, is_tagged) if wanted in delivered else wanted for wanted in dispositions
    )


def _shared(wanted: Disposition, required_score: float, is_tagged: bool) -> Disposition:
    if wanted.action == "accept" and is_tagged:
        return Disposition(
            wanted.recipient, "tag", f"{wanted.reason}; tagged, as the copy of others is", required_score
        )
    return Disposition(wanted.recipient, wanted.action, wanted.reason, required_score)


def reconcile(dispositions: Sequence[Disposition]) -> tuple[Disposition, ...]:
    """DATA has one reply: refuse only when every recipient's policy refuses, else hold for those that would."""
    if all(wanted.action == "reject" for wanted in dispositions):
        return tuple(dispositions)
    return tuple(
        Disposition(
            wanted.recipient, "quarantine", f"{wanted.reason}; held, as other recipients get it", wanted.required_score
        )
        if wanted.action == "reject"
        else wanted
        for wanted in dispositions
    )


def as_one(dispositions: Sequence[Disposition]) -> Disposition:
    """What is told to a server that treats a message alike for all its recipients: the most severe that is wanted, but
    refused only where every recipient's policy refuses. At least one disposition.
    """
    return max(reconcile(dispositions), key=lambda wanted: _SEVERITY[wanted.action])
