"""Features: the same for the same mail, distinct, described in words, and bounded for any mail."""

from __future__ import annotations

import time
from dataclasses import replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.checks import CHECKS, FINDINGS, observe
from gateway.classify import facts
from gateway.classify.features import PARTS, SIZE, STARTS, Features, extract
from gateway.classify.normalise import FIELD_END, normalise
from gateway.classify.words import Words
from gateway.scan.wording import contribution_text
from gateway.types import AuthResult, Finding, MailObject
from tests.builders import mail, message_bytes


def of(body: str = "Hello\r\n", **fields: str) -> Features:
    return extract(mail(message_bytes(body, **fields)))


def described(features: Features) -> set[str]:
    return {contribution_text(*features.describe(number)) for number in range(features.named)}


def test_indices_are_distinct_and_in_their_parts() -> None:
    found = of("one two one two one two, and once more one two\r\n")
    indices = found.vector()[0]
    assert len(set(indices.tolist())) == len(indices) < len(found.indices)
    assert set(indices.tolist()) == set(found.indices.tolist())
    assert found.bounds[0] == STARTS[0] == 0
    assert (found.bounds[-1], STARTS[-1]) == (len(found.indices), SIZE)
    for part, (where, _) in enumerate(found.by_part()):
        inside = found.indices[where]
        assert STARTS[part] <= inside.min() <= inside.max() < STARTS[part + 1]


@pytest.mark.parametrize("body", ["some words here\r\n", "one one one one " * 90])
def test_each_part_is_of_unit_length(body: str) -> None:
    indices, values = of(body).vector()
    lengths = np.bincount(np.digitize(indices, STARTS[1:-1]), values**2, minlength=PARTS)
    assert lengths.tolist() == pytest.approx([1] * PARTS, abs=1e-5)
    assert len(indices) == len(values)


def test_repetition_says_nothing_more() -> None:
    once, often = described(of("buy it now buy it\r\n")), described(of("buy it now " * 50 + "buy it\r\n"))
    assert {text for text in once ^ often if not text.startswith("a text of")} == set()


def test_described_in_words() -> None:
    assert described(of("Cheap pills!\r\n", Subject="For you", From='"Dr. Ali" <ali@example.org>')) >= {
        "word “cheap”",
        "words “cheap pills”",
        "“for” in the subject",
        "“dr” in the sender's name",
        "1 exclamation mark",
    }


def test_persian_is_described_as_it_is_read() -> None:
    assert described(of("خريد ويژه می‌شود\r\n", Subject="سلام")) >= {
        "word “خرید”",
        "word “میشود”",
        "“سلام” in the subject",
    }


def test_spelling_does_not_matter() -> None:
    one, other = of("كتاب علي ۱۲\r\n", Subject="٤٧ روز"), of("کتاب علی 12\r\n", Subject="47 روز")
    assert described(one) == described(other)
    assert one.vector()[0].tolist() == other.vector()[0].tolist()


def test_long_words_are_shown_in_part() -> None:
    assert f"word “{'x' * 32}…”" in described(of("x" * 100 + "\r\n"))


def test_helo_besides_mail_from_is_no_feature() -> None:
    further = AuthResult("spf", "fail", "h.example", identity="helo")
    assert "SPF fail" not in described(extract(mail(message_bytes(), AuthResult("spf", "pass"), further)))
    assert "SPF fail" in described(extract(mail(message_bytes(), further, reverse_path="")))  # the main one there


def test_links_and_relations() -> None:
    body = "see http://shop.bücher.example/a and http://192.0.2.7/ now\r\n"
    content = message_bytes(body, Reply_To="x@elsewhere.example")
    found = described(extract(mail(content, AuthResult("spf", "fail"), AuthResult("dmarc", "none"))))
    assert found >= {
        "link to bücher.example",
        "link into .example",
        "link to a bare address",
        "answers go to another domain",
        "SPF fail",
        "2 to 3 links",
    }
    assert "DMARC none" not in found


@pytest.mark.parametrize(
    ("body", "expected", "other"),
    [
        ("http://www.example.org/a http://shop.example/", "own_links", "foreign_links"),
        ("http://shop.example/ http://www.shop.example/", "foreign_links", "own_links"),
        ("no link", "links:0", "foreign_links"),
    ],
)
def test_whether_links_lead_home(body: str, expected: str, other: str) -> None:
    found = of(f"{body}\r\n").facts
    assert expected in found
    assert other not in found


