"""Which domains look like protected ones, which do not, and what it costs to ask."""

from __future__ import annotations

import time

import idna
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.lookalike import GENERIC, KINDS, LURES, Lookalikes, are_alike
from gateway.mail.domain import to_a_label

OWN = (
    "example.ir",
    "yourdomain.com",
    "mail.fu-berlin.de",
    "novin-system.co.ir",
    idna.encode("شرکتنمونهی.ایران").decode(),
)
PARTNERS = ("supplier.example", "bergmannwerkeag.de", "swanlake.org")
INDEX = Lookalikes(OWN, PARTNERS, ["gmail.com"])


@pytest.mark.parametrize(
    ("domain", "kind"),
    [
        # twins
        ("examp1e.ir", "twin"),
        ("examp1e.com", "twin"),
        ("yourdornain.com", "twin"),
        ("y0urdomain.com", "twin"),
        ("svvanlake.org", "twin"),
        ("www.examp1e.ir", "twin"),
        ("ехаmple.ir", "twin"),
        ("example\u0301.ir", "twin"),
        ("yοurdomain.com", "twin"),
        ("شرکتنمونهي.ایران", "twin"),
        ("شركتنمونهی.ایران", "twin"),
        ("شرکت‌نمونه‌ی.ایران", "twin"),
        # slips
        ("yourdimain.com", "typo"),
        ("yuordomain.com", "typo"),
        ("yourdoman.com", "typo"),
        ("yourrdomain.com", "typo"),
        ("exampel.ir", "typo"),
        ("examlpe.com", "typo"),
        ("exampIe.ir", "typo"),  # i for l, as names have no case
        ("your-domain.com", "typo"),
        ("novinsystem.co.ir", "typo"),
        ("novin-systen.co.ir", "typo"),
        ("suppliers.example", "typo"),
        ("bergmanwerkegg.de", "typo"),  # two slips in a long name
        # the whole name in another
        ("example.ir.evil.example", "embedded"),
        ("login.example.ir.evil.co.uk", "embedded"),
        ("yourdomain.com-secure.example", "embedded"),
        ("example-ir.com", "embedded"),
        ("exampleir.net", "embedded"),
        ("www-yourdomain-com.example", "embedded"),
        ("supplier-example.com", "embedded"),
        # with words
        ("yourdomain-invoices.com", "lure"),
        ("secure-yourdomain.com", "lure"),
        ("yourdomainbilling.com", "lure"),
        ("loginyourdomain.com", "lure"),
        ("examp1e-login.ir", "lure"),
        ("yourdomain-group.com", "name"),
        # other endings
        ("example.com", "name"),
        ("yourdomain.co.uk", "name"),
        ("example.xn--mgba3a4f16a", "name"),
    ],
)
def test_likeness(domain: str, kind: str):
    found = INDEX.find(to_a_label(domain))
    assert found is not None
    assert found.kind == kind
    assert found.domain in found.words
    assert ("your domain" in found.words) is found.is_own


@pytest.mark.parametrize(
    "domain",
    [
        *OWN,
        *PARTNERS,
        "fu-berlin.de",
        "www.example.ir",
        "gmail.com",
        "tu-berlin.de",
        "sample.ir",
        "simple.ir",
        "yours.com",
        "domain.com",
        "applied.example",
        "mountain.com",
        "cisco.com.example",
        "yourdomain-com.mail.protection.outlook.com",
        "example-ir.translate.goog",
        "",
        "[192.0.2.1]",
        "com",
        "localhost",
        "xn--a",
        "..",
    ],
)
def test_nothing(domain: str):
    assert INDEX.find(domain) is None


@pytest.mark.parametrize(
    ("own", "domain"),
    [
        ("pars.ir", "pers.ir"),  # four letters
        ("iran.ir", "iran-air.com"),  # a word of many names
        ("parsian.ir", "persian.ir"),
        ("global.ir", "global.com"),
        ("apple.example", "ample.example"),  # another word
        ("bank.ir", "rank.ir"),
        ("tejarat.ir", "sejarat.ir"),  # a first letter that is not beside
        ("cnsnews.com", "abcnews.com"),
        ("washington.edu", "washingtonpost.com"),
        ("cisco.com", "cisco.com.example"),
    ],
)
def test_what_is_only_similar(own: str, domain: str):
    assert Lookalikes([own]).find(domain) is None


def test_common_words_are_protected_against_twins_alone():
    index = Lookalikes(["global.ir"])
    assert index.find("gl0bal.ir") is not None
    assert all(index.find(domain) is None for domain in ("gloabl.ir", "global-login.ir", "global.com"))
    assert GENERIC & LURES  # "support" is both: a name nobody owns, and a word that lures


