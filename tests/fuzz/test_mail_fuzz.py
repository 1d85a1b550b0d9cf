"""Invariant: any bytes give a Message, in time linear in their number; an edit of them keeps their body."""

from __future__ import annotations

import random
import tarfile
import time
from collections.abc import Iterator
from pathlib import Path

import pytest

from gateway.mail import parse
from tests.fuzz import targets

SEEDS = [
    b"""From: "Sara Rahimi" <s.rahimi@example.ir>
To: =?utf-8?Q?Lee,_Ann?= <a@example.com>, team: b@example.com;
Subject: =?utf-8?B?2LPZhNin?= =?utf-8?B?2YU=?=
Date: Mon, 21 Sep 2026 14:13:20 +0330
Message-ID: <1@example.ir>
Authentication-Results: mx.example.ir; spf=pass
MIME-Version: 1.0
Content-Type: multipart/mixed; boundary="=_b 1"; x*0*=utf-8''%D8; x*1=b

--=_b 1
Content-Type: multipart/alternative; boundary=b2

--b2
Content-Type: text/plain; charset=windows-1256
Content-Transfer-Encoding: quoted-printable

=D3=E1=C7=E3 http://example.com/a=
?b=3Dc
--b2
Content-Type: text/html; charset=utf-8
Content-Transfer-Encoding: base64

PHAgc3R5bGU9ImNvbG9yOiNmZmYiPmhpZGRlbjwvcD48YSBocmVmPSJodHRwOi8vZXhhbXBsZS5j
b20vIj5zZWVuPC9hPg==
--b2--
--=_b 1
Content-Type: message/rfc822

Subject: inner
Content-Type: multipart/digest; boundary=d

--d

Subject: innermost

begin 644 a.txt
%:&5L;&\\
`
end
--d--
--=_b 1
Content-Disposition: attachment; filename="x (1).pdf"; filename*=utf-8''%D8%B3.exe
Content-Type: application/pdf; name=y.pdf
Content-Transfer-Encoding: x-uuencode

begin 644 y
#8V%T
`
end
--=_b 1--
epilogue
""",
    b"From x@example.com Mon Sep 21 14:13:20 2026\nSubject: html\nContent-Type: text/html\n\n"
    b"<html><head><title>t</title><base href=http://example.com/><style>p{}</style></head><body bgcolor=#fff text=black>"
    b"<table><tr><td style='display:none;font-size:0'>h<td><a href='/x?a&amp;b'>v<img src=cid:1 alt=i></a></table>"
    b"<form action=/f><input></form><noscript><p>n</noscript><!--[if mso]>m<![endif]--><font color=white>w</font></body>",
]  # fmt: skip
DICTIONARY = [
    b"\r", b"\n", b"\r\n\r\n", b"\0", b"\xff", b"=?utf-8?B?", b"?=", b'"', b"(", b"\\", b"<", b">", b";", b":", b"--", b"--b2", b"=\n", b"=",
    b"Content-Type: multipart/mixed; boundary=b2\n\n", b"Content-Type: message/rfc822\n\n", b"<!--", b"</", b"&#x", b"<p style=color:#fff>", b"utf-7",
    b"hz", b"utf-16", b"begin 644 x\n", b"\nend\n", b" " * 50, b"[" * 20, b"://", b"www.", b"\xe2\x80\x8c", b"%D8", b"*0*=", b"@", b"\r\r\n",
]  # fmt: skip
SECONDS = 0.5  # for at most about 100 KB; a usual message takes a thousandth


def mutate(content: bytes, chance: random.Random) -> bytes:
    mail = bytearray(content)
    for _ in range(chance.choice((1, 4, 16, 64))):
        kind, at = chance.randrange(5), chance.randrange(len(mail) + 1)
        if kind == 0 and mail:
            mail[at % len(mail)] = chance.randrange(256)
        elif kind == 1:
            del mail[at : at + chance.randrange(1, 40)]
        elif kind == 2:
            mail[at:at] = chance.choice(DICTIONARY)
        elif kind == 3:
            mail[at:at] = chance.choice(DICTIONARY) * chance.randrange(1, 200)
        else:
            mail[at:at] = mail[at : at + chance.randrange(400)] * chance.randrange(1, 4)
        del mail[100_000:]
    return bytes(mail)


def hold_invariant(content: bytes) -> None:
    started = time.process_time()
    parse(content)
    assert time.process_time() - started < SECONDS
    targets.mail(content)


@pytest.mark.parametrize("seed", range(8))
def test_mutated_messages(seed: int) -> None:
    chance = random.Random(seed)
    for _ in range(60):
        hold_invariant(mutate(chance.choice(SEEDS), chance))


def test_every_beginning_and_end_of_a_message() -> None:
    for content in SEEDS:
        for index in range(0, len(content), 7):
            parse(content[:index])
            parse(content[index:])


def test_random_bytes() -> None:
    chance = random.Random(0)
    for size in (0, 1, 2, 3, 10, 100, 1000, 50_000):
        for _ in range(10):
            hold_invariant(chance.randbytes(size))


def test_words_of_the_dictionary() -> None:
    chance = random.Random(0)
    for _ in range(300):
        hold_invariant(b"".join(chance.choices(DICTIONARY, k=chance.randrange(60))))


@pytest.mark.corpora
@pytest.mark.parametrize(
    ("pack", "number"), [("bounces_sisimai", 283), ("phishing_pot", 200), ("list_usrp_users", 200)]
)
def test_real_messages_and_their_mutations(corpora: Path, pack: str, number: int) -> None:
    chance = random.Random(0)
    count = 0
    for content in messages_of(corpora / f"{pack}.tar.xz", number):
        hold_invariant(content)
        hold_invariant(mutate(content, chance))
        count += 1
    assert count == number


def messages_of(pack: Path, number: int) -> Iterator[bytes]:
    with tarfile.open(pack, "r:xz") as archive:
        for member in archive:
            if not member.isfile() or member.name.endswith(".tsv") or number <= 0:
                continue
            extracted = archive.extractfile(member)
            if extracted is not None:
                number -= 1
                yield extracted.read()
            if number == 0:
                return
