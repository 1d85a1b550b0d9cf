"""The checks that know who is who: wiring from the configuration, hostile mail, cost, and what the scores add up to."""

from __future__ import annotations

import re
import time
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway import rules
from gateway.app.pipeline import make_identity
from gateway.auth.identity import Person
from gateway.auth.identity import make_identity as know
from gateway.checks import CHECKS, FINDINGS, make_checks
from gateway.checks.domain_list import FREEMAIL, SHORTENERS, WRAPPERS
from gateway.config.settings import Settings
from gateway.mail.domain import to_a_label
from gateway.types import AuthResult, Finding, MailObject
from tests.builders import mail, message_bytes
from tests.compiled_rules import COMPILED

ROOT = Path(__file__).parents[3]
WHO = know(
    own=["darban.test", "example.ir", "yourdomain.com"],
    partners=["supplier.example", *[f"partner{number}works.com" for number in range(50)]],
    freemail=FREEMAIL,
    shorteners=SHORTENERS,
    people=[Person("Sara Rahimi", "s.rahimi@example.ir", ("sara.rahimi@gmail.com",), "finance")],
)
KNOWING = make_checks(WHO)
PROVEN = tuple(
    AuthResult(method, "pass", "gmail.com", is_aligned=method != "dmarc")  # type: ignore[arg-type]
    for method in ("spf", "dkim", "dmarc")
)


def _findings(one: MailObject, checks=KNOWING) -> list[Finding]:
    return [finding for check in checks for finding in check.check(one)]


def test_the_checks_are_the_same_whoever_is_known():
    assert [check.name for check in KNOWING] == [check.name for check in CHECKS]
    assert [check.findings for check in KNOWING] == [check.findings for check in CHECKS]


def test_what_the_configuration_names_reaches_the_checks():
    settings = Settings.model_validate(
        {
            "domain": [{"name": "example.ir", "next_hop": "smtp://127.0.0.1:2526"}],
            "identity": {
                "partners": ["supplier.example"],
                "freemail": ["post.example"],
                "shorteners": ["s.example"],
                "person": [{"name": "Sara Rahimi", "address": "sara@example.ir", "also": ["sara@gmail.com"]}],
            },
        }
    )
    checks = make_checks(make_identity(settings))

    def names(**fields: str) -> set[str]:
        body = fields.pop("body", "Hello\r\n")
        return {finding.name for finding in _findings(mail(message_bytes(body, **fields)), checks)}

    assert "LOOKALIKE_TYPO" in names(From="a@exampel.ir")
    assert "LOOKALIKE_TYPO" in names(From="a@suppllier.example")
    assert "PERSON_NAME_FREEMAIL" in names(From="Sara Rahimi <x@post.example>")
    assert not {name for name in names(From="Sara Rahimi <sara@gmail.com>") if name.startswith("PERSON_")}
    assert "REPLY_TO_FREEMAIL" in names(Reply_To="x@post.example")
    assert "URL_SHORTENER" in names(body="https://s.example/1 and more words than one\r\n")


def test_the_page_names_every_finding_and_no_other():
    named = set(re.findall(r"`([A-Z]+(?:_[A-Z]+)+)`", (ROOT / "docs" / "identity.md").read_text("utf-8")))
    own = {
        name for check in CHECKS if check.name in ("lookalike", "person_name", "own_domain") for name in check.findings
    }
    assert own <= named <= FINDINGS


def test_listed_wrappers_are_organisational_domains():
    assert all(to_a_label(domain) == domain for domain in WRAPPERS)


# --- what the scores add up to: a doubt alone never holds, an imposture does ----------------------------------------------

HOLD = 8.0
_TRANSFER = "Are you available? Process an urgent bank transfer for me, I cannot talk now.\r\n"
_FA = "سلام، لطفا همین الان مبلغ را به این شماره حساب جدید واریز کنید و محرمانه بماند.\r\n"
_HTML = {"Content_Type": "text/html; charset=utf-8"}
_UTF8 = {"Content_Type": "text/plain; charset=utf-8"}


@pytest.fixture(scope="module")
def ruleset():
    return rules.load([ROOT / "rules"], COMPILED)