@pytest.mark.parametrize(
    ("own", "domain", "is_so"),
    [
        ("darban.ir", "دربان.ایران", True),
        ("دربان.ایران", "darban.ir", True),
        ("novin-sanat.ir", "نوین‌صنعت.ایران", True),
        ("darban.ir", "دربند.ایران", False),
        ("darban.ir", "دربانان.ایران", False),
        ("tehran.ir", "تهران.ایران", False),  # a common word
        ("دربان.ایران", "dorban.example", True),  # short vowels are not written
        ("darban.ir", "dorban.example", False),  # in one script they are
    ],
)
def test_our_name_in_the_other_letters(own: str, domain: str, is_so: bool):
    found = Lookalikes([to_a_label(own)]).find(to_a_label(domain))
    assert (found is not None and found.kind == "name") is is_so


def test_an_index_of_nothing_finds_nothing():
    index = Lookalikes([])
    assert not index
    assert index.find("example.org") is None
    assert not Lookalikes(["com"])


def test_our_own_come_before_partners():
    index = Lookalikes(["exampler.ir"], ["exampled.ir"])
    found = index.find("examplee.ir")  # near both
    assert found is not None
    assert found.is_own
    assert index.find("exampler.ir") is None
    assert index.find("exampled.ir") is None


@pytest.mark.parametrize(
    ("one", "other", "is_so"),
    [
        ("partnner.com", "partner.com", True),
        ("mail.partnner.com", "partner.com", True),
        ("paypa1.com", "paypal.com", True),
        ("partner.com", "partner.com", False),
        ("a.partner.com", "b.partner.com", False),
        ("partner.org", "partner.com", False),  # the same name: many have both
        ("other.com", "partner.com", False),
        ("abc.com", "abd.com", False),
        ("", "partner.com", False),
        ("[192.0.2.1]", "partner.com", False),
    ],
)
def test_pairs(one: str, other: str, is_so: bool):
    assert bool(are_alike(one, other)) is is_so


_NAME = st.text(st.sampled_from("abcdeilmnorstw015-"), min_size=1, max_size=24).map(lambda name: name.strip("-") or "a")
_DOMAIN = st.builds("{}.{}".format, _NAME, st.sampled_from(["com", "ir", "co.ir", "example", "co.uk"]))
_LABEL = st.text(st.sampled_from("abcdeilmnorstуοсایيکك0-"), max_size=20)


@given(st.lists(_DOMAIN, max_size=6), st.lists(_DOMAIN, max_size=6), _NAME)
def test_a_protected_domain_and_what_is_below_it_are_never_a_likeness(own: list[str], partners: list[str], label: str):
    index = Lookalikes(own, partners)
    for domain in (*own, *partners):
        assert index.find(domain) is None
        assert index.find(f"{label}.{domain}") is None


@given(st.lists(_DOMAIN, min_size=1, max_size=4), st.text(max_size=60) | st.lists(_LABEL, max_size=6).map(".".join))
def test_any_text_is_looked_up(own: list[str], text: str):
    for domain in (text, to_a_label(text)):
        found = Lookalikes(own).find(domain)
        assert found is None or (found.kind in KINDS and len(found.words) < 500)


@given(_DOMAIN, st.integers(0, 30), st.sampled_from("abcdeilmnorst"))
def test_the_keys_find_every_slip_that_the_rules_count(own: str, place: int, letter: str):
    """The index finds what a comparison with each protected domain would find."""
    label, _, suffix = own.partition(".")
    place %= len(label) + 1
    for slipped in (label[:place] + letter + label[place:], label[:place] + letter + label[place + 1 :]):
        domain = f"{slipped}.{suffix}"
        if are_alike(domain, own) and label not in GENERIC and len(label) >= 4:
            assert Lookalikes([own]).find(domain) is not None


def test_what_is_remembered_is_bounded():
    index = Lookalikes(["example.ir"])
    for number in range(5000):
        index.find(f"host{number}.example.org")
    assert index.find.cache_info().currsize <= 4096


@pytest.mark.parametrize(
    "domain",
    [".".join(["a" * 63] * 3 + ["com"]), "-".join("a" * 31) + ".com", ".".join("a" * 120), "example.ir." * 20 + "com"],
    ids=["long labels", "hyphens", "labels", "our name again and again"],
)
def test_a_hostile_name_costs_little(domain: str):
    index = Lookalikes(
        [f"ourcompany{number}longname.ir" for number in range(5)], [f"partner{n}.com" for n in range(50)]
    )
    started = time.process_time()
    for number in range(20):
        index.find(f"{number}.{domain}")
    assert (time.process_time() - started) / 20 < 0.005
