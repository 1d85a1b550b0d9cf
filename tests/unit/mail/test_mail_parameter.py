from __future__ import annotations

import pytest

from gateway.mail.parameter import parameter, parse_parameters, without_comment


@pytest.mark.parametrize(
    ("text", "value", "name", "found"),
    [
        ("text/plain", "text/plain", "charset", ("", "")),
        ("", "", "charset", ("", "")),
        ("TEXT/Plain; charset=UTF-8", "text/plain", "charset", ("UTF-8", "")),
        ('text/plain; charset="utf-8"', "text/plain", "charset", ("utf-8", "")),
        ("text/plain;charset = utf-8 ;x=y", "text/plain", "charset", ("utf-8", "")),
        ("text/html charset=utf-8", "text/html", "charset", ("utf-8", "")),
        ('a/b; x="y" name="n.pdf"', "a/b", "name", ("n.pdf", "")),
        ('a/b; name="a;b=c.pdf"; x=y', "a/b", "name", ("a;b=c.pdf", "")),
        ('a/b; name="report (1).pdf"', "a/b", "name", ("report (1).pdf", "")),
        ("a/b; name=report (1).pdf", "a/b", "name", ("report (1).pdf", "")),
        ("a/b; name=my report.pdf; x=y", "a/b", "name", ("my report.pdf", "")),
        ('a/b; name="a\\"b.pdf"', "a/b", "name", ('a"b.pdf', "")),
        ('a/b; name="C:\\dir\\x.exe"', "a/b", "name", ("C:\\dir\\x.exe", "")),
        ('a/b; name="open', "a/b", "name", ("open", "")),
        ("(comment) a/b (more); (c) name=x", "a/b", "name", ("x", "")),
        ("filename=x.exe", "", "filename", ("x.exe", "")),
        ("attachment; filename*=utf-8'fa'%D8%B3.pdf", "attachment", "filename", ("س.pdf", "")),
        ("attachment; filename*=%41.pdf", "attachment", "filename", ("A.pdf", "")),
        ("attachment; filename*0=ab; filename*1=cd.pdf", "attachment", "filename", ("abcd.pdf", "")),
        ("attachment; filename*1=cd.pdf; filename*0=ab", "attachment", "filename", ("abcd.pdf", "")),
        (
            "attachment; filename*0*=utf-8''%D8; filename*1*=%B3; filename*2=.exe",
            "attachment",
            "filename",
            ("س.exe", ""),
        ),
        ("attachment; filename*0=a; filename*2=b", "attachment", "filename", ("a", "")),
        ('attachment; filename="=?utf-8?B?2LM=?=.pdf"', "attachment", "filename", ("س.pdf", "")),
        ("attachment; filename=a.pdf; filename*=utf-8''b.exe", "attachment", "filename", ("b.exe", "a.pdf")),
        ("attachment; filename=a.pdf; filename=b.exe", "attachment", "filename", ("a.pdf", "b.exe")),
        ("attachment; filename*=no-such''%E9", "attachment", "filename", ("é", "")),
    ],
)
def test_parameters(text: str, value: str, name: str, found: tuple[str, str]) -> None:
    read, parameters = parse_parameters(text)
    assert read == value
    assert parameter(parameters, name) == found


def test_an_encoded_semicolon_forges_no_parameter() -> None:
    _, parameters = parse_parameters('a/b; name="=?utf-8?Q?x=22;_boundary=3Dy?="')
    assert [one.name for one in parameters] == ["name"]


@pytest.mark.parametrize(("written", "value"), [("us-ascii (text)", "us-ascii"), (" x ", "x"), ("a(b", "a(b")])
def test_comment_behind_a_token(written: str, value: str) -> None:
    assert without_comment(written) == value
