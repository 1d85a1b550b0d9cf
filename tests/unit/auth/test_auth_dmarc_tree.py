"""gateway.auth.dmarc_tree: RFC 9989 §4.10, with the walks its text and its appendix B.4 tell."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.dmarc_tree import SuffixList, TreeWalk, names
from tests.fakes import FakeResolver, Zones


def published(**records: str) -> Zones:
    """Names with _ for the dot."""
    return {f"_dmarc.{name.replace('_', '.')}": {"TXT": [record]} for name, record in records.items()}


@pytest.mark.parametrize(
    ("domain", "asked"),
    [
        (
            "a.b.c.d.e.f.g.h.i.j.mail.example.com",  # §4.10
            "a.b.c.d.e.f.g.h.i.j.mail.example.com g.h.i.j.mail.example.com h.i.j.mail.example.com i.j.mail.example.com "
            "j.mail.example.com mail.example.com example.com com",
        ),
        (
            "mail.a.b.c.d.e.f.g.example.com",  # §5.1.8
            "mail.a.b.c.d.e.f.g.example.com c.d.e.f.g.example.com d.e.f.g.example.com e.f.g.example.com "
            "f.g.example.com g.example.com example.com com",
        ),
        (
            "a.b.c.d.e.f.g.com",  # eight labels: none is left out
            "a.b.c.d.e.f.g.com b.c.d.e.f.g.com c.d.e.f.g.com d.e.f.g.com e.f.g.com f.g.com g.com com",
        ),
        ("b.c.d.e.f.g.com", "b.c.d.e.f.g.com c.d.e.f.g.com d.e.f.g.com e.f.g.com f.g.com g.com com"),
        ("a.mail.example.com", "a.mail.example.com mail.example.com example.com com"),
        ("example.com", "example.com com"),
        ("com", "com"),
    ],
)
async def test_a_walk_asks_these_names(domain: str, asked: str) -> None:
    assert list(names(domain)) == asked.split()
    resolver = FakeResolver()
    await TreeWalk(resolver).policy(domain)
    assert resolver.queries == [(f"_dmarc.{name}", "TXT") for name in asked.split()]


P = "v=DMARC1; p=reject"
BANKS = published(bank_example=f"{P}; psd=y", giant_bank_example=P)  # B.4.3


@pytest.mark.parametrize(
    ("table", "domain", "organisation"),
    [
        # §4.10.2's three
        (published(mail_example_com=P, example_com=P), "a.mail.example.com", "example.com"),
        (published(mail_example_com=f"{P}; psd=n", example_com=P), "a.mail.example.com", "mail.example.com"),
        (published(com=f"{P}; psd=y"), "a.mail.example.com", "example.com"),
        # B.4.1
        (published(example_com=P, signing_example_com=P), "example.com", "example.com"),
        (published(example_com=P, signing_example_com=P), "signing.example.com", "example.com"),
        # B.4.2
        (published(example_com=P, signing_example_com=P), "a.b.c.d.e.f.g.h.i.j.k.example.com", "example.com"),
        # B.4.3
        (BANKS, "giant.bank.example", "giant.bank.example"),
        (BANKS, "mail.giant.bank.example", "giant.bank.example"),
        (BANKS, "mail.mega.bank.example", "mega.bank.example"),
        (BANKS, "bank.example", "bank.example"),  # psd=y where the walk starts does not count
        # no record at all: the domain itself
        ({}, "a.mail.example.com", "a.mail.example.com"),
        # several records are none
        ({"_dmarc.example.com": {"TXT": [P, P]}}, "a.example.com", "a.example.com"),
        # a psd=n at the start ends the walk
        (published(a_example_com=f"{P}; psd=n", example_com=P), "a.example.com", "a.example.com"),
        # psd= counts in a record whose policy does not
        (published(example_com="v=DMARC1; psd=y"), "a.b.example.com", "b.example.com"),
        # a public suffix that does not say psd= (stricter than the RFC), and one that says it is none
        (published(com=P), "a.example.com", "example.com"),
        (published(co_uk=P), "a.example.co.uk", "example.co.uk"),
        (published(co_uk=P, example_co_uk=P), "a.example.co.uk", "example.co.uk"),
        (published(github_io=P), "sara.github.io", "sara.github.io"),
        (published(github_io=P), "github.io", "github.io"),
        (published(com=f"{P}; psd=n"), "a.example.com", "com"),
        # names the walk leaves out: §5.1.8's unreachable zone cut
        (
            published(b_c_d_e_f_g_example_com=f"{P}; psd=n", example_com=P),
            "mail.a.b.c.d.e.f.g.example.com",
            "example.com",
        ),
    ],
)
async def test_organisations(table: Zones, domain: str, organisation: str) -> None:
    assert await TreeWalk(FakeResolver(table)).organisation(domain) == organisation


@pytest.mark.parametrize(
    ("table", "author", "where", "queries"),
    [
        (published(mail_example_com=P, example_com=P), "mail.example.com", "mail.example.com", 1),
        (published(mail_example_com=P, example_com=P), "a.mail.example.com", "example.com", 4),
        (published(mail_example_com=f"{P}; psd=n", example_com=P), "a.mail.example.com", "mail.example.com", 2),
        (published(com=f"{P}; psd=y", example_com=P), "a.example.com", "example.com", 3),
        # the PSD's policy, where the organisation has none; what lies between is nobody's
        (published(com=f"{P}; psd=y", mail_example_com=P), "a.mail.example.com", "com", 4),
        (published(com=f"{P}; psd=y"), "example.com", "com", 2),
        (published(com=P), "a.example.com", "com", 3),
        (BANKS, "mail.mega.bank.example", "bank.example", 3),
        ({}, "example.com", "", 2),
    ],
)
async def test_policies(table: Zones, author: str, where: str, queries: int) -> None:
    resolver = FakeResolver(table)
    found = await TreeWalk(resolver).policy(author)
    assert found.domain == where
    assert (found.published.record is not None) is bool(where)
    assert len(resolver.queries) == queries


async def test_names_are_asked_once() -> None:
    resolver = FakeResolver(published(example_com=P))
    walk = TreeWalk(resolver)
    await walk.policy("a.example.com")
    await walk.organisation("a.example.com")
    await walk.organisation("b.example.com")
    assert [name for name, _ in resolver.queries] == [
        f"_dmarc.{name}" for name in ("a.example.com", "example.com", "com", "b.example.com")
    ]


@pytest.mark.parametrize(
    ("failing", "record_at", "organisation"),
    [
        ("a.mail.example.com", "example.com", None),
        ("mail.example.com", "example.com", None),
        ("example.com", "mail.example.com", None),
        ("com", "example.com", "example.com"),  # a silent top-level domain hides nothing that was found
        ("com", "", None),
    ],
)
@pytest.mark.parametrize("status", ["servfail", "timeout", "refused"])
async def test_failing_look_ups(failing: str, record_at: str, organisation: str | None, status: str) -> None:
    table: dict = {f"_dmarc.{failing}": status}
    if record_at:
        table[f"_dmarc.{record_at}"] = {"TXT": [P]}
    assert await TreeWalk(FakeResolver(table)).organisation("a.mail.example.com") == organisation


async def test_the_public_suffix_list_asks_two_names() -> None:
    resolver = FakeResolver(published(mail_example_co_uk=P, com=P))
    found = await SuffixList(resolver).policy("a.mail.example.co.uk")
    assert found.published.record is None
    assert [name for name, _ in resolver.queries] == ["_dmarc.a.mail.example.co.uk", "_dmarc.example.co.uk"]
    assert await SuffixList(resolver).organisation("a.example.co.uk") == "example.co.uk"
    assert len(resolver.queries) == 2


LABELS = st.lists(st.sampled_from(["a", "b", "example", "co", "uk", "com"]), min_size=1, max_size=11).map(".".join)
RECORDS = st.sampled_from([P, f"{P}; psd=y", f"{P}; psd=n", "v=DMARC1", "v=spf1 -all", "v=DMARC1; p=none; psd=u"])


@given(LABELS, st.dictionaries(LABELS, st.lists(RECORDS, min_size=1, max_size=2) | st.just("timeout"), max_size=5))
async def test_an_organisation_is_the_domain_or_above_it(domain: str, table: dict) -> None:
    zones: Zones = {f"_dmarc.{name}": {"TXT": records} for name, records in table.items()}
    resolver = FakeResolver(zones)
    walk = TreeWalk(resolver)
    organisation = await walk.organisation(domain)
    assert organisation is None or f".{domain}".endswith(f".{organisation}")
    found = await walk.policy(domain)
    assert not found.domain or f".{domain}".endswith(f".{found.domain}")
    assert len(resolver.queries) <= 8
    assert len(set(resolver.queries)) == len(resolver.queries)
