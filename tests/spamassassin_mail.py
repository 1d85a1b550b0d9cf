"""Messages written for the comparison with SpamAssassin: each shows one thing that rules look at."""

from __future__ import annotations

import base64
import quopri

from tests.spamassassin_peer import Case

_HEAD = {
    "From": "Sara Rahimi <sara@example.org>",
    "To": "you@darban.test",
    "Subject": "Notes of the meeting",
    "Date": "Mon, 2 Mar 2026 09:59:00 +0000",
    "Message-ID": "<20260302095900.1234@example.org>",
    "MIME-Version": "1.0",
}
_TEXT = "Dear all,\n\nthe notes are at https://www.example.com/notes/2026.html\nand questions go to notes@example.com.\n\nSara\n"
_HTML = (
    "<html><head><title>Offer</title><style>p {color: red}</style></head><body bgcolor=#ffffff><p>Dear&nbsp;friend,</p>"
    "<div>Click <a href='http://example.com/go?to=http://shop.example.net/x'>here</a><br>or write to "
    "<a href='mailto:sales@example.com?subject=hi'>us</a></div><table><tr><td>one</td><td>two</td></tr></table>"
    "<font color=#ffffff>unseen words</font><img src='http://192.0.2.7/p.gif' width=1 height=1></body></html>\n"
)


def _message(body: str | bytes = _TEXT, /, **fields: str) -> bytes:
    named = {name.replace("_", "-"): value for name, value in fields.items()}
    head = "".join(f"{name}: {value}\n" for name, value in (_HEAD | named).items() if value)
    return f"{head}\n".encode() + (body.encode() if isinstance(body, str) else body)


def _multipart(kind: str, *parts: tuple[str, str]) -> bytes:
    """Parts as (fields, body)."""
    inside = "".join(f"--=_b1\n{fields}\n\n{body}\n" for fields, body in parts)
    return _message(f"In parts.\n\n{inside}--=_b1--\n", Content_Type=f'multipart/{kind}; boundary="=_b1"')


_PLAIN, _AS_HTML = "Content-Type: text/plain; charset=utf-8", "Content-Type: text/html; charset=utf-8"
_BASE64 = "\nContent-Transfer-Encoding: base64"
_LETTER = (
    "Dear Friend,\n\nI am the manager of the Central Bank. A sum of $25,500,000 USD (twenty five million) was left by a "
    "foreign customer who died in a plane crash with his next of kin. I need your assistance to transfer the fund to "
    "your account. Reply with your full name, telephone number and bank account in strict confidence.\n\nYours "
    "faithfully,\nBarrister John Smith\n"
)

