from __future__ import annotations

import pytest

from gateway.mail.charset import codec_of, decode
from gateway.mail.mime import guess_charset


@pytest.mark.parametrize(
    ("charset", "codec"),
    [
        ("utf8", "utf-8"),
        ('"UTF-8"', "utf-8"),
        ("gb2312", "gb18030"),
        ("GB_2312-80", "gb18030"),
        ("ks_c_5601-1987", "cp949"),
        ("unicode-1-1-utf-7", "utf-7"),
        ("windows-1256", "cp1256"),
        ("cp-850", "cp850"),
        ("x-windows-874", "cp874"),
        ("iso-8859-1", "cp1252"),
        ("x-sjis", "cp932"),
        ("windows-31j", "cp932"),
        ("us-ascii", "utf-8"),
        ("x-unknown", "utf-8"),
        ("", "utf-8"),
        ("no-such-charset", None),
        ("base64", None),
        ("unicode_escape", None),
        ("punycode", None),
        ("idna", None),
        ("rot13", None),
        ("utf-8\0", None),
    ],
)
def test_labels(charset: str, codec: str | None) -> None:
    assert codec_of(charset) == codec


@pytest.mark.parametrize(
    ("content", "charset", "text"),
    [
        (b"plain", "", "plain"),
        ("سلام".encode(), "", "سلام"),
        ("سلام".encode(), "us-ascii", "سلام"),
        ("سلام".encode("cp1256"), "windows-1256", "سلام"),
        ("你好".encode("gb18030"), "gb2312", "你好"),
        ("こんにちは".encode("iso2022_jp"), "iso-2022-jp", "こんにちは"),
        ("こんにちは".encode("cp932"), "shift_jis", "こんにちは"),
        (b"+BjMGRAYnBkU-", "utf-7", "سلام"),
        (b"\xef\xbb\xbfabc", "utf-8", "abc"),
        ("abc".encode("utf-16"), "utf-16", "abc"),
        ("سلام".encode(), "no-such", "سلام"),
        (b"caf\xe9", "no-such", "café"),
        (b"caf\xe9", "utf-8", "café"),
        (b"x" * 100 + b"\xff", "utf-8", "x" * 100 + "\ufffd"),
        (b"\x81\xff", "big5", "\ufffd\ufffd"),
        (b"", "utf-16", ""),
    ],
)
def test_decoding(content: bytes, charset: str, text: str) -> None:
    assert decode(content, charset) == text


def test_half_a_surrogate_pair_does_not_come_out() -> None:
    decode(b"+2AA-", "utf-7").encode()


def test_undeclared_persian_is_guessed() -> None:
    content = ("سلام دنیا این یک متن آزمایشی است که باید خوانده شود. " * 5).encode("cp1256", "replace")
    assert guess_charset(content) == "cp1256"
    assert "آزمایشی" not in decode(content)
    assert "سلام" in decode(content, "", guess_charset)


def test_a_few_bytes_are_not_guessed() -> None:
    assert guess_charset(b"\xe9\xe8") is None


@pytest.mark.parametrize(
    ("text", "charset"),
    [
        ("Здравствуйте, уважаемый клиент! Ваш счет заблокирован, пожалуйста, подтвердите данные.", "cp1251"),
        ("Здравствуйте, уважаемый клиент! Ваш счет заблокирован, пожалуйста, подтвердите данные.", "koi8-r"),
        ("親愛的客戶,您的帳戶已被鎖定,請點擊以下連結驗證您的身份資料,以便繼續使用我們的服務。", "big5"),
        ("お客様各位、アカウントがロックされました。以下のリンクをクリックしてください。", "cp932"),
        ("Sayın müşterimiz, hesabınız kilitlendi, lütfen bağlantıya tıklayarak kimliğinizi doğrulayın.", "cp1254"),
        (
            "Estimado cliente, su cuenta ha sido bloqueada, haga clic para la verificación según señaló el señor.",
            "cp1252",
        ),
    ],
)
def test_languages_are_guessed(text: str, charset: str) -> None:
    assert decode(text.encode(charset), "", guess_charset) == text


def test_a_blank_and_quotes_of_windows_in_text_declared_utf_8() -> None:
    assert decode(b"it\x92s \x93here\x94\xa0now", "utf-8") == "it’s “here”\xa0now"
