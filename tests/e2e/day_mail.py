"""One day's mail of a company and of a neighbour at the same gateway, of our own writing: English, Persian, good and bad.

`office` runs it: a real Dovecot with the mailboxes, a DNS server with what the senders publish, the gateway between them.
"""

from __future__ import annotations

import contextlib
import email
import smtplib
import zlib
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from email import policy
from email.message import EmailMessage
from email.utils import format_datetime
from pathlib import Path

from tests.dns_server import DnsServer
from tests.e2e import peers

COMPANY, NEIGHBOUR = "noavaran.example", "tejarat.example"
SARA, REZA, MALI = f"sara.rahimi@{COMPANY}", f"reza.karimi@{COMPANY}", f"mali@{NEIGHBOUR}"


@dataclass(frozen=True)
class Letter:
    """What a stranger sends. `ip`: of the server it comes from."""

    name: str
    address: str
    to: str
    subject: str
    text: str
    html: str = ""
    attached: str = ""  # the name of a file, of a program's first bytes
    ip: str = "203.0.113.25"
    is_known: bool = True  # the author's domain names the server in its SPF record

    @property
    def domain(self) -> str:
        return self.address.partition("@")[2]

    def content(self) -> bytes:
        mail = EmailMessage()
        mail["From"] = f'"{self.name}" <{self.address}>'
        mail["To"] = self.to
        mail["Subject"] = self.subject
        mail["Date"] = format_datetime(datetime.now(UTC) - timedelta(seconds=8))
        mail["Message-ID"] = f"<{zlib.crc32(self.subject.encode()):x}@{self.domain}>"
        mail.set_content(self.text, cte="quoted-printable")
        if self.html:
            mail.add_alternative(self.html, subtype="html", cte="quoted-printable")
        if self.attached:
            mail.add_attachment(b"PK\x03\x04" + bytes(400), "application", "octet-stream", filename=self.attached)
        return mail.as_bytes(policy=policy.SMTP)