@pytest.mark.parametrize(
    ("name", "words"), [("", 0), ("Sara", 1), ("Sara Lund", 2), ("سارا  لوند", 2), ("a b c d e f", 4)]
)
def test_words_of_the_senders_name(name: str, words: int) -> None:
    assert f"name_words:{words}" in of(From=f'"{name}" <a@example.org>').facts


def test_how_texts_are_encoded() -> None:
    assert "encoding:base64" in of("SGVsbG8=\r\n", Content_Transfer_Encoding="Base64").facts
    assert "encoding:7bit" in of().facts
    unheard = of(Content_Transfer_Encoding="x-\x01\u202e").facts
    assert not any(key.startswith("encoding") for key in unheard), "nothing that a stranger may put into an explanation"


HTML = 'Content-Type: text/html; charset=utf-8\r\n\r\n<form action="https://x.example/"><input>' + (
    "<p style='display:none'>" + "hidden words " * 20 + "</p></form>"
)
ATTACHED = (
    "MIME-Version: 1.0\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\nContent-Type: application/zip; "
    'name="a.ZIP"\r\n\r\nPK\r\n--b--\r\n'
)


@pytest.mark.parametrize(
    ("content", "expected"),
    [
        (HTML, {"<form> in the HTML", "<input> in the HTML", "text hidden from the reader"}),
        (ATTACHED, {"an attachment of type application/zip", "an attachment .zip"}),
        ("Subject: BUY IT NOW\r\n\r\n$$ vi\u200bagra pаypаl", {"a subject in capitals", "2 to 3 dollar signs"}),
        (
            "\r\nvi\u200bagra pаypаl",
            {"invisible characters inside words", "foreign look-alikes of letters inside words"},
        ),
    ],
)
def test_structure(content: str, expected: set[str]) -> None:
    assert described(extract(mail(content.encode()))) >= expected


def test_what_tells_the_corpus_is_left_out() -> None:
    plain = message_bytes("The same words\r\n")
    listed = message_bytes(
        "The same words\r\n",
        To="list@lists.example",
        List_Id="<list.example>",
        Precedence="bulk",
        Date="Mon, 4 Feb 2002 10:00:00 +0000",
        X_Mailer="Mailer 5",
        In_Reply_To="<x@y.example>",
        DKIM_Signature="v=1; d=lists.example",
    )
    assert extract(mail(plain)).indices.tolist() == extract(mail(listed)).indices.tolist()


def keys(seen: MailObject, **switches: bool) -> list[str]:
    return [key for key in extract(seen, **switches).facts if key.startswith("finding:")]


def seen_by_checks(*names: str) -> MailObject:
    return replace(mail(message_bytes()), findings=tuple(map(Finding, names)))


@pytest.mark.parametrize("name", sorted(FINDINGS))
def test_findings_are_features_by_these_sets_alone(name: str) -> None:
    seen = seen_by_checks(name)
    is_of_body, is_of_relations = name in facts.OF_BODY, name in facts.OF_RELATIONS
    assert len(keys(seen)) == 3 * (is_of_body or is_of_relations)
    assert bool(keys(seen, relations=False)) is is_of_body
    assert bool(keys(seen, body=False)) is is_of_relations
    assert keys(seen, body=False, relations=False) == []
    assert len({facts.describe(key) for key in keys(seen)}) <= 1, "its voices are told as one"


def test_the_sets_name_findings_of_checks_that_know_nobody() -> None:
    assert facts.OF_BODY | facts.OF_RELATIONS <= {name for check in CHECKS for name in check.findings} <= FINDINGS
    assert not facts.OF_BODY & facts.OF_RELATIONS


def test_a_finding_speaks_with_three_voices_however_often_it_is_found() -> None:
    without, once, twice = (extract(seen_by_checks(*["HTML_FORM"] * times)) for times in range(3))
    gained = {*once.vector()[0].tolist()} - {*without.vector()[0].tolist()}
    assert len(gained) == 3
    assert max(gained) < STARTS[1]
    assert once.vector()[0].tolist() == twice.vector()[0].tolist()
    assert extract(seen_by_checks("HELO_UNRESOLVED", "UNHEARD_OF")).vector()[0].tolist() == without.vector()[0].tolist()


