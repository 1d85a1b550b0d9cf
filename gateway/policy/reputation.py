"""What is remembered of senders: which counters a message asks for, what they say, and what it adds to them. Pure.

Counters forget: an amount halves every 30 days. They are kept as sums of amounts * 2^(age of the era / 30 days), so
that adding is adding, whoever adds when (forward decay: Cormode et al., ICDE 2009), and the smallest sum of a kind is
the one that says least. In 64-bit floats the era lasts 80 years.

Subjects are the client's network (/24, /64), the author's domain and address, and the pairs of author and recipient.
All but the network are counted for mail that authenticates the author's domain, aligned as DMARC asks; a message that
only claims a name neither gains from it nor harms it. Pairs of mail that does not authenticate are bound to the
client's network. Keys are hashed with the installation's secret: the database alone does not tell who writes to whom.

What a message teaches is decided without what was remembered: a good name does not feed on itself.
"""

from __future__ import annotations

import hashlib
import ipaddress
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from functools import lru_cache
from typing import Literal

from gateway.mail.author_field import is_author_proven
from gateway.types import NO_PAST, AuthResult, DomainPolicy, Envelope, History, Past, Verdict

Judged = Literal["clean", "neutral", "bad"]

HALF_LIFE_S = 30 * 86_400.0
KEPT_S = 120 * 86_400.0  # a counter not touched for four half-lives is forgotten
DAY_KEPT_S = 2 * 86_400.0
RECIPIENTS = 10  # of one message are looked at
REMEMBERED = "r:"  # prefix of what decays
COUNTED_TODAY = "v:"  # prefix of plain counts of one day

# What the check and the rules make of a history; taken out of the score before it teaches
OWN_HITS = frozenset(
    "KNOWN_SENDER FIRST_CONTACT CLIENT_NETWORK_GOOD CLIENT_NETWORK_BAD DOMAIN_GOOD DOMAIN_BAD SENDER_RATE_HIGH "
    "KNOWN_SENDER_PLAIN URL_DOMAIN_NEW".split()
)

_ERA = 1_577_836_800.0  # 2020-01-01
_RELEASED = 8.0  # clean messages that a release is worth, for this pair alone
_SPOILED = 3.0  # clean messages that a bad one takes back from the pair, and half of the rest
_KNOWN_MAX = 20.0  # more is not added to a pair: a long acquaintance is lost in a few bad messages too


# --- networks -----------------------------------------------------------------------------------------------------


class Networks:
    """Client addresses as their networks."""

    def __init__(self, trusted: Sequence[str] = ()) -> None:
        self._trusted = [ipaddress.ip_network(one, strict=False) for one in trusted]
        self.of = lru_cache(maxsize=4096)(self._of)

    def _of(self, ip: str) -> str:
        """192.0.2.0/24 or 2001:db8::/64; "" for a trusted network's and for what is no address."""
        try:
            address = ipaddress.ip_address(ip)
        except ValueError:
            return ""
        if any(address in network for network in self._trusted) or address.is_unspecified:
            return ""
        return str(ipaddress.ip_network((ip, 24 if address.version == 4 else 64), strict=False))


# --- keys ---------------------------------------------------------------------------------------------------------


class Keys:
    """Names of counters, hashed with a secret of the installation."""

    def __init__(self, secret: bytes) -> None:
        self._secret = secret[:64]
        self.key = lru_cache(maxsize=8192)(self._key)  # what a message asks for it also teaches

    def _key(self, kind: str, *subject: str) -> str:
        """`kind` begins with the prefix of its sort."""
        said = "\0".join(subject).encode("utf-8", "surrogatepass")
        return kind + hashlib.blake2b(said, key=self._secret, digest_size=12).hexdigest()


@dataclass(frozen=True, slots=True)
class Names:
    """A message's counters: of each subject the fields of its Past with their keys. Empty without such a subject."""

    author: str
    network: Mapping[str, str] = field(default_factory=dict)
    domain: Mapping[str, str] = field(default_factory=dict)
    address: Mapping[str, str] = field(default_factory=dict)
    known: tuple[str, ...] = ()
    met: tuple[str, ...] = ()

    def every(self) -> list[str]:
        """All keys."""
        subjects = (self.network, self.domain, self.address)
        return [*(key for one in subjects for key in one.values()), *self.known, *self.met]