LOTTERY = Letter(
    "Mega Millions Claims", "claims@megamillions-intl.example", SARA, "Your e-mail address has won US$850,000",
    "Dear winner,\n\nYour e-mail address was drawn in the international lottery and has won US$850,000.00. "
    "To claim the prize, send us your full name, telephone number and a copy of your passport, and pay the "
    "transfer fee of $250 by Western Union or gift card.\n\nReply today: the prize is lost after 48 hours.\n\n"
    "Mrs. Helen Carter\nClaims agent\n",
    ip="198.51.100.17", is_known=False,
)  # fmt: skip
MAILBOX = Letter(
    "IT Help Desk", "helpdesk@secure-login-update.example", SARA, "Action required: your mailbox is 98% full",
    "Dear user,\n\nYour mailbox is almost full. Verify your account within 24 hours or incoming messages will be "
    "returned.\n\nhttp://noavaran.example.secure-login-update.example/verify/login.php\n\nIT Help Desk\n",
    "<html><body><p>Dear user,</p><p>Your mailbox is almost full. Verify your account within 24 hours, or your "
    "account will be suspended and incoming messages will be returned.</p>"
    '<p><a href="http://noavaran.example.secure-login-update.example/verify/login.php">https://mail.noavaran.example/verify</a></p>'
    "<p>IT Help Desk</p></body></html>",
    ip="198.51.100.44", is_known=False,
)  # fmt: skip
JUDICIARY = Letter(
    "سامانه ثنا", "noreply@sana-eblagh.example", REZA, "ابلاغیهٔ قضایی جدید برای شما ثبت شد",
    "کاربر گرامی، علیه شما شکواییه‌ای ثبت شده است. برای دیدن ابلاغیه نشانی زیر را باز کنید.\n"
    "http://sana-eblagh.example/pay.apk\n",
    '<html dir="rtl"><body><p>کاربر گرامی، علیه شما در سامانهٔ ثنا شکواییه‌ای ثبت شده است.</p>'
    "<p>برای دیدن ابلاغیهٔ قضایی و جلوگیری از مسدود شدن حساب بانکی خود فوراً روی نشانی زیر کلیک کنید و هزینهٔ ۲۰۰۰ "
    "تومان را با شماره کارت و رمز دوم بپردازید.</p>"
    '<p><a href="http://sana-eblagh.example/pay.apk">https://adliran.example/sana</a></p></body></html>',
    attached="eblagh.apk", ip="198.51.100.71", is_known=False,
)  # fmt: skip
BANK = Letter(
    "بانک ملت", "info@mellat-bank-service.example", REZA, "حساب شما امروز مسدود می‌شود",
    "مشتری گرامی، رمز پویای شما غیرفعال شده است و حساب شما تا ۲۴ ساعت دیگر مسدود می‌شود. برای فعال‌سازی دوباره، شماره "
    "کارت، رمز دوم و CVV2 خود را در نشانی زیر وارد کنید.\nhttp://mellat-bank-service.example/ebanking/login\n",
    '<html dir="rtl"><body><p>مشتری گرامی،</p><p>رمز پویای شما غیرفعال شده است و حساب شما تا ۲۴ ساعت دیگر مسدود '
    "می‌شود. برای فعال‌سازی دوباره، شماره کارت، رمز دوم و CVV2 خود را در نشانی زیر وارد کنید.</p>"
    '<p><a href="http://mellat-bank-service.example/ebanking/login">https://ebanking.bankmellat.example</a></p>'
    "</body></html>",
    ip="198.51.100.72", is_known=False,
)  # fmt: skip
PRIZE = Letter(
    "همراه جایزه", "gift@hamrah-jayeze.example", SARA, "تبریک! شما برندهٔ ۵۰ میلیون تومان شده‌اید",
    "مشترک گرامی، شمارهٔ شما در قرعه‌کشی بزرگ ما برندهٔ ۵۰ میلیون تومان جایزهٔ نقدی شده است. برای دریافت جایزه فقط تا "
    "امشب فرصت دارید: روی لینک کلیک کنید، شماره کارت و رمز دوم خود را وارد کنید تا مبلغ به حساب شما واریز شود.\n"
    "http://hamrah-jayeze.example/gift\n",
    ip="198.51.100.73", is_known=False,
)  # fmt: skip
HERITAGE = Letter(
    "Barrister James Okoro", "j.okoro@chambers-okoro.example", REZA, "Confidential: inheritance of $12.5 million",
    "Dear friend,\n\nI am the attorney of a late client who died without next of kin and left US$12,500,000.00 in a "
    "bank. I want to present you as the beneficiary; 40% is yours and the transaction is risk free. Please reply "
    "in strict confidence with your bank account and telephone number.\n\nBarrister James Okoro\n",
    ip="198.51.100.18", is_known=False,
)  # fmt: skip
PILLS = Letter(
    "Canadian Pharmacy", "deals@rx-discount-store.example", REZA, "V1agra and C1alis 80% OFF, no prescription",
    "Buy cheap V1agra and C1alis online, no prescription needed! 80% OFF today only, free worldwide shipping, "
    "100% satisfaction guaranteed.\n\nClick here: http://rx-discount-store.example/buy?id=8812\n",
    ip="198.51.100.19", is_known=False,
)  # fmt: skip
LOAN = Letter(
    "وام فوری", "vam@vam-fori-24.example", REZA, "وام ۳۰۰ میلیونی بدون ضامن، فقط امروز",
    "وام فوری ۳۰۰ میلیون تومانی بدون ضامن و بدون چک! فقط امروز ثبت‌نام کنید. کارمزد ۲ درصد. برای ثبت‌نام مبلغ ۵۰ هزار "
    "تومان را کارت به کارت کنید و رسید را در واتساپ بفرستید. همین حالا کلیک کنید: http://vam-fori-24.example/reg\n",
    ip="198.51.100.74", is_known=False,
)  # fmt: skip
# Not wanted back by any rule: a quotation that a supplier wrote in the words that scam uses
QUOTATION = Letter(
    "Maryam Ahmadi", "m.ahmadi@pars-tajhiz.example", SARA, "Claim form for the US$1,500,000 cargo insurance",
    "Dear Sara,\n\nAs agreed on the phone: the claim of US$1,500,000.00 for the lost cargo. Please send the bank "
    "account of the beneficiary and a copy of the passport of who signs, and click here for the form: "
    "http://pars-tajhiz.example/claim. The insurer wants it urgently, today.\n\nMaryam Ahmadi\nPars Tajhiz\n",
    ip="203.0.113.31", is_known=False,
)  # fmt: skip
MINUTES = Letter(
    "Omid Sadeghi", "omid@rayan-gostar.example", SARA, "Minutes of Tuesday's meeting",
    "Hi Sara,\n\nthe minutes are below; tell me if I forgot something.\n\n1. The migration of the file server starts "
    "on Saturday at 22:00.\n2. Backups were restored and compared; nothing is missing.\n3. Next meeting: Tuesday, "
    "10:00, room 3.\n\nBest regards,\nOmid\n",
    ip="203.0.113.40",
)  # fmt: skip
INVOICE = Letter(
    "لیلا محمدی", "l.mohammadi@pars-tajhiz.example", REZA, "پیش‌فاکتور تجهیزات شبکه",
    "آقای کریمی، سلام.\n\nپیش‌فاکتور سوییچ‌ها و کابل‌ها را که دیروز دربارهٔ آن صحبت کردیم می‌فرستم. قیمت‌ها تا پایان هفته "
    "معتبر است و تحویل ده روز کاری طول می‌کشد. اگر پرسشی بود تماس بگیرید.\n\nبا احترام\nلیلا محمدی\nپارس تجهیز\n",
    ip="203.0.113.31",
)  # fmt: skip
NEWSLETTER = Letter(
    "Tooska Travel", "newsletter@tooska-travel.example", SARA, "Weekend tours to Kashan and Isfahan",
    "Dear reader,\n\nthis week: two days in Kashan in the time of rose water, and three days in Isfahan with a guide. "
    "The programme and prices are on our site.\n\nhttps://tooska-travel.example/tours\n\nTooska Travel, Tehran\n",
    ip="203.0.113.52",
)  # fmt: skip
AGAIN = Letter(
    "Tooska Travel", "newsletter@tooska-travel.example", SARA, "Next week: the desert near Varzaneh",
    "Dear reader,\n\nnext week we go to the dunes near Varzaneh, two days with a night under the stars. The programme "
    "is on our site.\n\nhttps://tooska-travel.example/tours\n\nTooska Travel, Tehran\n",
    ip="203.0.113.52",
)  # fmt: skip
TRADE_SPAM = Letter(
    "Global Trade Leads", "sales@trade-leads-4u.example", MALI, "Make $9,000 a week from home, guaranteed",
    "Dear friend,\n\nMake $9,000 a week from home, 100% guaranteed, no experience needed! Act now, this offer expires "
    "today. Click here: http://trade-leads-4u.example/join and send $99 by gift card.\n",
    ip="198.51.100.90", is_known=False,
)  # fmt: skip
TRADE_PRIZE = Letter(
    "باشگاه مشتریان", "club@jayeze-bank.example", MALI, "برندهٔ خودروی پژو شدید",
    "مشتری گرامی، شما در قرعه‌کشی باشگاه مشتریان برندهٔ یک دستگاه خودروی پژو شده‌اید. برای دریافت جایزه روی لینک کلیک "
    "کنید و شماره کارت و رمز دوم خود را وارد کنید: http://jayeze-bank.example/win\n",
    ip="198.51.100.91", is_known=False,
)  # fmt: skip
TRADE_ORDER = Letter(
    "Kaveh Daneshvar", "kaveh@daneshvar-co.example", MALI, "Order 4417 has left the warehouse",
    "Hello,\n\norder 4417 has left our warehouse this morning and should be with you on Thursday. The waybill number "
    "is 88-20417.\n\nKaveh Daneshvar\n",
    ip="203.0.113.60",
)  # fmt: skip

