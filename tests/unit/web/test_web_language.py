"""web/language.py: every word of the pages is in every catalogue."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from jinja2.ext import babel_extract

from gateway.scan import evidence, wording
from gateway.web import own_words
from gateway.web.language import languages
from gateway.web.site import ACTS, contribution

WEB = Path(__file__).parents[3] / "gateway" / "web"
LANGUAGES = languages()


def of_templates() -> set[str]:
    """What the templates translate."""
    found = set()
    for path in (WEB / "templates").glob("*.*"):
        with path.open("rb") as file:
            found |= {text for _, _, text, _ in babel_extract(file, ["_", "gettext"], [], {"trimmed": "false"}) if text}
    return {text for text in found if isinstance(text, str)}


def of_refusals() -> set[str]:
    """What the routes refuse with: literals given to HTTPException, and `error = "..."`."""
    found = set()
    for path in WEB.glob("*.py"):
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call) and getattr(node.func, "id", "") == "HTTPException" and len(node.args) > 1:
                found |= {node.args[1].value} if isinstance(node.args[1], ast.Constant) else set()
            if isinstance(node, ast.Assign) and getattr(node.targets[0], "id", "") == "error":
                found.add(node.value.value)
    return found


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_the_catalogue_is_whole(code: str) -> None:
    wanted = of_templates() | of_refusals() | {"Held", "Being released", "Released", "Deleted"}
    wanted |= {"There is no such page.", "this name is taken", "picture:"}
    wanted |= {*evidence.SENTENCES, *wording.SENTENCES, *own_words.SENTENCES, *ACTS.values()}
    wanted |= {"The message is not held any more.", "the name must have 1 to 100 printable characters"}
    assert len(wanted) > 50
    translations = LANGUAGES[code].translations
    assert {text for text in wanted if translations.gettext(text) == text} == set()


@pytest.mark.parametrize("code", [code for code in LANGUAGES if code != "en"])
def test_placeholders_survive(code: str) -> None:
    for text in of_templates() | {*evidence.SENTENCES, *wording.SENTENCES, *own_words.SENTENCES}:
        names = re.findall(r"%\((\w+)\)s", text)
        assert sorted(names) == sorted(re.findall(r"%\((\w+)\)s", LANGUAGES[code].translations.gettext(text)))


@pytest.mark.parametrize(
    ("kind", "value", "said"),
    [
        ("links", "0", "بدون پیوند"),
        ("links", "1", "یک پیوند"),
        ("links", "2-3", "۲ تا ۳ پیوند"),
        ("dollars", "4+", "دست‌کم ۴ علامت دلار"),
        ("name_words", "0", "بدون نام فرستنده"),
        ("name_words", "1", "نام فرستنده یک واژه است"),
        ("name_words", "3", "نام فرستنده ۳ واژه دارد"),
        ("name_words", "4+", "نام فرستنده دست‌کم ۴ واژه دارد"),
        ("encoding", "base64", "متنی با کدگذاری <bdi>base64</bdi>"),
        ("html_only", "", "فقط HTML، بدون متن ساده"),
    ],
)
def test_contributions_in_persian(kind: str, value: str, said: str) -> None:
    assert contribution(LANGUAGES["fa"], {"kind": kind, "value": value}) == said


@pytest.mark.parametrize(
    ("name", "line", "said"),
    [
        ("LOOKALIKE_REPLY_TO", "answers go to a@exmaple.ir: exmaple.ir is close to your partner's domain example.ir: “am” is swapped",
         "پاسخ‌ها به a@exmaple.ir می‌رود: exmaple.ir به دامنهٔ شریک شما example.ir نزدیک است: حرف‌های «am» جابه‌جا شده است"),
        ("DKIM_FIELD_UNSIGNED", "Date and Subject not signed by x.example: anyone may have written that",
         "Date و Subject در امضای x.example نیست: هر کسی می‌توانسته آن را بنویسد"),
        ("SENDER_RATE_HIGH", "80 messages of the client's network today, 2.3 a day before",
         "امروز ۸۰ پیام از شبکهٔ این سرور، و پیش از این روزی ۲٫۳"),
        ("ARC_FAIL", "the seal of x.example: the key k.x.example could not be looked up (timeout)",
         "مهر x.example: پرس‌وجوی کلید k.x.example بی‌نتیجه ماند (پاسخی نرسید)"),
        ("SUBJECT_MARKS", "“Did you see this???”", ""),
    ],
)  # fmt: skip
def test_evidence_in_persian(name: str, line: str, said: str) -> None:
    fa = LANGUAGES["fa"]
    assert evidence.evidence_text(name, line, wording.Tongue(fa.translations.gettext, fa.number)) == said


@pytest.mark.parametrize(
    ("at", "english", "persian"),
    [(0.0, "1970-01-01 00:00", "۱۳۴۸/۱۰/۱۱ ۰۰:۰۰"), (1_790_000_000.0, "2026-09-21 14:13", "۱۴۰۵/۰۶/۳۰ ۱۴:۱۳")],
)
def test_dates(at: float, english: str, persian: str) -> None:
    assert (LANGUAGES["en"].when(at), LANGUAGES["fa"].when(at)) == (english, persian)