@pytest.mark.parametrize(
    ("content", "name", "told"),
    [
        (b"Subject: BUY IT ALL NOW\r\n\r\nx\r\n", "SUBJECT_ALL_CAPS", "a subject in capitals"),
        (message_bytes("http://192.0.2.7/\r\n"), "URL_IP_HOST", "link to a bare address"),
        (message_bytes(To="undisclosed-recipients:;"), "TO_UNDISCLOSED", "undisclosed recipients"),
    ],
)
def test_what_checks_see_outside_the_pipeline(content: bytes, name: str, told: str) -> None:
    seen = replace(mail(content), findings=())
    assert keys(seen) == []
    assert [key for key in keys(observe(seen)) if name in key] == [f"finding:{name}{'~' * voice}" for voice in range(3)]
    assert told in described(extract(observe(seen)))
    assert replace(observe(seen), findings=()) == seen


def test_ablation_switches() -> None:
    content = mail(message_bytes("Words\r\n", Reply_To="x@elsewhere.example"))
    assert described(extract(content, body=False)) == {"answers go to another domain", "the sender's name is one word"}
    assert "answers go to another domain" not in described(extract(content, relations=False))
    assert extract(content, body=False, relations=False).vector()[0].size == 0
    linked = mail(message_bytes("http://shop.example/\r\n"))
    assert "links to other domains only" in described(extract(linked))
    assert "links to other domains only" not in described(extract(linked, relations=False))


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("length:0", "a text of no characters"),
        ("links:0", "no links"),
        ("links:1", "1 link"),
        ("links:3", "4 to 7 links"),
        ("exclamations:3", "4 or more exclamation marks"),
        ("name_words:3", "the sender's name has 3 words"),
        ("name_words:4", "the sender's name has 4 or more words"),
        ("encoding:base64", "text sent as base64"),
        ("own_links", "links to the author's own domain"),
        ("foreign_links", "links to other domains only"),
        ("finding:HTML_FORM", "<form> in the HTML"),
        ("finding:HTML_ONLY~~", "HTML without a plain text beside it"),
        ("tld:xn--mgba3a4f16a", "link into .ایران"),
        ("hidden", "text hidden from the reader"),
    ],
)
def test_facts_are_described(key: str, shown: str) -> None:
    assert contribution_text(*facts.describe(key)) == shown


@pytest.mark.parametrize(
    "text", ["", "a", "ab", "\x1e", "\x1e\x1e", "\x1e\x1e\x1e\x1eword", f"n{FIELD_END}s{FIELD_END}t", f"n {FIELD_END}"]
)
def test_every_hash_is_described(text: str) -> None:
    words = Words(normalise(text))
    shown = [words.describe(number) for number in range(sum(map(len, words.hashes())))]
    assert all(shown)
    with pytest.raises(IndexError):
        words.describe(len(shown))


def test_a_hash_is_that_of_the_word_alone() -> None:
    """Wherever it stands."""
    alone = Words(normalise("word")).hashes()[0][0]
    assert Words(normalise("another text with this word")).hashes()[0][4] == alone
    assert Words(normalise("nicht für word")).hashes()[0][2] == alone  # not ASCII: wider codes
    assert Words(normalise("wordy")).hashes()[0][0] != alone
    assert Words(normalise("drow")).hashes()[0][0] != alone


@given(st.binary(max_size=400))
def test_total(content: bytes) -> None:
    found = extract(mail(content))
    indices = found.vector()[0].tolist()
    assert len(set(indices)) == len(indices) <= len(found.indices) < 1 << 15
    assert all(found.describe(number) for number in range(found.named))


@pytest.mark.parametrize(
    "unit",
    ["a b ", "!", "@", "a@", "://", "http://x.example/ ", "www.", "a@b.example ", "а a", "ﷺ", "ﬁ ", "\u0301\u0323"],
)
def test_bounded(unit: str) -> None:
    """Whatever is repeated: few features, and far from a second (about 1 ms each)."""
    hostile = mail(message_bytes(unit * 200_000, Subject=unit * 400, From=f'"{unit * 90}" <a@example.org>'))
    began = time.process_time()
    assert len(extract(hostile).indices) < 22_500
    assert time.process_time() - began < 0.05