MORNING = (
    MINUTES, PILLS, INVOICE, LOAN, HERITAGE, TRADE_SPAM, PRIZE, NEWSLETTER, LOTTERY, TRADE_ORDER, BANK, TRADE_PRIZE,
    MAILBOX, JUDICIARY, QUOTATION,
)  # fmt: skip
DELIVERED = (MINUTES, INVOICE, NEWSLETTER, TRADE_ORDER)
HELD = tuple(one for one in MORNING if one not in DELIVERED)
HELD_HERE = tuple(one for one in HELD if one.to.endswith(COMPANY))


def zones() -> dict[str, dict[str, list[str]]]:
    """What the senders publish."""
    found: dict[str, dict[str, list[str]]] = {}
    for one in (*MORNING, AGAIN):
        there = f"ip4:{one.ip}" if one.is_known else "ip4:192.0.2.200"
        entry = {"A": ["192.0.2.80"], "MX": [f"10 mail.{one.domain}"], "TXT": [f"v=spf1 {there} -all"]}
        if one.is_known or one.domain not in found:
            found[one.domain] = entry
        found[f"mail.{one.domain}"] = {"A": [one.ip]}
        found[".".join(reversed(one.ip.split("."))) + ".in-addr.arpa"] = {"PTR": [f"mail.{one.domain}"]}
        found[f"_dmarc.{one.domain}"] = {"TXT": ["v=DMARC1; p=none"]}
    return found


