"""Features: the same for the same mail, distinct, described in words, and bounded for any mail."""

from __future__ import annotations

import time

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify import facts
from gateway.classify.features import HALF, SIZE, Features, extract
from gateway.classify.normalise import FIELD_END, normalise
from gateway.classify.words import Words
from gateway.scan.wording import contribution_text
from gateway.types import AuthResult
from tests.builders import mail, message_bytes


def of(body: str = "Hello\r\n", **fields: str) -> Features:
    return extract(mail(message_bytes(body, **fields)))


def described(features: Features) -> set[str]:
    return {contribution_text(*features.describe(number)) for number in range(features.named)}


def test_indices_are_distinct_and_in_their_halves() -> None:
    found = of("one two one two one two, and once more one two\r\n")
    indices = found.vector()[0]
    assert len(set(indices.tolist())) == len(indices) < len(found.indices)
    assert set(indices.tolist()) == set(found.indices.tolist())
    assert 0 <= found.indices[: found.named].min() <= found.indices[: found.named].max() < HALF
    assert HALF <= found.indices[found.named :].min() <= found.indices[found.named :].max() < SIZE


def test_each_half_is_of_unit_length() -> None:
    found = of("some words here\r\n")
    indices, values = found.vector()
    assert np.sum(values[indices < HALF] ** 2) == pytest.approx(1, abs=1e-5)
    assert np.sum(values[indices >= HALF] ** 2) == pytest.approx(1, abs=1e-5)
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
    assert described(of("كتاب علي ۱۲\r\n")) == described(of("کتاب علی 12\r\n"))


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


def test_ablation_switches() -> None:
    content = mail(message_bytes("Words\r\n", Reply_To="x@elsewhere.example"))
    assert described(extract(content, body=False)) == {"answers go to another domain"}
    assert "answers go to another domain" not in described(extract(content, relations=False))
    assert extract(content, body=False, relations=False).vector()[0].size == 0


@pytest.mark.parametrize(
    ("key", "shown"),
    [
        ("length:0", "a text of no characters"),
        ("links:0", "no links"),
        ("links:1", "1 link"),
        ("links:3", "4 to 7 links"),
        ("exclamations:3", "4 or more exclamation marks"),
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
    hostile = mail(message_bytes(unit * 200_000))
    began = time.process_time()
    assert len(extract(hostile).indices) < 15_000
    assert time.process_time() - began < 0.05
