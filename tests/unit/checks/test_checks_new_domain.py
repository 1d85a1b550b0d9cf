"""The check that asks the memory of domains: what it asks about, when it does not ask, and what it says."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks.new_domain import NewDomain, linked_domains
from gateway.mail import parse
from gateway.types import Finding
from tests.builders import AT, mail, message_bytes
from tests.fakes import FakeResolver


class Memory:
    """ports.DomainMemory that knows some domains; None: it cannot tell."""

    def __init__(self, *known: str, can_tell: bool = True) -> None:
        self.known = set(known)
        self.can_tell = can_tell
        self.asked: list[list[str]] = []

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
        self.asked.append([*domains])
        return frozenset(domains) - self.known if self.can_tell else None


async def look(check: NewDomain, body: str, at: float = AT, **fields: str) -> list[Finding]:
    seen = mail(message_bytes(body, **fields), received_at=at)
    return [one for one in await check.check(seen, FakeResolver({})) if isinstance(one, Finding)]


HTML = {"Content-Type": "text/html"}


async def test_a_new_domain_is_named() -> None:
    memory = Memory("example.org", "old.example")
    found = await look(
        NewDomain(memory), "http://www.paypa1.example/x http://a.old.example/ http://paypa1.example/\r\n"
    )
    assert found == [
        Finding("URL_DOMAIN_NEW", ("link to paypa1.example, a domain first seen here less than a day ago",))
    ]
    assert memory.asked == [["paypa1.example", "old.example", "example.org"]]


async def test_the_authors_domain_is_remembered_and_not_told() -> None:
    memory = Memory("old.example")
    assert await look(NewDomain(memory), "http://old.example/\r\n", From="a@mail.stranger.example") == []
    assert memory.asked == [["old.example", "stranger.example"]]
    (told,) = await look(NewDomain(Memory()), "http://stranger.example/\r\n", From="a@stranger.example")
    assert len(told.evidence) == 1


@pytest.mark.parametrize(
    "body",
    [
        "no link\r\n",
        "http://192.0.2.1/ http://[2001:db8::1]/ http://localhost/ http://3232235777/\r\n",
        "http://www.google.com/ http://mail.darban.test/ http://shop.ours.example/\r\n",
        "http://a..b/ http://-/ mailto:x@new.example\r\n",
    ],
    ids=["none", "addresses", "known", "no names"],
)
async def test_nothing_is_asked(body: str) -> None:
    memory = Memory()
    assert await look(NewDomain(memory, ("ours.example",)), body) == []
    assert memory.asked == []


async def test_without_a_memory_or_an_answer_nothing_is_said() -> None:
    assert await look(NewDomain(), "http://new.example/\r\n") == []
    memory = Memory(can_tell=False)
    check = NewDomain(memory)
    for _ in range(3):  # a flood does not ask each time
        assert await look(check, "http://new.example/\r\n") == []
    assert await look(check, "http://new.example/ http://other.example/\r\n") == []
    assert [len(asked) for asked in memory.asked] == [2, 3]
    memory.can_tell = True
    assert len(await look(check, "http://new.example/\r\n", AT + 10)) == 1, "it is not taken for old"


async def test_what_is_old_is_asked_once_a_day_and_what_is_new_every_ten_seconds() -> None:
    memory = Memory("old.example", "example.org")
    check = NewDomain(memory)
    for _ in range(3):
        assert await look(check, "http://old.example/\r\n") == []
    assert len(memory.asked) == 1
    for number in range(9):
        assert len(await look(check, "http://old.example/ http://new.example/\r\n", AT + number)) == 1
    assert memory.asked[1:] == [["new.example"]]
    memory.known.add("new.example")
    assert await look(check, "http://new.example/\r\n", AT + 10) == []
    await look(check, "http://old.example/\r\n", AT + 86_400)
    assert memory.asked[2:] == [["new.example"], ["old.example", "example.org"]]


async def test_what_is_believed_has_an_end(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("gateway.checks.new_domain._ANSWERS_MAX", 4)
    check = NewDomain(Memory(*(f"d{number}.example" for number in range(25))))
    for number in range(50):
        await look(check, f"http://d{number}.example/\r\n")
    assert max(len(check._old.at(AT)), len(check._new.at(AT))) <= 6
    check = NewDomain(Memory(can_tell=False))
    for number in range(50):
        await look(check, f"http://d{number}.example/\r\n")
    assert len(check._untold.at(AT)) <= 6


async def test_messages_side_by_side_hear_the_same() -> None:
    class Slow(Memory):
        async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
            await asyncio.sleep(0.01)
            return await super().lookup_new(domains)

    check = NewDomain(Slow("old.example", "example.org"))
    bodies = ["http://old.example/ http://new.example/\r\n", "http://new.example/\r\n"] * 5
    found = await asyncio.gather(*(look(check, one, AT + 10 * number) for number, one in enumerate(bodies)))
    assert found == [found[0]] * 10
    assert len(found[0]) == 1


async def test_of_many_domains_three_are_shown_and_eight_asked_about() -> None:
    memory = Memory()
    links = " ".join(f"http://d{number}.example/" for number in range(40))
    (found,) = await look(NewDomain(memory), f"{links}\r\n")
    ((*linked, author),) = memory.asked
    assert author == "example.org"
    assert linked == [f"d{number}.example" for number in (0, 1, 2, 3, 37, 38, 39)]
    assert [line.split(",")[0] for line in found.evidence] == [f"link to d{number}.example" for number in range(3)]


def test_what_can_be_followed_comes_before_what_is_loaded() -> None:
    pictures = "".join(f'<img src="http://p{number}.example/">' for number in range(9))
    page = parse(message_bytes(f'{pictures}<a href="http://goal.example/">here</a>', **HTML))
    assert linked_domains(page) == ["goal.example", *(f"p{number}.example" for number in range(6))]


def test_hosted_pages_have_owners_of_their_own() -> None:
    page = parse(message_bytes("http://someone.github.io/ http://a.b.co.uk/\r\n"))
    assert linked_domains(page) == ["someone.github.io", "b.co.uk"]


@given(st.lists(st.text(max_size=30), max_size=20))
def test_any_hosts_give_few_names_that_can_be_sent(hosts: list[str]) -> None:
    body = "".join(f'<a href="http://{host}/">x</a> http://{host}.example/ ' for host in hosts)
    found = linked_domains(parse(message_bytes(body.encode("utf-8", "replace").decode(), **HTML)))
    assert len(found) == len({*found}) <= 7
    assert all(one.isascii() and one == one.lower() and 3 < len(one) <= 253 and "." in one for one in found)
