"""What is remembered of this mail's senders (docs/reputation.md): a known sender, a first contact, networks and domains
that mostly sent clean mail or mostly did not, and more in one day than is their habit.

Without a history nothing is said. What belongs to the author is said only of mail that authenticates the author's
domain, aligned; a look-alike, a forged From or a replayed name finds nothing of it. Thresholds are counts of messages,
halved every 30 days.
"""

from __future__ import annotations

from collections.abc import Iterator

from gateway.mail.author_field import address_of, is_author_proven
from gateway.types import Finding, History, MailObject, Past

_KNOWN = 2.0  # clean messages of the author that a recipient got
_NOT_MET = 0.2
_GOOD_SHARE = 0.02  # bad messages of one that is called good, at most
_BAD_SHARE = 0.8  # and of one that is called bad, at least
_NETWORK_GOOD, _NETWORK_BAD = 20.0, 5.0
_DOMAIN_GOOD, _DOMAIN_BAD = 10.0, 5.0
_DOMAIN_RECIPIENTS = 3.0  # one person's newsletter makes no good domain for everybody
_BURST = 50.0  # messages of one day
_BURST_TIMES = 10.0  # of the daily habit
_HABIT_DAYS = 30 / 0.693  # what a count that halves in 30 days holds of a steady stream (30 / ln 2)


class Reputation:
    """See the module."""

    name = "reputation"
    findings = (
        "KNOWN_SENDER",
        "FIRST_CONTACT",
        "CLIENT_NETWORK_GOOD",
        "CLIENT_NETWORK_BAD",
        "DOMAIN_GOOD",
        "DOMAIN_BAD",
        "SENDER_RATE_HIGH",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Needs Envelope.history."""
        history = mail.envelope.history
        if history is None:
            return
        yield from _network(history.network)
        is_author = history.author == address_of(mail.message.author)  # as the whole parse has it
        is_proven = is_author and is_author_proven(history.author, mail.auth)
        yield from _acquaintance(mail, history, is_proven)
        if is_proven:
            domain = history.author.rpartition("@")[2]
            yield from _domain(domain, history.domain)
            yield from _burst(_shown(history.author), history.address)
        else:
            yield from _burst("the client's network", history.network)


def _acquaintance(mail: MailObject, history: History, is_proven: bool) -> Iterator[Finding]:
    """With several recipients a sender is known when each of them knows it, new when none does."""
    weights = history.known if is_proven else history.met
    if not weights:
        return
    author, recipients = _shown(history.author), mail.envelope.recipients
    to = _shown(recipients[0].address) if len(recipients) == 1 else f"each of {len(recipients)} recipients"
    if is_proven and min(weights) >= _KNOWN:
        yield Finding("KNOWN_SENDER", (f"{author} sent about {min(weights):.0f} clean messages to {to} of late",))
    elif max(weights) < _NOT_MET:
        where = "" if is_proven else " from this network"
        yield Finding("FIRST_CONTACT", (f"{author} has not written to {to}{where} of late",))


def _network(past: Past) -> Iterator[Finding]:
    said = _said("messages of the client's network", past)
    if past.good >= _NETWORK_GOOD and past.bad <= _GOOD_SHARE * (past.good + past.bad):
        yield Finding("CLIENT_NETWORK_GOOD", said)
    elif past.bad >= _NETWORK_BAD and past.bad >= _BAD_SHARE * (past.good + past.bad):
        yield Finding("CLIENT_NETWORK_BAD", said)


def _domain(domain: str, past: Past) -> Iterator[Finding]:
    said = _said(f"proven messages of {domain}", past)
    is_broad = past.good >= _DOMAIN_GOOD and past.recipients >= _DOMAIN_RECIPIENTS
    if is_broad and past.bad <= _GOOD_SHARE * (past.good + past.bad):
        yield Finding("DOMAIN_GOOD", said)
    elif past.bad >= _DOMAIN_BAD and past.bad >= _BAD_SHARE * (past.good + past.bad):
        yield Finding("DOMAIN_BAD", said)


def _said(what: str, past: Past) -> tuple[str, ...]:
    return (f"of about {past.good + past.bad:.0f} {what} of late {past.bad:.0f} were held or refused",)


def _burst(who: str, past: Past) -> Iterator[Finding]:
    habit = (past.good + past.bad) / _HABIT_DAYS
    if past.today >= _BURST and past.today >= _BURST_TIMES * habit:
        yield Finding("SENDER_RATE_HIGH", (f"{past.today:.0f} messages of {who} today, {habit:.1f} a day before",))


def _shown(address: str) -> str:
    """No lone surrogate leaves here."""
    return address.encode("utf-8", "replace").decode()