def _score(ruleset, one: MailObject) -> float:
    return sum(hit.score for hit in ruleset.match(one, _findings(one)))


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ("Hello\r\n", {"From": "Sara Rahimi <someone@gmail.com>"}),
        ("Hello\r\n", {"From": "Sara Rahimi <sara@university.example>"}),
        ("Hello\r\n", {"From": "سارا رحیمی <someone@gmail.com>"}),
        ("Hello\r\n", {"From": "sara.rahimi2@gmail.com"}),
        ("Hello\r\n", {"From": "Office <office@exampel.ir>"}),
        ("Hello\r\n", {"From": "Office <office@example-ir.com>"}),
        ("Hello\r\n", {"From": "Office <office@yourdomain-login.com>"}),
        ("Hello\r\n", {"From": "Office <office@example.com>"}),
        ("Hello\r\n", {"From": "Office <office@firm.example>", "Reply_To": "office@exampel.ir"}),
        ("Hello\r\n", {"From": '"s.rahimi@example.ir" <x@firm.example>'}),
        ("See https://exampel.ir/rooms for the rooms\r\n", {"From": "Office <office@firm.example>"}),
        (_TRANSFER, {"From": "Nima Karimi <nima@firm.example>"}),
    ],
)
def test_a_doubt_alone_holds_nothing(ruleset, body: str, fields: dict[str, str]):
    one = mail(message_bytes(body, **(_UTF8 | fields)), *PROVEN)
    assert 0 < _score(ruleset, one) + 0.6 < HOLD


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        (_TRANSFER, {"From": "Sara Rahimi <ceo.office77@gmail.com>"}),
        (_FA, {"From": "دکتر سارا رحیمی <modir.1181@gmail.com>"}),
        (_FA, {"From": "Sara Rahimi <modir.1181@gmail.com>"}),
        (_TRANSFER, {"From": "Sara Rahimi <office@firm.example>", "Reply_To": "Sara Rahimi <ceo77@gmail.com>"}),
        ("Hello\r\n", {"From": "Sara Rahimi <s.rahimi@exampel.ir>"}),
        ("Hello\r\n", {"From": "Sаrа Rahimi <office@gmail.com>"}),  # Cyrillic letters
        ("Hello\r\n", {"From": "Office <office@examp1e.ir>"}),
        ("Hello\r\n", {"From": "Office <office@ехаmple.ir>"}),
        ("Hello\r\n", {"From": "Office <office@yourdornain.com>"}),
        ("Please note our new bank details\r\n", {"From": "Supplier <billing@supplierr.example>"}),
        (
            "Please note our new bank details\r\n",
            {"From": "Supplier <billing@supplier.example>", "Reply_To": "billing@supplierr.example"},
        ),
        (_FA, {"From": "Office <office@yourdomain-invoices.com>"}),
        ('<a href="http://example.ir.evil.example/">www.example.ir</a>', {"From": "a@firm.example", **_HTML}),
        ('<a href="http://exampel.ir/in">https://example.ir/in</a>', {"From": "a@firm.example", **_HTML}),
    ],
)
def test_an_imposture_is_held_however_well_it_authenticates(ruleset, body: str, fields: dict[str, str]):
    one = mail(message_bytes(body, **(_UTF8 | fields)), *PROVEN)
    assert _score(ruleset, one) >= HOLD


# --- hostile mail, and the cost ----------------------------------------------------------------------------------------------

_PIECES = st.sampled_from(
    [
        "Sara Rahimi",
        "سارا رحیمی",
        "examp1e.ir",
        "xn--",
        "example.ir",
        "@",
        "<",
        ">",
        '"',
        "=?utf-8?B?",
        "?=",
        "\u202e",
        "\u200b",
    ]
)
_TEXT = st.lists(_PIECES | st.text(max_size=12), max_size=8).map("".join)


@given(_TEXT, _TEXT, _TEXT, _TEXT)
def test_any_fields_are_looked_at(author: str, sender: str, reply_to: str, text: str):
    fields = {"From": author, "Sender": sender, "Reply-To": reply_to, "Cc": author, "Content-Type": "text/html"}
    head = "".join(f"{name}: {value}\r\n" for name, value in fields.items())
    content = f"{head}\r\n<a href='http://{text}'>{author}</a>".encode("utf-8", "replace")
    for finding in _findings(mail(content)):
        " ".join(finding.evidence).encode()
        assert len(" ".join(finding.evidence)) <= 1000, finding.name


@pytest.mark.parametrize(
    "content",
    [
        message_bytes("".join(f"http://h{n}.yourdomian{n}.com/ " for n in range(2000))),
        message_bytes(From=", ".join(f"Sara Rahimi {n} <a{n}@exampel{n}.ir>" for n in range(1000))),
        message_bytes(Cc=", ".join(f"a@exampel{n}.ir" for n in range(1000))),
        message_bytes(From=f'"{"Sara Rahimi, " * 4000}" <a@gmail.com>'),
        message_bytes(From=f"{'سارا رحیمی (' * 4000} <a@gmail.com>"),
        message_bytes(
            "".join(f'<a href="http://h{n}.example">www.example.ir {"a." * 50}</a>' for n in range(500)),
            Content_Type="text/html",
        ),
    ],
    ids=["links", "authors", "copies", "long name", "long Persian name", "link texts"],
)
def test_floods_cost_little(content: bytes):
    one = mail(content)
    checks = [check for check in make_checks(WHO) if check.name in ("author", "lookalike", "person_name", "own_domain")]
    started = time.process_time()
    _findings(one, checks)
    assert time.process_time() - started < 0.05
