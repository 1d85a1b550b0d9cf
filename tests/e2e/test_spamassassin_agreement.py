"""Debian's rules hit where they hit in SpamAssassin: each rule in 99.5 % of what either finds, but for named exceptions.

Of all rules but eval rules, metas that lean on those included.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from pathlib import Path

import pytest

from gateway.rules.ruleset import Rules
from tests import spamassassin_peer as peer
from tests.spamassassin_mail import CASES

# Of peer.EXCEPTIONS those that show in the hundred messages; each has its reason there and in docs/rules.md
EXCEPTED = frozenset(("__HAS_ANY_EMAIL", "__IMGUR_IMG_2", "HOSTED_IMG_MULTI_PUB_01"))
pytestmark = [pytest.mark.e2e, pytest.mark.skipif(bool(peer.missing()), reason=peer.missing() or "there")]


@pytest.fixture(scope="module")
def rules(tmp_path_factory: pytest.TempPathFactory) -> Rules:
    return peer.darban_rules(tmp_path_factory.getbasetemp() / "rules")


def differences(rules: Rules, cases: Sequence[peer.Case], folder: Path) -> list[peer.Difference]:
    found = peer.compared(rules, cases, peer.darban(rules, cases), peer.spamassassin(cases, folder))
    return [one for one in found if not one.is_eval]


def shown(found: Iterable[peer.Difference]) -> str:
    return "\n".join(str(one) for one in found if one.differing)


def test_messages_written_for_it(rules: Rules, tmp_path: Path) -> None:
    assert len(CASES) >= 30
    found = differences(rules, CASES, tmp_path)
    assert sum(one.hits for one in found) > 2000
    assert shown(found) == ""


@pytest.mark.usefixtures("corpora")
def test_a_hundred_of_the_corpora(rules: Rules, tmp_path: Path) -> None:
    found = differences(rules, peer.corpus_cases(100), tmp_path)
    assert sum(one.hits for one in found) > 5000
    assert peer.agreement(found) >= peer.LEAST, shown(found)
    assert peer.below(found).keys() == EXCEPTED, shown(found)  # one that agrees again is no exception any more


def test_every_exception_is_documented() -> None:
    page = (Path(__file__).parents[2] / "docs" / "rules.md").read_text("utf-8")
    assert peer.EXCEPTIONS.keys() >= EXCEPTED
    assert [name for name in peer.EXCEPTIONS if f"`{name}`" not in page] == []
