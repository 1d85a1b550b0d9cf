"""policy/reputation.py: what is remembered fades, is nobody's who does not prove it, and does not feed on itself."""

from __future__ import annotations

import math
from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.reputation import Reputation
from gateway.policy import reputation
from gateway.policy.reputation import HALF_LIFE_S, Keys, Names, Networks
from gateway.types import AuthResult, DomainPolicy, Envelope, History, Hit, Past, Verdict
from tests.builders import AT, envelope, verdict

KEYS = Keys(b"a secret of the installation")
POLICY = DomainPolicy("darban.test", "smtp://a:25")
AUTHOR = "sara@example.org"
PROVEN = (
    AuthResult("spf", "pass", "example.org", is_aligned=True),
    AuthResult("dmarc", "pass", "example.org"),
)
FORGED = (AuthResult("spf", "fail", "example.org"), AuthResult("dmarc", "fail", "example.org"))
OF_ANOTHER = (
    AuthResult("spf", "pass", "evil.example", is_aligned=True),
    AuthResult("dmarc", "pass", "evil.example"),
)


def asked(*recipients: str, author: str = AUTHOR, network: str = "192.0.2.0/24", at: float = AT) -> Names:
    return reputation.names(KEYS, network, author, recipients or ("you@darban.test",), at)


class Memory:
    """The counters, and messages that come and are learned from."""

    def __init__(self) -> None:
        self.values: dict[str, float] = {}

    def recall(self, *recipients: str, at: float = AT, network: str = "192.0.2.0/24") -> History:
        return reputation.history(asked(*recipients, at=at, network=network), self.values, at)

    def add(self, amounts: dict[str, float]) -> None:
        for key, amount in amounts.items():
            self.values[key] = self.values.get(key, 0.0) + amount

    def comes(
        self,
        *recipients: str,
        auth: tuple[AuthResult, ...] = PROVEN,
        score: float = 0.0,
        at: float = AT,
        network: str = "192.0.2.0/24",
    ) -> History:
        """One message, from its recall to its lesson."""
        to = recipients or ("you@darban.test",)
        past = self.recall(*to, at=at, network=network)
        judged = reputation.judge(verdict(score), [POLICY])
        took = frozenset(to) if score < POLICY.tag_at else frozenset[str]()
        names = asked(*to, at=at, network=network)
        self.add(reputation.lessons(names, envelope(*to, history=past), auth, judged, took, at))
        return past


# --- networks and keys --------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("ip", "network"),
    [
        ("192.0.2.77", "192.0.2.0/24"),
        ("2001:db8:1:2:3::9", "2001:db8:1:2::/64"),
        ("127.0.0.1", ""),
        ("198.51.100.7", ""),
        ("198.51.100.8", "198.51.100.0/24"),
        ("0.0.0.0", ""),
        ("::", ""),
        ("nonsense", ""),
        ("", ""),
    ],
)
def test_networks(ip: str, network: str) -> None:
    assert Networks(("127.0.0.0/8", "198.51.100.7/32")).of(ip) == network


def test_keys_tell_nothing_without_the_secret() -> None:
    key = KEYS.key("r:k:", AUTHOR, "you@darban.test")
    assert key == KEYS.key("r:k:", AUTHOR, "you@darban.test")
    others = {
        Keys(b"another secret").key("r:k:", AUTHOR, "you@darban.test"),
        KEYS.key("r:m:", AUTHOR, "you@darban.test"),
        KEYS.key("r:k:", AUTHOR + "you", "@darban.test"),
    }
    assert len(others | {key}) == 4
    assert "sara" not in key
    assert len(key) < 64
    KEYS.key("r:k:", "\ud800")  # what a client may have written


def test_a_message_asks_for_a_bounded_number_of_counters() -> None:
    many = [f"r{number}@darban.test" for number in range(500)]
    assert len(asked(*many).every()) == 10 + 2 * reputation.RECIPIENTS
    assert len(set(asked(*many).every())) == len(asked(*many).every())
    assert len(asked(*many, author="").every()) == 4
    assert asked(author="", network="").every() == []


# --- fading -----------------------------------------------------------------------------------------------------------


