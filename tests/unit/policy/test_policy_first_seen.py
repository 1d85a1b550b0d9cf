"""policy/first_seen.py: which domains are new, over counters that expire; however much mail there is."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from gateway.policy import first_seen
from gateway.policy.first_seen import NEW, NEW_S, SEEN, YOUNG
from gateway.policy.reputation import KEPT_S, Keys, grown
from tests.builders import AT

KEYS = Keys(b"secret")
QUIET_S = 7 * 86_400.0
TTL_S = {NEW: NEW_S, YOUNG: QUIET_S, SEEN: KEPT_S}


class Store:
    """Counters as ports.Counters has them: an addition puts off the end."""

    def __init__(self) -> None:
        self.values: dict[str, tuple[float, float]] = {}

    def ask(self, at: float, *domains: str) -> frozenset[str] | None:
        """One message's question, and its write."""
        asked = first_seen.names(KEYS, domains)
        found = {key: value for key, (value, until) in self.values.items() if until > at}
        for key, amount in first_seen.lessons(asked, found, at).items():
            self.values[key] = (found.get(key, 0.0) + amount, at + TTL_S[key[:4]])
        return first_seen.new(asked, found)


def grown_up() -> Store:
    store = Store()
    store.ask(AT - QUIET_S, "first.example")
    return store


def test_a_new_memory_learns_and_says_nothing() -> None:
    store = Store()
    assert store.ask(AT, "a.example") is None
    assert store.ask(AT + QUIET_S - 1, "b.example") is None
    assert store.ask(AT + QUIET_S, "a.example", "b.example", "c.example") == {"b.example", "c.example"}


@given(st.lists(st.floats(0, 3 * NEW_S), max_size=60))
def test_a_domain_is_new_for_a_day_however_often_it_comes(times: list[float]) -> None:
    store = grown_up()
    assert store.ask(AT, "new.example", "first.example") == {"new.example"}
    for later in sorted(times):
        assert store.ask(AT + later, "new.example") == ({"new.example"} if later < NEW_S else frozenset())


def test_a_flood_counts_as_one_day() -> None:
    store = grown_up()
    for second in range(500):
        store.ask(AT + second, "flood.example")
    (key,) = first_seen.names(KEYS, ("flood.example",)).domains.values()
    assert store.values[SEEN + key][0] == grown(AT), "it would outlive the others when there is no room"


def test_what_is_not_seen_for_long_is_forgotten() -> None:
    store = grown_up()
    store.ask(AT, "a.example", "b.example")
    for day in range(2, 130, 2):
        store.ask(AT + day * 86_400, "a.example")
    assert store.ask(AT + 130 * 86_400, "a.example", "b.example") == {"b.example"}


def test_a_memory_nobody_fed_begins_anew() -> None:
    store = grown_up()
    store.ask(AT, "a.example")
    assert store.ask(AT + KEPT_S + 1, "a.example") is None


@given(st.lists(st.text(max_size=12), max_size=12))
def test_a_message_asks_for_few_keys_that_name_nobody(domains: list[str]) -> None:
    keys = first_seen.names(KEYS, domains).every()
    assert len(keys) == len({*keys}) <= 2 * first_seen.MOST + 2
    assert all(len(key) == 4 + 24 for key in keys)
    others = first_seen.names(Keys(b"another"), domains).every()
    assert not {*keys} & {*others}
