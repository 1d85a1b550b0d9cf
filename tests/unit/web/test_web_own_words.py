"""web/own_words.py: what the gateway wrote, in both languages, and what nobody of ours wrote stays."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.policy.decide import as_one, decide, reconcile, share_copy
from gateway.scan.wording import Tongue
from gateway.stores.quarantine import CUT_OFF
from gateway.types import DomainPolicy, Ruling
from gateway.web.language import languages
from gateway.web.own_words import detail_text, reason_text
from gateway.web.site import detail, reason
from tests.builders import recipient, verdict

LANGUAGES = languages()
GATEWAY = Path(__file__).parents[3] / "gateway"

REASONS = [
    ("score 13.6 >= reject_at 8.0", "امتیاز ۱۳٫۶ به مرز رد (۸٫۰) رسیده است"),
    ("score -1.2 < tag_at 5.0", "امتیاز \u200e-۱٫۲ از مرز برچسب (۵٫۰) کمتر است"),
    ("allowed by sara's entry until 2027-01-03 (dkim=example.org)", "مجاز به دستور sara تا ۱۴۰۵/۱۰/۱۳ (dkim=example.org)"),
    ("allowed by sara's entry without an end (client 192.0.2.1 in 192.0.2.0/24)",
     "مجاز به دستور بی‌پایان sara (سرور 192.0.2.1 در شبکهٔ 192.0.2.0/24)"),
    ("blocked by o'neil's entry without an end", "مسدود به دستور بی‌پایان o'neil"),
    ("score 9.0 >= quarantine_at 8.0; sara's entry does not count: the author is not proven",
     "امتیاز ۹٫۰ به مرز قرنطینه (۸٫۰) رسیده است؛ دستور sara به کار نیامد: نویسنده اصالت‌سنجی نشد"),
    ("incomplete: check url: timeout; held, as other recipients get it",
     "بررسی کامل نشد: بررسی url به‌موقع تمام نشد؛ به‌جای رد نگه داشته شد، چون گیرندگان دیگری آن را می‌گیرند"),
    ("incomplete: classify: MemoryError", "بررسی کامل نشد: مرحلهٔ classify به خطا برخورد (MemoryError)"),
    ("greylisted: first contact from 192.0.2.0/24 with score 3.1, asked to come again",
     "فهرست خاکستری: نخستین تماس از 192.0.2.0/24 با امتیاز ۳٫۱؛ خواسته شد که دوباره بفرستد"),
    ("next hop refused: 550 No; really: no", "سرور بعدی نپذیرفت: 550 No; really: no"),
    ("12 more like this: dns list: ZEN", "۱۲ مورد دیگر مانند این: سرور فرستنده در یک فهرست سیاه است: ZEN"),
    ("dns: spf could not be looked up", "پرس‌وجوی spf در DNS بی‌نتیجه ماند"),
    ("dns: the MX of x.example: timeout", "رکورد MX دامنهٔ x.example در DNS: پاسخی نرسید"),
    ("dns: no nameserver answers (127.0.0.1:53)", "هیچ سرور DNS پاسخ نمی‌دهد (127.0.0.1:53)"),
    ("dns list zen: 2 of 3 not answered (servfail)", "فهرست zen به ۲ پرسش از ۳ پرسش پاسخ نداد (سرور DNS خطا داد)"),
    ("dns list zen: switched off: it does not answer (timeout)",
     "فهرست zen کنار گذاشته شده است: پاسخ نمی‌دهد (پاسخی نرسید)"),
    ("expired: kept for 0.5 days", "مهلت نگهداری (۰٫۵ روز) به سر رسید"),
    (CUT_OFF, "آزادسازی نیمه‌کاره ماند: شاید سرور بعدی نامه را گرفته باشد"),
    ("250 2.0.0 Ok: queued as 4711", ""),
    ("somebody: who knows what", ""),
    ("", ""),
]  # fmt: skip
DETAILS = [
    ("release", "released: 250 2.0.0 Ok; queued; learned; from a digest",
     "آزاد شد: 250 2.0.0 Ok; queued؛ یاد گرفته شد؛ از خلاصهٔ روزانه"),
    ("release", "from a digest: released: 250 2.0.0 Ok; learned", "از خلاصهٔ روزانه: آزاد شد: 250 2.0.0 Ok؛ یاد گرفته شد"),
    ("release", "held: 451 4.4.1 later", "در قرنطینه ماند: 451 4.4.1 later"),
    ("release", f"held: {CUT_OFF}", "در قرنطینه ماند: آزادسازی نیمه‌کاره ماند و شاید سرور بعدی نامه را گرفته باشد"),
    ("spam", "deleted: ; spent", "حذف شد؛ ثبت شد ولی دیگر مدل را جابه‌جا نمی‌کند"),
    ("redirect", "released: 250 Ok; copy of ab12 for a@x.ir to b@x.ir",
     "آزاد شد: 250 Ok؛ نسخه‌ای از پیام ab12 برای a@x.ir به نشانی b@x.ir"),
    ("sign-in-refused", "password, and 7 more before, not written",
     "با گذرواژه؛ پیش از آن ۷ مورد دیگر هم بود که نوشته نشد"),
    ("sender-allow", "allow for mail to x.ir, until 2027-01-03, from 2001:db8::/32 without proof: asked, twice: yes",
     "مجاز برای نامه‌های x.ir، تا ۱۴۰۵/۱۰/۱۳، بدون اصالت‌سنجی از شبکهٔ 2001:db8::/32: asked, twice: yes"),
    ("sender-block", "block for everybody's mail, no end", "مسدود برای نامه‌های همه، بی‌پایان"),
    ("account-add", "sara: domain_admin x.ir y.ir", "حساب sara: مدیر دامنه x.ir y.ir"),
    ("account-change", "sara: reviewer x.ir -> owner", "حساب sara: از بازبین x.ir به مالک"),
    ("account-delete", "link", ""),
    ("erase", "held 1, log 12, lessons 0, accounts 1, counters 4, senders 2 audit:3,7-9",
     "۱ پیام قرنطینه، ۱۲ سطر گزارش پیام‌ها، ۰ درس، ۱ حساب، ۴ شمارنده، ۲ مورد فرستنده، و موردهای 3,7-9 در گزارش کارها"),
    ("teach", "ham in the name of sara: 3 learned, 1 known",
     "غیرهرزنامه، به نام sara: ۳ پیام یاد گرفته شد، ۱ پیام پیش‌تر گفته شده بود"),
    ("token-add", "t1 backup: read release", "توکن backup (t1): read release"),
    ("expire", "3 spam", "۳ هرزنامه"),
    ("export", "q=offer&action=reject", ""),
    ("an act of tomorrow", "learned", ""),
]  # fmt: skip


def plain(code: str) -> Tongue:
    return Tongue(LANGUAGES[code].translations.gettext, LANGUAGES[code].number)


@pytest.mark.parametrize(("text", "persian"), REASONS)
def test_reasons(text: str, persian: str) -> None:
    assert reason_text(text, LANGUAGES["en"], plain("en")) in (text, "")
    assert reason_text(text, LANGUAGES["fa"], plain("fa")) == persian


@pytest.mark.parametrize(("act", "text", "persian"), DETAILS)
def test_details(act: str, text: str, persian: str) -> None:
    english = detail_text(act, text, LANGUAGES["en"], plain("en"))
    assert english in (text, "")
    assert detail_text(act, text, LANGUAGES["fa"], plain("fa")) == persian


def test_what_policy_decides_has_words() -> None:
    policy = DomainPolicy("darban.test", "maildir:/x")
    rulings = [None, Ruling("quarantine", "blocked by sara's entry without an end", 1)]
    said = {
        one.reason
        for score in (-1.0, 5.0, 8.0, 15.0)
        for ruling in rulings
        for incomplete in ((), ("rules: gave up on this message",))
        for wanted in [decide(verdict(score, incomplete=incomplete), recipient(), policy, ruling)]
        for one in (*reconcile([wanted, decide(verdict(0.0), recipient(), policy)]), *share_copy([wanted]), as_one([wanted]))
    }  # fmt: skip
    assert len(said) > 5
    assert {text for text in said if not reason_text(text, LANGUAGES["fa"], plain("fa"))} == set()


def test_what_is_refused_at_the_door_has_words() -> None:
    """As the listener and admission name it in their source."""
    listener, admission = ((GATEWAY / name).read_text() for name in ("listeners/smtp.py", "admission.py"))
    said = set(re.findall(r'_refuse\(replies\.\w+, "([^"{]+)"', listener))
    said |= {f"connection stopped: {one}" for one in re.findall(r'_stop\("(\w+)"', listener)}
    said |= set(re.findall(r'_notice\("(\w+)"', listener)) | set(re.findall(r', "([a-z ]+)"\n', admission))
    assert len(said) > 8
    assert {text for text in said if not reason_text(text, LANGUAGES["fa"], plain("fa"))} == set()


def test_as_markup_strangers_stand_apart() -> None:
    fa = LANGUAGES["fa"]
    assert reason(fa, "next hop refused: 550 <no>") == "سرور بعدی نپذیرفت: <bdi>550 &lt;no&gt;</bdi>"
    assert reason(fa, "250 2.0.0 Ok") == '<bdi lang="en" dir="ltr">250 2.0.0 Ok</bdi>'
    assert reason(fa, "پذیرفته شد") == "<bdi>پذیرفته شد</bdi>"
    assert detail(fa, "", "view") == ""
    assert reason(LANGUAGES["en"], "blocked by سارا's entry without an end") == (
        "blocked by <bdi>سارا</bdi>&#39;s entry without an end"
    )
