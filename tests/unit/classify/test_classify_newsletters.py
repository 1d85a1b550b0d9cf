"""What learning is for: a newsletter that people want is taken for spam; two of them say so of five issues, and the
next ones come through, under the caps that ship.

How loud an issue must be to be taken for spam is the shipped model's to say: each has as many loud lines as it takes.
"""

from __future__ import annotations

import pytest

from gateway import classify
from gateway.classify.features import VERSION, extract
from gateway.classify.online import Caps, Learner
from gateway.classify.packed import pack
from gateway.config.shipped import model_path
from gateway.scan.conclude import prediction_hit
from gateway.types import Lesson
from tests.builders import mail, message_bytes

SHIPPED = classify.load(model_path())
ENGLISH = (
    ("Spring sale: 40% off all tea", "our whole spring harvest of green tea", "a free tin with every order over $30"),
    ("Last days: free shipping on coffee", "freshly roasted coffee from Ethiopia", "free shipping until Sunday night"),
    ("New in the shop: hand made cups", "cups and pots from a small workshop in Lalejin", "10% off your first set"),
    ("Your weekend discount is here", "saffron, pistachios and dried figs", "click the button and save $12 today"),
    ("Only 48 hours: buy two, get one free", "herbal blends for a good night", "the third tin costs you nothing"),
    ("Win a tea tasting for two", "our new black teas from the north", "order this week to take part"),
    ("Thank you! A gift card for you", "jams and honey from mountain villages", "use your $5 gift card before Friday"),
    ("Clearance: up to 60% off", "last year's harvest of oolong", "while stocks last, no returns"),
)
PERSIAN = (
    ("حراج بهاره: ۴۰٪ تخفیف همه چای‌ها", "برداشت تازه چای سبز بهاره", "با هر خرید بالای ۳۰۰ هزار تومان یک قوطی رایگان"),
    ("ارسال رایگان قهوه، آخرین روزها", "قهوه تازه برشته اتیوپی", "ارسال رایگان تا یکشنبه شب"),
    ("تازه‌های فروشگاه: فنجان دست‌ساز", "فنجان و قوری از کارگاهی در لالجین", "۱۰٪ تخفیف برای نخستین خرید"),
    ("تخفیف آخر هفته شما رسید", "زعفران، پسته و انجیر خشک", "روی دکمه بزنید و ۱۲۰ هزار تومان سود کنید"),
    ("فقط ۴۸ ساعت: دو تا بخرید، یکی هدیه", "دمنوش‌های گیاهی برای خواب خوب", "قوطی سوم رایگان است"),
    ("برنده دعوت به چای‌نوشی شوید", "چای سیاه تازه شمال", "این هفته سفارش دهید تا شرکت کنید"),
    ("سپاس از شما: کارت هدیه", "مربا و عسل روستاهای کوهستان", "کارت هدیه خود را تا جمعه خرج کنید"),
    ("پایان فصل: تا ۶۰٪ تخفیف", "چای اولانگ سال گذشته", "تا پایان موجودی، بدون بازگشت"),
)
LOUD = {
    "english": (
        "Act now, limited time only: 100% satisfaction guaranteed or your money back!",
        "Click here to claim your FREE gift, no obligation.",
        "Lowest prices online! Save up to 80% on every order.",
        "Congratulations, you have been selected for an exclusive bonus.",
        "This is a risk free trial: no credit card needed, cancel any time.",
        "Lose weight fast with our all natural herbal tea!",
        "Don't miss this once in a lifetime opportunity.",
        "Double your savings, order now, supplies are limited!",
    ),
    "persian": (
        "همین حالا کلیک کنید و هدیه رایگان خود را بگیرید!",
        "فرصت محدود: تا ۸۰٪ تخفیف باورنکردنی!",
        "تبریک! شما برنده جایزه ویژه ما شدید.",
        "ضمانت بازگشت وجه، بدون هیچ ریسکی.",
        "لاغری سریع و تضمینی با دمنوش گیاهی!",
        "این فرصت استثنایی را از دست ندهید.",
        "ارزان‌ترین قیمت، خرید اینترنتی با ارسال رایگان!",
        "کسب درآمد آسان: دوستان خود را دعوت کنید و جایزه نقدی بگیرید.",
    ),
}
FRAMES = {
    "english": (
        "Dear customer,\r\n\r\nthis week we offer {0}. Hurry: {1}!\r\n\r\nOrder now: https://shop.example/offers\r\n\r\n{2}"
        "You get this because you subscribed at shop.example. Unsubscribe: https://shop.example/unsubscribe\r\n"
    ),
    "persian": (
        "مشتری گرامی،\r\n\r\nپیشنهاد این هفته: {0}. عجله کنید: {1}!\r\n\r\nهمین حالا سفارش دهید: https://shop.example/offers\r\n\r\n{2}"
        "این نامه را چون مشترک خبرنامه ما هستید گرفتید. لغو اشتراک: https://shop.example/unsubscribe\r\n"
    ),
}
ISSUES = {"english": ENGLISH, "persian": PERSIAN}


def issue(language: str, number: int, loud: int) -> bytes:
    """With so many loud lines, other ones first in each issue."""
    subject, what, why = ISSUES[language][number]
    lines = LOUD[language][number:] + LOUD[language][:number]
    more = "".join(f"{line}\r\n\r\n" for line in lines[:loud])
    body = FRAMES[language].format(what, why, more)
    return message_bytes(body, Subject=subject, From="Tea shop <news@shop.example>")


def points(learner: Learner, content: bytes) -> float:
    """What CLASSIFIER adds to the score, of 6.0."""
    return prediction_hit(learner.model().read(mail(content)).prediction, 6.0).score


def taken_for_spam(learner: Learner, language: str, number: int) -> bytes:
    """The issue, so loud that the model adds some 2.0 points."""
    every = [issue(language, number, loud) for loud in range(len(LOUD[language]) + 1)]
    return min(every, key=lambda content: abs(points(learner, content) - 2.0))


@pytest.mark.parametrize("language", ["english", "persian"])
def test_five_issues_taught_by_two_people_bring_the_next_ones_through(language: str) -> None:
    learner = Learner(SHIPPED, Caps())
    issues = [taken_for_spam(learner, language, number) for number in range(8)]
    before = [points(learner, content) for content in issues]
    assert min(before) > 1.0, "it looks like spam, or there is nothing to teach"
    for number, content in enumerate(issues[:5]):
        indices, _ = extract(mail(content)).vector()
        trainer = ("sara", "reza")[number % 2]
        learner.learn(Lesson(f"{number}", number, trainer, False, "release", f"{number}", VERSION, pack(indices)))
    after = [points(learner, content) for content in issues[5:]]
    assert max(after) < 1.5, "the next ones come through"  # some 1.0 in log-odds
    assert all(one < was - 1.0 for one, was in zip(after, before[5:], strict=True))