_MESSAGES: dict[str, bytes] = {
    "plain": _message(),
    "html": _message(_HTML, Content_Type="text/html; charset=utf-8"),
    "alternative": _multipart("alternative", (_PLAIN, _TEXT), (_AS_HTML, _HTML)),
    "related": _multipart("related", (_AS_HTML, _HTML), ("Content-Type: image/gif; name=p.gif" + _BASE64, "R0lGODdhAQABAIAAAP8=")),
    "base64": _message(
        base64.encodebytes(_LETTER.encode()), Content_Type="text/plain; charset=utf-8", Content_Transfer_Encoding="base64"
    ),
    "quoted printable": _message(
        quopri.encodestring(_HTML.replace("words", "wörds").encode()),
        Content_Type="text/html; charset=utf-8", Content_Transfer_Encoding="quoted-printable",
    ),
    "latin 1": _message("Größe und Preis für Sie, schön.\n\nGrüße\n".encode("latin-1"), Content_Type="text/plain; charset=iso-8859-1"),
    "persian": _message("سلام،\n\nبرندهٔ قرعه‌کشی شدید: https://example.ir/جایزه\n", Content_Type="text/plain; charset=utf-8"),
    "persian in windows-1256": _message("سلام دوست من\n".encode("cp1256"), Content_Type="text/plain; charset=windows-1256"),
    "encoded words": _message(
        Subject="=?utf-8?B?2KjYsdmG2K/Zhw==?= =?utf-8?Q?_caf=C3=A9?=", From="=?iso-8859-1?Q?J=F6rg?= <joerg@example.org>"
    ),
    "eight bits in the header": _message(Subject="Größe", From="Jörg <joerg@example.org>"),
    "folded": _message(Subject="a subject\n  that goes\n\ton and on", To="one@darban.test,\n\ttwo@darban.test"),
    "no subject": _message(Subject=""),
    "no date, no message id": _message(Date="", Message_ID=""),
    "undisclosed": _message(To="undisclosed-recipients:;"),
    "no recipient": _message(To="", Cc="you@darban.test"),
    "empty": _message(""),
    "blank": _message(" \n\n \n"),
    "subject in capitals": _message(_LETTER.upper(), Subject="URGENT BUSINESS PROPOSAL!!!"),
    "letter": _message(_LETTER, From='"Mr. John Smith" <john.smith@gmail.com>', Reply_To="barrister@yahoo.com"),
    "pills": _message("Cheap V1agra and C-i-a-l-i-s online, no prescription needed! Buy now http://pills.example.biz/?id=12\n"),
    "links": _message(
        "http://0xC0.0.2.1/a http://3221225985/b http://example.com:8080/c www.example.org/d ftp.example.org "
        "http://www.google.com/url?q=http://example.net/e&x=1 example.co.uk/f user@example.com%20 http://a%2Eexample.com/\n"
    ),
    "shortener": _message(_HTML.replace("example.com", "bit.ly"), Content_Type="text/html"),
    "address in the name": _message(From='"service@paypal.com" <x1234567890@example.net>'),
    "long line": _message("word " * 1200 + "http://example.com/end\n"),
    "long word": _message("x" * 5000 + "\n"),
    "list": _message(
        List_Id="<talk.lists.example.org>", List_Unsubscribe="<mailto:leave@lists.example.org>", Precedence="list",
        Sender="talk-bounces@lists.example.org", X_Mailman_Version="2.1.39",
    ),
    "newsletter": _message(_HTML * 20, Content_Type="text/html", List_Unsubscribe="<https://example.com/u?x=1>", X_Mailer="PHPMailer 6.1"),
    "outlook": _message(X_Mailer="Microsoft Outlook Express 6.00.2600.0000", X_MimeOLE="Produced By Microsoft MimeOLE V6.00.2600.0000"),
    "relays": _message(
        Received="from dsl.example.net ([198.51.100.9] helo=pc) by mail.example.org with esmtp (Exim 4.96) id 1abc-0001\n"
        "Received: from unknown (HELO pc) (203.0.113.4) by gate.example.net with SMTP; 2 Mar 2026 09:58:00 -0000",
    ),
    "webmail": _message(X_Originating_IP="[203.0.113.99]", Received="from [203.0.113.99] by web.example.org via HTTP"),
    "attached page": _multipart(
        "mixed", (_PLAIN, _TEXT), ('Content-Type: text/html; name="invoice.html"\nContent-Disposition: attachment', _HTML)
    ),
    "attached text": _multipart(
        "mixed", (_PLAIN, _TEXT), ("Content-Type: text/plain; name=a.txt\nContent-Disposition: attachment", _LETTER)
    ),
    "archive": _multipart(
        "mixed", (_PLAIN, _TEXT),
        ('Content-Type: application/zip; name="order.zip"\nContent-Disposition: attachment; filename="order.zip"' + _BASE64, "UEsDBAoAAAAAAA=="),
    ),
    "bounce": _multipart(
        "report; report-type=delivery-status", (_PLAIN, "Your message could not be delivered.\n"),
        ("Content-Type: message/delivery-status", "Reporting-MTA: dns; mx.example.org\n\nFinal-Recipient: rfc822; a@example.org\nStatus: 5.1.1"),
        ("Content-Type: message/rfc822", _message().decode()),
    ),
    "paragraphs": _message("\n\nfirst\n\n\n second\nline\n \t\n\xa0third\n\n", Content_Type="text/plain; charset=utf-8"),
    "tags within words": _message("<p>Via<b></b>gra, <i>ea</i>rn mo<!-- x -->ney<br><br>Hi,<p>now</p>", Content_Type="text/html"),
    "hidden": _message("<div style='display:none'>a b c</div><p>Hello</p><div style='font-size:0'>d e f</div>", Content_Type="text/html"),
    "base": _message("<base href='http://example.com/a/'><a href='b.html'>x</a><a href='//example.net/C'>y</a>", Content_Type="text/html"),
}  # fmt: skip

CASES = tuple(Case(name, content) for name, content in _MESSAGES.items())
