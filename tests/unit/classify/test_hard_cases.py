"""The hard cases through the real pipeline: the rules and the model that ship, no network.

What is wrong today stands in one of two tables, with the whole score it does not cross. A case that is judged right must
leave its table, so that they only shrink. After new rules, scores or a new model,
`python -m tests.unit.classify.test_hard_cases` prints both tables anew.
"""

from __future__ import annotations

import asyncio
import math
from collections import Counter
from functools import cache
from pathlib import Path

import pytest

from gateway.app.pipeline import load_pipeline
from gateway.classify.evaluate.cases import Case, load_cases
from gateway.config.settings import Settings
from gateway.mail import parse
from gateway.scan.pipeline import Pipeline
from gateway.types import DomainPolicy, Verdict
from tests.compiled_rules import COMPILED

CASES = load_cases(Path(__file__).parents[2] / "cases" / "hard")
TAG_AT = DomainPolicy("darban.test", "").tag_at

_SLACK = 0.25  # between today's score and a limit in the tables

# spam that is not tagged: at least this score
MISSED: dict[str, int] = {
    "advance_fee/loan_offer_pdf": -1,
    "arabic_spam/bank_card": 3,
    "arabic_spam/inheritance": 2,
    "delivery_fraud/label_attached": 4,
    "delivery_fraud/text_message_style": 3,
    "director_fraud/payroll_change": -2,
    "director_fraud/phone_number": 0,
    "encoding/script_builds_the_page": 4,
    "extortion/ddos": 0,
    "good_words/friendly_letter_with_casino": 0,
    "good_words/list_mail_around_watches": -2,
    "good_words/meeting_minutes_with_crypto": -1,
    "good_words/newspaper_around_pills": -1,
    "good_words/novel_below_the_pitch": -1,
    "good_words/receipts_words_around_gift": 3,
    "good_words/word_salad_tail": 3,
    "hidden_text/comments_in_words": 3,
    "hidden_text/noscript_and_title": -1,
    "hidden_text/plain_part_is_ham": 1,
    "html_attachment/octet_stream": 1,
    "html_attachment/voice_mail": 2,
    "image_only/random_words_below": 1,
    "image_only/sliced": 0,
    "invoice_fraud/domain_renewal": 0,
    "job_scam/likes": 4,
    "one_line_phish/bare_link": 1,
    "one_line_phish/fax": 3,
    "one_line_phish/is_this_you": 1,
    "one_line_phish/payment_declined": 0,
    "one_line_phish/reply_only": -1,
    "other_languages/chinese_invoices": 0,
    "other_languages/german_parcel": 2,
    "other_languages/russian_casino": 3,
    "other_languages/spanish_lottery": 4,
    "persian_spam/director": 4,
    "persian_spam/fake_receipt": 3,
    "persian_spam/finglish": 1,
    "persian_spam/good_words_hafez": 2,
    "persian_spam/theses": 2,
    "pharmacy/price_list": 3,
    "qr/block_characters": 1,
    "seo_offer/first_page": 1,
    "seo_offer/guest_post": 1,
    "split_words/dots_and_stars": 4,
    "split_words/leet": 2,
    "split_words/spaces": 1,
    "split_words/table_columns": 3,
    "split_words/tags_inside_words": 4,
    "split_words/vertical": -1,
}
TAGGED: dict[str, int] = {
    "delicate/awareness_training": 11,
    "delicate/security_advisory": 11,
    "forwarded/phish_reported_to_us": 9,
    "invoice/large_amounts": 8,
    "list_mail/spam_research": 10,
    "newsletter/bank_savings": 9,
}


@cache
def _pipeline() -> Pipeline:
    return load_pipeline(Settings(), COMPILED, offline=True)()


async def judge(case: Case) -> Verdict:
    return await _pipeline().score(case.envelope, case.content)


def seen(verdict: Verdict) -> str:
    lines = [f"{hit.score:+.2f} {hit.name}: {'; '.join(hit.evidence)[:160]}" for hit in verdict.hits]
    return "\n".join([f"{verdict.score:.2f}", *lines])


@pytest.mark.parametrize("case", CASES, ids=lambda case: case.id)
async def test_case(case: Case) -> None:
    verdict = await judge(case)
    assert all(words.startswith("dns: ") for words in verdict.incomplete), verdict.incomplete
    is_tagged = verdict.score >= TAG_AT
    if case.id in MISSED:
        assert not is_tagged, f"it is tagged now: take it out of MISSED\n{seen(verdict)}"
        assert verdict.score >= MISSED[case.id], seen(verdict)
    elif case.id in TAGGED:
        assert is_tagged, f"it is not tagged any more: take it out of TAGGED\n{seen(verdict)}"
        assert verdict.score < TAGGED[case.id], seen(verdict)
    else:
        assert is_tagged is case.is_spam, seen(verdict)


def test_the_tables_name_cases() -> None:
    spam = {case.id for case in CASES if case.is_spam}
    assert set(MISSED) <= spam
    assert set(TAGGED) <= {case.id for case in CASES} - spam


def test_there_are_enough() -> None:
    count = Counter((case.is_spam, case.language == "fa") for case in CASES)
    assert count[True, False] + count[True, True] >= 100
    assert count[False, False] + count[False, True] >= 100
    assert min(count[True, True], count[False, True]) >= 20


def test_no_two_are_the_same() -> None:
    texts = Counter(text for case in CASES if len(text := parse(case.content).text.strip()) > 60)
    assert [text for text, times in texts.items() if times > 1] == []


def test_a_kind_is_its_folder() -> None:
    assert [case.id for case in CASES if case.kind != case.id.partition("/")[0]] == []


async def _print_tables() -> None:
    scores = [(case, (await judge(case)).score) for case in CASES]
    print("MISSED: dict[str, int] = {")
    for case, score in scores:
        if case.is_spam and score < TAG_AT:
            print(f'    "{case.id}": {math.floor(score - _SLACK)},')
    print("}\nTAGGED: dict[str, int] = {")
    for case, score in scores:
        if not case.is_spam and score >= TAG_AT:
            print(f'    "{case.id}": {math.ceil(score + _SLACK)},')
    print("}")


if __name__ == "__main__":
    asyncio.run(_print_tables())