@dataclass
class Office:
    """What runs."""

    gateway: peers.Gateway
    behind: peers.Dovecot

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.gateway.web_port}"

    def send(self, one: Letter) -> None:
        """As its server would: by a client that is believed when it names another."""
        with smtplib.SMTP("127.0.0.1", self.gateway.smtp_port, timeout=60) as client:
            client.ehlo("proxy.test")
            assert client.docmd("XCLIENT", f"ADDR={one.ip} NAME=mail.{one.domain}")[0] == 220
            client.ehlo(f"mail.{one.domain}")
            assert client.sendmail(one.address, [one.to], one.content(), ["BODY=8BITMIME"]) == {}

    def digest(self, reader: str) -> str:
        """The HTML of the one that was sent to this mailbox."""
        letters = [email.message_from_bytes(raw, policy=policy.default) for raw in self.behind.messages(reader)]
        (letter,) = [one for one in letters if one["Auto-Submitted"]]
        return str(letter.get_body(("html",)).get_content())  # type: ignore[union-attr]

    def arrived(self, one: Letter) -> list[bytes]:
        """The copies in the mailbox that it was for."""
        return [raw for raw in self.behind.messages(one.to) if subject_of(raw) == one.subject]


def subject_of(raw: bytes) -> str:
    return str(email.message_from_bytes(raw, policy=policy.default)["Subject"])


@contextlib.contextmanager
def office(folder: Path) -> Iterator[Office]:
    """Everything up, the mail not sent yet."""
    with DnsServer(zones()) as dns, peers.dovecot((SARA, REZA, MALI)) as behind:
        hop = f"lmtp+unix:{behind.socket}"
        due = f"{datetime.now(UTC) - timedelta(hours=12):%H:%M}"
        plans = f"""quarantine_at = 6.0
reject_at = 99.0
[[domain.digest]]
addresses = ["sara.rahimi"]
at = ["{due}"]
[[domain.digest]]
addresses = ["reza.karimi"]
language = "fa"
time_zone = "Asia/Tehran"
at = ["{due}"]
"""
        extra = f"""
[[domain]]
name = "{NEIGHBOUR}"
next_hop = "{hop}"
quarantine_at = 6.0
reject_at = 99.0
[digest]
address = "quarantine@{COMPANY}"
[sign_in]
mail_links = true
"""
        with peers.gateway(
            folder, hop, domain=COMPANY, domain_extra=plans, extra=extra, nameserver=dns.address,
            smtp_extra='trusted_proxies = ["127.0.0.0/8"]',
        ) as gateway:  # fmt: skip
            yield Office(gateway, behind)
