"""auth/author.py: the one author domain, or the problem that is in its way."""

from __future__ import annotations

import pytest

from gateway.auth.author import author_domain, read_author
from gateway.mail import parse

REST = b"To: you@darban.test\r\nSubject: Hello\r\n\r\nFrom: c@bank.example\r\n"


@pytest.mark.parametrize(
    ("head", "domain", "problem"),
    [
        (b"From: a@example.org", "example.org", ""),
        (b"From : a@example.org", "example.org", ""),
        (b"From: Ann <a@EXAMPLE.org.>, b@example.org", "example.org", ""),
        (b"From: Ann(home) <a(x)@example.org(y)>", "example.org", ""),
        (b"From a@bank.example Mon Nov 23\r\nFrom: a@example.org", "example.org", ""),
        (b">From a@bank.example Mon Nov 23\r\nFrom: a@example.org", "example.org", ""),
        (b"This is no field\r\nFrom: a@example.org", "example.org", ""),
        (b"Fromage is no field\r\nFrom: a@example.org", "example.org", ""),
        (b"X-From: b@bank.example\r\nFrom: a@example.org", "example.org", ""),
        (b"X-Note: a", "", "missing"),
        (b"From\r\n : b@bank.example", "", "missing"),
        (b"From: a@example.org\r\nfrom: a@example.org", "", "fields"),
        (b"From: a@example.org\r\nX: a\rFrom: b@bank.example", "", "fields"),
        (b"From: a@example.org\r\n \r\nFrom: b@bank.example", "", "fields"),
        (b"From\r\n : b@bank.example\r\nFrom: a@example.org", "", "hidden"),
        (b"X: a\r\nFrom\0: b@bank.example\r\nFrom: a@example.org", "", "hidden"),
        (b" From: b@bank.example\r\nFrom: a@example.org", "", "hidden"),
        ("\ufeffFrom: b@bank.example\r\nFrom: a@example.org".encode(), "", "hidden"),
        (b"From a@bank.example Mon Nov 23\r\nFrom b@bank.example\r\nFrom: a@example.org", "", "hidden"),
        (b"From: Ann", "", "address"),
        (b"From:", "", "address"),
        (b"From: <a@bank..example>", "", "address"),
        (b"From: a@bank.example@example.org", "", "reading"),
        (b"From: =?utf-8?q?a=40example=2Eorg?=", "", "encoded"),
        (b"From: =?utf-8?b?QW5uIDxhQGV4YW1wbGUub3JnPg==?=\r\n =?utf-8?q?_?=", "", "encoded"),
        (b"From: =?utf-8?q?Ann?=", "", "address"),
        (b"From: =?utf-8?q?a=40bank.example?=@example.org", "", "reading"),
        (b"From: Lee, Ann <a@example.org>", "", "unreadable"),
        (b"From: a@example.org, b@bank.example", "", "domains"),
        (b"From: a@localhost", "", "outside"),
        (b"From: a@[192.0.2.1]", "", "outside"),
    ],
)
def test_author(head: bytes, domain: str, problem: str) -> None:
    message = parse(head + b"\r\n" + REST)
    author = read_author(message)
    assert (author.domain, author.problem) == (domain, problem)
    assert bool(author.words) == bool(problem)
    assert author_domain(message) == (author.domain, author.words)


def test_nothing_at_all() -> None:
    assert read_author(parse(b"")).problem == "missing"
