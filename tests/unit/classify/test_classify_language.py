"""The language figures are told by."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.classify.language import LANGUAGES, detect_language, language_of
from gateway.mail import parse

TEXTS = {
    "fa": (
        "سلام، جلسه‌ی فردا ساعت ده برگزار می‌شود.",
        "لطفا فاکتور پیوست را بررسی کنید و نتیجه را به من بگویید. Product: Zimbra 9.0, order ABC-4455",
        "سلام علي جان كتاب را براي شما فرستادم كه بخوانيد",  # typed with Arabic yeh and kaf
        "قیمت ۲۵۰۰۰ تومان https://example.com/some/long/path/in/latin/letters/that/goes/on",
        "اگر آن ترک شیرازی به دست آرد دل ما را",
    ),
    "ar": (
        "مرحبا، سوف نلتقي غدا في الساعة العاشرة صباحا. شكرا لكم على هذه الدعوة",
        "السلام عليكم ورحمة الله وبركاته، أرجو إرسال الفاتورة إلى المكتب",
    ),
    "en": (
        "Hi Sara, the minutes of the meeting are on the server. Please have a look at them when you can.",
        "Buy now",
        "𝐋𝐎𝐎𝐊𝐈𝐍𝐆 𝐅𝐎𝐑 𝐁𝐄𝐓𝐓𝐄𝐑 𝐇𝐄𝐀𝐑𝐈𝐍𝐆? 𝐓𝐑𝐘 𝐓𝐇𝐈𝐒 𝐓𝐎𝐃𝐀𝐘",
        "Cheap pills! Click here for your free offer and get more out of this",
    ),
    "other": (
        "",
        "12345 :-) !!!",
        "Sehr geehrte Damen und Herren, anbei erhalten Sie die Rechnung für den Monat März.",
        "Estimado cliente, le informamos que su cuenta ha sido bloqueada por razones de seguridad.",
        "Добрый день, отправляю вам счёт за прошлый месяц",
        "尊敬的客户,您好 your invoice",
    ),
}


@pytest.mark.parametrize(("language", "text"), [(name, text) for name, texts in TEXTS.items() for text in texts])
def test_language_of(language: str, text: str) -> None:
    assert language_of(text) == language


def test_the_subject_counts() -> None:
    assert detect_language(parse("Subject: برگزاری جلسه هیئت مدیره\r\n\r\nok\r\n".encode())) == "fa"


@given(st.text(max_size=300))
def test_any_text_has_one(text: str) -> None:
    assert language_of(text) in LANGUAGES
