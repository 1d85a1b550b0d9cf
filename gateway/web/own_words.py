"""What the gateway itself wrote in English, in the reader's words: reasons of policy, what could not be looked at,
notes on held messages, details of acts.

Stores keep the English sentence, and the audit log's chain is made over it; so it is read back here. Each sentence is a
message id of the catalogue, and its places take the values out again. What fits none was said by somebody else or by
another version, and is shown as it stands.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, datetime
from itertools import chain

from gateway.scan.wording import Tongue, read_back
from gateway.web.language import Language

_ENTRIES = (
    "allowed by %(who)s's entry until %(day)s (%(how)s)",
    "allowed by %(who)s's entry without an end (%(how)s)",
    "blocked by %(who)s's entry until %(day)s",
    "blocked by %(who)s's entry without an end",
    "%(who)s's entry does not count: the author is not proven",
    "%(who)s's entry lets no malware in",
    "%(who)s's entry counts below %(score)s",
    "client %(ip)s in %(network)s",
)
_COPIES = (
    "tagged, as the copy of others is",
    "tagged, as [[domain]] does not name %(domain)s",
    "held, as the copy of others is",
    "held, as other recipients get it",
)
_POLICY = (
    "score %(score)s < tag_at %(at)s",
    "score %(score)s >= tag_at %(at)s",
    "score %(score)s >= quarantine_at %(at)s",
    "score %(score)s >= reject_at %(at)s",
    "incomplete: %(what)s",
    "greylisted: first contact from %(network)s with score %(score)s, asked to come again",
    "greylisted: first contact from %(network)s with score %(score)s, came again too soon",
    "served at an earlier try",
    "next hop refused: %(said)s",
    "not tried: quarantine failed",
    "quarantine store unavailable",
    "domain no longer configured",
    "more than %(count)s Received fields: a loop",
)
_REFUSALS = (  # before there was a message
    "relaying denied",
    "relay trick",
    "unknown recipient",
    "next hop",
    "rate",
    "helo",
    "reverse dns",
    "dns list: %(finding)s",
    "SMTP_EARLY_TALKER",
    "SMTP_PIPELINED_EARLY",
    "connection limit: client",
    "connection limit: network",
    "connection limit: client_rate",
    "connection limit: network_rate",
    "connection limit: errors",
    "connection stopped: errors",
    "connection stopped: idle_commands",
    "connection stopped: refused_recipients",
    "content came too slowly",
    "form of the message",
    "%(count)s more like this: %(reason)s",
    "%(count)s more, of several reasons",
    "other networks",
)
_INCOMPLETE = (
    "dns: %(method)s of HELO could not be looked up",
    "dns: %(method)s could not be looked up",
    "dns: %(method)s asked for more than %(count)s look-ups",
    "dns: no nameserver answers (%(servers)s)",
    "dns: the %(rdtype)s of %(domain)s: %(status)s",
    "dns list %(list)s: switched off: %(why)s",
    "dns list %(list)s: its test entries did not answer yet",
    "dns list %(list)s: not asked about IPv6: %(why)s",
    "dns list %(list)s: %(count)s of %(all_count)s not answered (%(status)s)",
    "it does not answer (%(status)s)",
    "its test entry %(point)s is not listed: the zone is empty, gone or not for us",
    "it lists %(point)s, which no list has: it says yes to everything",
    "it answers %(record)s, which is no list's answer: somebody answers for names that are not there",
    "it refuses: the zone's name is wrong (%(record)s)",
    "it refuses: asked through a public resolver (%(record)s)",
    "it refuses: asked too often (%(record)s)",
    "it refuses: an error of the list (%(record)s)",
    "it refuses (%(record)s)",
    "clamav: no answer within %(count)s s",
    "clamav: it cannot be reached",
    "clamav: it did not answer a moment ago",
    "clamav: it did not say what it found",
    "clamav: it hung up, perhaps as the message is larger than its StreamMaxLength",
    "clamav: larger than its StreamMaxLength",
    "check %(check)s: timeout",
    "check %(check)s: %(error)s",
    "%(stage)s: gave up on this message",
    "%(stage)s: %(error)s",
)
_NOTES = (
    "expired: kept for %(days)s days",
    "expired: the quarantine was full",
    "content deleted %(days)s days after the release",
    "deleted with the domain's keys",
    "erased",
    "cut off while it was released: the next hop may have it",
)
_REASONS = (*_POLICY, *_COPIES, *_ENTRIES, *_REFUSALS, *_NOTES, *_INCOMPLETE)

_FAULTS = (  # of a file of senders
    "line %(count)s: %(fault)s",
    "The file is larger than %(count)s MiB. Part it.",
    "The file is no CSV: %(said)s",
    "“%(said)s” is no day; write 2027-01-03, or never.",
)
_ACTED = (
    "learned",
    "relearned",
    "known",
    "limited",
    "spent",
    "failed",
    "copy of %(id)s for %(recipient)s to %(address)s",
    "from a digest",
)
_REVIEWED = (
    *_ACTED,
    "released: ",
    "released: %(said)s",
    "releasing: %(said)s",
    "held: ",
    "held: cut off while it was released: the next hop may have it",
    "held: %(said)s",
    "deleted: ",
    "deleted: %(said)s",
    "from a digest: %(detail)s",
)
_WAYS = ("password", "code", "link", "issuer", "setup", "%(detail)s, and %(count)s more before, not written")
_SENDER = (
    "allow for everybody's mail",
    "allow for mail to %(recipient)s",
    "block for everybody's mail",
    "block for mail to %(recipient)s",
    "no end",
    "until %(day)s",
    "from %(network)s without proof",
)
_KEPT = (
    "held %(count)s",
    "log %(count)s",
    "lessons %(count)s",
    "accounts %(count)s",
    "counters %(count)s",
    "senders %(count)s",
    "senders %(count)s audit:%(numbers)s",
)
_LESSONS = ("%(count)s lessons", "%(count)s lessons: %(which)s")
_BULK = ("%(count)s messages: %(filter)s", "%(count)s messages")
_DETAILS: Mapping[str, Sequence[str]] = {  # act -> what its detail says; names and ids alone need no words
    **dict.fromkeys(("release", "spam", "delete", "redirect"), _REVIEWED),
    **dict.fromkeys(("sign-in", "sign-in-refused", "sign-in-locked"), _WAYS),
    **dict.fromkeys(("sender-allow", "sender-block", "sender-remove"), _SENDER),
    **dict.fromkeys(("export", "erase"), _KEPT),
    **dict.fromkeys(("revoke", "restore"), _LESSONS),
    **dict.fromkeys(("bulk release", "bulk spam", "bulk delete"), _BULK),
    "sender-import": ("%(count)s entries",),
    "download": ("part %(part)s",),
    "password": ("by a link",),
    "sessions-end": ("all others",),
    "account-add": ("%(name)s: %(scope)s",),
    "account-change": ("%(name)s: %(before)s -> %(scope)s",),
    "account-create": ("a one-time link", "%(scope)s"),
    "token-add": ("%(id)s %(name)s of %(account)s: %(acts)s", "%(id)s %(name)s: %(acts)s"),
    "teach": (
        "spam in the name of %(who)s: %(detail)s",
        "ham in the name of %(who)s: %(detail)s",
        "%(count)s learned",
        "%(count)s relearned",
        "%(count)s known",
        "%(count)s limited",
        "%(count)s foreign",
        "no message there",
    ),
    "digest": ("no more", "again"),
    "expire": (
        "%(count)s spam",
        "%(count)s phishing",
        "%(count)s malware",
        "%(count)s released",
        "%(count)s size",
    ),
    "destroy key": ("%(count)s messages; no key", "%(count)s messages; %(keys)s"),
    "rotate key": ("%(count)s keys wrapped anew",),
}
_STATUSES = ("timeout", "servfail", "refused", "limit")
_ROLES = ("owner", "domain_admin", "reviewer", "auditor", "recipient")
_FURTHER, _PIECE = "; ", ", "
SENTENCES = dict.fromkeys((*_REASONS, *_FAULTS, *chain.from_iterable(_DETAILS.values()), *_STATUSES, *_ROLES, _FURTHER))

_FOLLOW = frozenset((*_COPIES, *_ENTRIES, *_ACTED))  # stand behind "; ", and nothing else does
_NUMBERS = frozenset(("count", "all_count", "score", "at", "days"))
_AGAIN = frozenset(("what", "why", "how", "reason", "detail"))  # hold sentences themselves


def reason_text(text: str, language: Language, tongue: Tongue) -> str:
    """Why something was done, or not; "" for what nobody of ours wrote."""
    return _Reader(_REASONS, language, tongue).read(text)


def detail_text(act: str, text: str, language: Language, tongue: Tongue) -> str:
    """What the audit log adds to an act; "" for what has no words of ours in it."""
    return _Reader(_DETAILS.get(act, ()), language, tongue).read(text)


def fault_text(text: str, language: Language, tongue: Tongue) -> str:
    """What is wrong with an imported file; "" for what is a message id as it stands."""
    return _Reader(_FAULTS, language, tongue).read(text)


class _Reader:
    """Reads one table back."""

    def __init__(self, sentences: Sequence[str], language: Language, tongue: Tongue) -> None:
        self._sentences = sentences
        self._language = language
        self._tongue = tongue

    def read(self, text: str) -> str:
        """A sentence; or several, with "; " between; or a list, with ", ", and somebody's note behind it."""
        head, mark, further = text.rpartition(_FURTHER)
        if mark and (said := self._sentence(further, _FOLLOW)):
            return self._tongue.gettext(_FURTHER).join((self.read(head) or self._tongue.shown(head), said))
        return self._list(text) or self._sentence(text)

    def _list(self, text: str) -> str:
        pieces, colon, note = text.partition(": ")
        said = [self._sentence(one) for one in pieces.split(_PIECE)]
        if not all(said) or len(said) == 1:
            return ""
        return self._tongue.gettext(_PIECE).join(said) + (colon and colon + self._tongue.shown(note))

    def _sentence(self, text: str, among: Collection[str] | None = None) -> str:
        for one in self._sentences:
            values = read_back(one, text) if among is None or one in among else None
            if values is not None:
                return self._tongue.gettext(one) % {name: self._value(name, said) for name, said in values.items()}
        return ""

    def _value(self, name: str, said: str) -> str:
        tongue = self._tongue
        if name in _NUMBERS:
            return tongue.number(said)
        if name in _AGAIN:
            return self.read(said) or tongue.shown(said)
        if name == "fault":
            return self.read(said) or tongue.gettext(said)
        if name == "day":
            return self._language.when(datetime.fromisoformat(said).replace(tzinfo=UTC).timestamp()).partition(" ")[0]
        if name == "status":
            return tongue.gettext(said) if said in _STATUSES else tongue.shown(said)
        if name in ("scope", "before"):
            role, space, whose = said.partition(" ")
            return (tongue.gettext(role) if role in _ROLES else tongue.shown(role)) + space + tongue.shown(whose)
        return tongue.shown(said)