def names(keys: Keys, network: str, author: str, recipients: Sequence[str], at: float) -> Names:
    """The counters of a message.

    Args:
        network: as Networks.of has it, "" for none.
        author: as mail.author_field.peek_author has it, "" for none.
        recipients: addresses; the first RECIPIENTS are looked at.
        at: now, which names the day.
    """
    key, day = keys.key, str(int(at // 86_400))
    to = [one.lower() for one in recipients[:RECIPIENTS]] if author else []
    domain = author.rpartition("@")[2]
    return Names(
        author,
        {
            "good": key("r:ng:", network),
            "bad": key("r:nb:", network),
            "passes": key("r:np:", network),
            "today": key("v:n:", network, day),
        }
        if network
        else {},
        {"good": key("r:dg:", domain), "bad": key("r:db:", domain), "recipients": key("r:dr:", domain)}
        if domain
        else {},
        {"good": key("r:ag:", author), "bad": key("r:ab:", author), "today": key("v:a:", author, day)}
        if author
        else {},
        tuple([key("r:k:", author, one) for one in to]),
        tuple([key("r:m:", author, network, one) for one in to]) if network else (),
    )


# --- what they say ----------------------------------------------------------------------------------------------------


def grown(at: float) -> float:
    """How much larger an amount is at this time than at the beginning of the era."""
    return float(2.0 ** ((at - _ERA) / HALF_LIFE_S))


def history(asked: Names, values: Mapping[str, float], at: float) -> History:
    """The counters' values, decayed to now; what was taken back further than there was counts as nothing."""
    share = 1.0 / grown(at)
    now = {
        key: found if key.startswith(COUNTED_TODAY) else max(0.0, round(found * share, 3))
        for key, found in values.items()
    }

    def past(subject: Mapping[str, str]) -> Past:
        found = {name: now[key] for name, key in subject.items() if key in now}
        return Past(**found) if found else NO_PAST

    known, met = tuple([now.get(key, 0.0) for key in asked.known]), tuple([now.get(key, 0.0) for key in asked.met])
    return History(asked.author, past(asked.network), past(asked.domain), past(asked.address), known, met)


# --- what a message adds ----------------------------------------------------------------------------------------------


def judge(verdict: Verdict, policies: Sequence[DomainPolicy]) -> Judged:
    """Clean far below everybody's threshold for tagging, bad above everybody's for holding; own hits left out."""
    score = verdict.score - sum(hit.score for hit in verdict.hits if hit.name in OWN_HITS)
    if policies and score >= max(policy.quarantine_at for policy in policies):
        return "bad"
    is_whole = not any(not what.startswith("dns") for what in verdict.incomplete)
    if policies and is_whole and score < min(policy.tag_at for policy in policies) / 2:
        return "clean"
    return "neutral"


def lessons(
    asked: Names, envelope: Envelope, auth: Sequence[AuthResult], judged: Judged, took: frozenset[str], at: float
) -> dict[str, float]:
    """Key -> amount to add, for a message that was delivered, held or refused (not for one that comes again).

    Args:
        took: addresses of the recipients whose next hop has it, untagged.
    """
    unit, is_proven = grown(at), is_author_proven(asked.author, auth)
    past = envelope.history or History()
    added = {one["today"]: 1.0 for one in (asked.network, asked.address if is_proven else {}) if one}
    if judged == "neutral" or (judged == "clean" and not took):
        return added
    side = "good" if judged == "clean" else "bad"
    subjects = (asked.network, asked.domain, asked.address) if is_proven else (asked.network,)
    added |= {one[side]: unit for one in subjects if one}
    pairs, weights = (asked.known, past.known) if is_proven else (asked.met, past.met)
    weights = weights if len(weights) == len(pairs) else (0.0,) * len(pairs)
    for recipient, key, weight in zip(envelope.recipients, pairs, weights, strict=False):
        if judged == "bad" and weight > 0:
            added[key] = -unit * (_SPOILED + weight / 2)
        elif judged == "clean" and recipient.address in took and weight < _KNOWN_MAX:
            added[key] = unit
            if is_proven and weight == 0 and envelope.history is not None:
                added[asked.domain["recipients"]] = added.get(asked.domain["recipients"], 0.0) + unit
    return added


def release_lessons(asked: Names, auth: Sequence[AuthResult], at: float) -> dict[str, float]:
    """What the release of a held message adds: much for the author and this recipient, nothing for anybody else."""
    pairs = asked.known if is_author_proven(asked.author, auth) else asked.met
    return dict.fromkeys(pairs[:1], _RELEASED * grown(at))


def pass_lessons(asked: Names, at: float) -> dict[str, float]:
    """A client that was greylisted came again, as servers do."""
    return {asked.network["passes"]: grown(at)} if asked.network else {}