@given(st.lists(st.tuples(st.floats(0, 400), st.floats(0.1, 10)), max_size=20), st.floats(400, 800))
def test_forward_decay_is_decay(added: list[tuple[float, float]], day: float) -> None:
    now = AT + day * 86_400
    total = sum(amount * reputation.grown(AT + at * 86_400) for at, amount in added)
    faded = sum(amount * 0.5 ** ((now - AT - at * 86_400) / HALF_LIFE_S) for at, amount in added)
    assert math.isclose(total / reputation.grown(now), faded, rel_tol=1e-9, abs_tol=1e-12)


def test_the_era_lasts() -> None:
    in_2090 = 3_786_912_000.0
    assert math.isfinite(reputation.grown(in_2090) * 1e9)


def test_what_is_remembered_halves_in_a_month() -> None:
    memory = Memory()
    for _ in range(8):
        memory.comes()
    assert memory.recall().known == (8.0,)
    later = memory.recall(at=AT + HALF_LIFE_S)
    assert (later.known, later.domain.good, later.network.good) == ((4.0,), 4.0, 4.0)
    assert later.address.today == 0.0
    assert memory.recall(at=AT + 12 * HALF_LIFE_S).known[0] < 0.01


# --- who gains ----------------------------------------------------------------------------------------------------------


def test_proven_clean_mail_makes_the_sender_known() -> None:
    memory = Memory()
    assert memory.comes() == History(AUTHOR, Past(), Past(), Past(), (0.0,), (0.0,))
    assert memory.recall() == History(
        AUTHOR, Past(good=1, today=1), Past(good=1, recipients=1), Past(good=1, today=1), (1.0,), (0.0,)
    )
    memory.comes("you@darban.test", "reza@darban.test")
    past = memory.recall("you@darban.test", "reza@darban.test", "mina@darban.test")
    assert (past.known, past.domain.recipients) == ((2.0, 1.0, 0.0), 2.0)
    assert memory.recall("YOU@darban.test").known == (2.0,)


@pytest.mark.parametrize("auth", [FORGED, OF_ANOTHER, ()], ids=["forged", "another", "none"])
def test_a_claim_earns_nothing_and_harms_nobody(auth: tuple[AuthResult, ...]) -> None:
    memory = Memory()
    for _ in range(5):
        memory.comes()
    before = memory.recall(network="")
    for score in (0.0, 0.0, 20.0, 20.0):
        memory.comes(auth=auth, score=score)
    assert memory.recall(network="") == before
    assert memory.recall().network == Past(good=7, bad=2, today=9)


def test_mail_without_proof_is_met_only_where_it_always_comes_from() -> None:
    memory = Memory()
    memory.comes(auth=FORGED)
    assert memory.recall().met == (1.0,)
    assert memory.recall(network="198.51.100.0/24").met == (0.0,)
    assert memory.recall().known == (0.0,)


def test_bad_mail_of_a_known_sender_takes_more_than_a_clean_one_gave() -> None:
    memory = Memory()
    for _ in range(60):
        memory.comes()
    assert memory.recall().known[0] <= 20
    memory.comes(score=9.0)
    memory.comes(score=9.0)
    assert memory.recall().known[0] < 2
    memory.comes(score=9.0)
    assert memory.recall().known == (0.0,)
    assert memory.recall().domain.bad == 3.0


def test_bad_mail_of_strangers_leaves_no_pairs_behind() -> None:
    memory = Memory()
    memory.comes(score=9.0)
    assert not {key[:4] for key in memory.values} & {"r:k:", "r:m:", "r:dr"}


def test_neither_clean_nor_bad_teaches_only_that_it_came() -> None:
    memory = Memory()
    memory.comes(score=4.0)
    assert {key[:2] for key in memory.values} == {"v:"}
    names = asked()
    clean_but_refused = reputation.lessons(names, envelope(history=History()), PROVEN, "clean", frozenset(), AT)
    assert set(clean_but_refused) == {names.network["today"], names.address["today"]}


def test_a_release_counts_for_that_recipient_alone() -> None:
    memory = Memory()
    memory.comes(score=9.0)
    before = memory.recall("reza@darban.test")
    for _ in range(100):
        memory.add(reputation.release_lessons(asked("you@darban.test", "reza@darban.test"), PROVEN, AT))
    assert memory.recall("you@darban.test").known[0] >= 8
    assert memory.recall("reza@darban.test") == before
    memory = Memory()
    memory.add(reputation.release_lessons(asked(), FORGED, AT))
    past = memory.recall()
    assert (past.known, past.met[0] > 0) == ((0.0,), True)


