"""Which first contacts are asked to come again, and as whom they are known when they do. Pure.

Asked are messages that every recipient's policy would deliver, but with a score that makes them doubtful; that neither
authenticate their author nor come through a trusted forwarder; whose author none of the recipients has met; from a
client network that is not known to send clean mail or to come again. Everything else passes at once: mail of proven
authors, passwords for one use among it, and the pools of the large senders.

Whoever comes again is known by the client's network, or by any domain the message authenticates (SPF's, DKIM's): a pool
that tries again from another network is not asked twice.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from gateway.mail.author_field import is_author_proven
from gateway.policy.reputation import RECIPIENTS, Keys
from gateway.types import AuthResult, Disposition, DomainPolicy, Envelope, Past, Verdict

_MET = 0.2  # clean messages, decayed: one of two months ago
_PASSES = 0.2
_GOOD = 5.0
_BAD_SHARE = 0.2
_DOMAINS = 3  # authenticated ones of a message


@dataclass(frozen=True, slots=True)
class Delays:
    """Seconds."""

    wait_s: float = 300.0  # what comes again sooner is deferred again
    window_s: float = 86_400.0  # and later is a first contact again


DELAYS = Delays()


def is_doubtful(
    envelope: Envelope, verdict: Verdict, wanted: Sequence[Disposition], policies: Sequence[DomainPolicy | None]
) -> bool:
    """Is this a message to defer, if it has not been deferred before?"""
    history = envelope.history
    return (
        history is not None
        and all(_asks(one, policy, verdict.score) for one, policy in zip(wanted, policies, strict=True))
        and not is_author_proven(history.author, verdict.auth)
        and not any(_may_speak_for(one, history.author) for one in verdict.auth)
        and not any(weight >= _MET for weight in history.met)
        and not _is_known_pool(history.network)
    )


def _may_speak_for(one: AuthResult, author: str) -> bool:
    """A forwarder that is trusted does, and a DNS that did not answer for the author's own domain might have."""
    own = ("", author.rpartition("@")[2])  # "": given up before the domain was known
    is_silent = one.result == "temperror" and one.method in ("spf", "dkim", "dmarc") and one.domain in own
    return is_silent or one.override == "trusted_forwarder"


def _asks(wanted: Disposition, policy: DomainPolicy | None, score: float) -> bool:
    is_delivered = wanted.action in ("accept", "tag")
    return is_delivered and policy is not None and policy.greylist and score >= policy.greylist_at


def _is_known_pool(network: Past) -> bool:
    """It sends clean mail, or came again before; and not too much that was bad since."""
    return (network.good >= _GOOD or network.passes >= _PASSES) and network.bad <= max(
        1.0, _BAD_SHARE * (network.good + network.bad)
    )


def identities(network: str, auth: Sequence[AuthResult]) -> tuple[str, ...]:
    """As whom the client may come again; () for a trusted network's, which is never deferred."""
    if not network:
        return ()
    proven = [one.domain for one in auth if one.method in ("spf", "dkim") and one.result == "pass" and one.domain]
    return (network, *[f"@{domain}" for domain in dict.fromkeys(proven)][:_DOMAINS])


def marks(keys: Keys, identity: str, reverse_path: str, recipients: Sequence[str]) -> list[tuple[str, str]]:
    """For each recipient looked at (the key that says it still has to wait, the key that says it was asked)."""
    subjects = [(identity, reverse_path.lower(), one.lower()) for one in recipients[:RECIPIENTS]]
    return [(keys.key("g:w:", *one), keys.key("g:a:", *one)) for one in subjects]