@given(st.lists(st.tuples(st.sampled_from([PROVEN, FORGED, OF_ANOTHER]), st.floats(-5, 25)), max_size=15))
def test_nothing_but_proven_mail_makes_known(mails: list[tuple[tuple[AuthResult, ...], float]]) -> None:
    memory = Memory()
    for auth, score in mails:
        memory.comes(auth=auth, score=score)
    clean = sum(1 for auth, score in mails if auth == PROVEN and score < POLICY.tag_at / 2)
    past = memory.recall()
    assert past.known[0] <= clean
    assert past.domain.good == pytest.approx(clean)


# --- what teaches -------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("said", "judged"),
    [
        (verdict(0.0), "clean"),
        (verdict(2.4), "clean"),
        (verdict(2.5), "neutral"),
        (verdict(7.9), "neutral"),
        (verdict(8.0), "bad"),
        (verdict(0.0, incomplete=("dns: spf could not be looked up",)), "clean"),
        (verdict(0.0, incomplete=("check url: ValueError",)), "neutral"),
    ],
)
def test_judge(said: Verdict, judged: str) -> None:
    assert reputation.judge(said, [POLICY]) == judged
    assert reputation.judge(said, []) == "neutral"


def test_every_recipients_thresholds_count() -> None:
    strict = replace(POLICY, tag_at=2.0, quarantine_at=4.0)
    assert reputation.judge(verdict(5.0), [POLICY, strict]) == "neutral"
    assert reputation.judge(verdict(1.5), [POLICY, strict]) == "neutral"


def test_a_good_name_does_not_feed_on_itself() -> None:
    hits = (Hit("X", 3.0, ""), Hit("KNOWN_SENDER_PLAIN", -1.0, ""), Hit("DOMAIN_GOOD", -0.3, ""))
    assert reputation.judge(verdict(1.7, hits=hits), [POLICY]) == "neutral"
    hits = (Hit("X", 7.5, ""), Hit("CLIENT_NETWORK_BAD", 1.0, ""))
    assert reputation.judge(verdict(8.5, hits=hits), [POLICY]) == "neutral"
    assert set(Reputation.findings) <= reputation.OWN_HITS


def test_a_history_that_could_not_be_had_does_not_make_new_recipients() -> None:
    around: Envelope = envelope(history=None)
    names = asked()
    learned = reputation.lessons(names, around, PROVEN, "clean", frozenset({"you@darban.test"}), AT)
    assert names.domain["recipients"] not in learned
    assert learned[names.known[0]] == reputation.grown(AT)


_COUNT = st.floats(0, 1e9)
_PAST = st.builds(Past, _COUNT, _COUNT, _COUNT, _COUNT, _COUNT)
_WEIGHTS = st.lists(_COUNT, max_size=12).map(tuple)
_AUTHOR = st.sampled_from(["", AUTHOR, "\ud800@example.org", "a@[192.0.2.1]"])
_NETWORK = st.sampled_from(["", "192.0.2.0/24"])
_AUTH = st.lists(st.sampled_from([*PROVEN, *FORGED, *OF_ANOTHER, AuthResult("dmarc", "permerror")]), max_size=4)


@given(
    _AUTHOR,
    _NETWORK,
    st.none() | st.builds(History, _AUTHOR, _PAST, _PAST, _PAST, _WEIGHTS, _WEIGHTS),
    _AUTH.map(tuple),
    st.sampled_from(["clean", "neutral", "bad"]),
    st.integers(1, 14),
)
def test_any_history_gives_finite_lessons_about_what_was_asked(author, network, past, auth, judged, number) -> None:
    to = [f"r{one}@darban.test" for one in range(number)]
    names = asked(*to, author=author, network=network)
    learned = reputation.lessons(names, envelope(*to, history=past), auth, judged, frozenset(to), AT)
    assert set(learned) <= set(names.every())
    assert all(math.isfinite(amount) for amount in learned.values())
    assert set(reputation.release_lessons(names, auth, AT)) <= set(names.every())
