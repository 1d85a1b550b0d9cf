"""What is fuzzed: name -> what must not fail for any bytes, and bytes to begin with."""

from __future__ import annotations

import asyncio
import tempfile
import zlib
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import replace
from ipaddress import ip_address
from pathlib import Path
from typing import NamedTuple

import authres

from gateway.actions.annotate import annotate
from gateway.auth import arc
from gateway.auth.author import read_author
from gateway.auth.dmarc_record import POLICIES, is_record, parse_record
from gateway.auth.identity import Person, make_identity
from gateway.auth.key import Conclusion
from gateway.auth.lookalike import Lookalikes
from gateway.auth.seal import Sealer
from gateway.checks import make_checks
from gateway.config.settings import Milter, Smtp
from gateway.errors import ConfigError, DarbanError, InputError
from gateway.listeners import proxy, spamd_codec
from gateway.listeners.budget import Budget
from gateway.listeners.command import is_relay_trick, parse_bdat, parse_helo, parse_path
from gateway.listeners.content import receive
from gateway.listeners.input import Input
from gateway.listeners.milter_codec import Decoder, ProtocolError, packet
from gateway.listeners.milter_session import Leave, Session
from gateway.listeners.rspamd import read_envelope
from gateway.listeners.scan_envelope import scan_envelope
from gateway.mail import decode_body, parse
from gateway.mail.authentication_results import may_be_of
from gateway.mail.authentication_results import parse as parse_results
from gateway.mail.author_field import address_of, peek_author
from gateway.mail.confusable import skeleton
from gateway.mail.delivered import read_delivered
from gateway.mail.domain import to_a_label
from gateway.mail.edit import edit_header, inbound_field_to_strip, to_crlf
from gateway.mail.handover import read_handover, without_handover
from gateway.mail.html import render
from gateway.mail.person_name import spellings
from gateway.mail.resinfo import read as read_resinfo
from gateway.mail.seven_bit import encode_bodies, encode_header
from gateway.mail.summary import summarise
from gateway.net.dns_wire import TYPES, read_reply, write_query
from gateway.rules import expression
from gateway.rules.reader import read
from gateway.scan.change import Case, make, possible
from gateway.types import Client, Delivery, Filtered, Hit, MailObject, Message, Outcome, Reply
from tests import milter_mta
from tests.arc_chain import LIST, SCHOOL, chain
from tests.builders import envelope, recipient, verdict
from tests.dkim_keys import ed25519_key
from tests.fuzz.test_mail_fuzz import DICTIONARY, SEEDS
from tests.smtp_input import read_message

ROOT = Path(__file__).parent.parent.parent
_KNOWING = make_checks(
    make_identity(
        own=["example.ir", "yourdomain.com"],
        partners=["supplier.example"],
        freemail=["gmail.com"],
        people=[Person("Sara Rahimi", "s.rahimi@example.ir")],
    )
)
_SEALER = Sealer("example.ir", "s1", ed25519_key())
CRASHES = Path(__file__).parent / "crashes"


class Target(NamedTuple):
    run: Callable[[bytes], None]
    seeds: Callable[[], Iterable[bytes]]
    max_bytes: int = 4096


def mail(content: bytes) -> None:
    """Invariant: any bytes give a Message that can be written; an edit keeps the body; its author is read alike; what is
    put on top at delivery comes off again."""
    parsed = parse(content)
    for part in parsed.parts:
        decode_body(part)
    (parsed.text + parsed.hidden_text + parsed.subject).encode()
    assert len(set(parsed.links)) == len(parsed.links)
    summarise(parsed)
    author = read_author(parsed)
    assert bool(author.domain) != bool(author.problem)
    edited = edit_header(
        content, lambda name, raw: inbound_field_to_strip(name, raw, "mx.example.ir"), [b"X-New: x\r\n"]
    )
    again = parse(edited)
    assert again.raw[again.body_offset :] == content[parsed.body_offset :]
    assert len(parse(to_crlf(content)).fields) == len(parsed.fields)
    for encode in (encode_bodies, encode_header):
        seven = encode(to_crlf(content))
        assert seven is None or to_crlf(seven) == seven
    if len(content) < 60_000:
        assert peek_author(content) in ("", address_of(parsed.author))
    read_delivered(content, "mx.darban.test")
    found = read_delivered(annotate(envelope(), content, verdict(1.0), [recipient()], 5.0), "mx.darban.test")
    assert found is not None
    assert found.content.endswith(to_crlf(content[parsed.body_offset :]))


def change(content: bytes) -> None:
    """Invariant: any message can be judged without what stands in it: a change is made whole, or not at all."""
    case = Case(envelope(), content, (), ())
    before = parse(content)
    hits = (Hit("DATE_INVALID", 1.0, "", (before.text[:20],)), Hit("MESSAGE_ID_INVALID", 1.0, ""))
    for one in possible(case, verdict(2.0, hits=hits)):
        made = make(case, one)
        if made is not None:
            after = parse(made.content)
            assert len(after.parts) in (len(before.parts), len(before.parts) - (one.kind == "attachment"))
            assert one.kind != "link" or one.value not in {*possible_links(after)}
            assert len(after.text) <= len(before.text) or one.kind not in ("link", "passage")


def possible_links(message: Message) -> Iterable[str]:
    return (made.value for made in possible(Case(envelope(), message.raw, (), ()), verdict()) if made.kind == "link")


def html(content: bytes) -> None:
    """Invariant: any text is rendered, without NUL and with links that lead somewhere."""
    found = render(content.decode("utf-8", "replace"))
    assert "\0" not in found.text + found.hidden_text
    assert all(link.url for link in found.links)


def rules(content: bytes) -> None:
    """Invariant: any file is read, what is not understood is a problem with its place; or it is refused by name."""
    with tempfile.TemporaryDirectory() as folder, suppress(ConfigError):
        file = Path(folder) / "fuzz.cf"
        file.write_bytes(content)
        for problem in read([file]).problems:
            str(problem)


def expressions(content: bytes) -> None:
    """Invariant: an expression is read and evaluated to a number, or refused by name."""
    try:
        node = expression.parse(content.decode("utf-8", "replace"))
    except (DarbanError, ValueError):
        return
    names = expression.names(node)
    for value in (0.0, 1.0, -2.5):
        float(expression.evaluate(node, dict.fromkeys(names, value)))


def smtp_commands(content: bytes) -> None:
    """Invariant: what is taken for a path can be written down, and read again, as the same; never a second command."""
    text = content.decode("utf-8", "surrogateescape")
    parse_helo(text)
    parse_bdat(text)
    for keyword, argument in (("FROM", text), ("TO", f"TO:<{text}>"), ("TO", f"TO:<a@{text}>")):
        path = parse_path(argument, keyword)
        if path is None or not path.domain:
            continue
        assert not set("\r\n\0") & set(path.address)
        again = parse_path(f"{keyword}:<{path.address}>", keyword)
        assert again is not None, path
        assert (again.local, again.domain) == (path.local, path.domain)
        assert is_relay_trick(path) or not set("%!@") & set(path.local)


def smtp_input(content: bytes) -> None:
    """Invariant: a message is the same in one piece and in pieces, and no more of it than one goes on."""

    async def message(size: int) -> tuple[bytes | None, int]:
        pieces = [content[start : start + size] for start in range(0, len(content), size)]

        async def read(_: int) -> bytes:
            return pieces.pop(0) if pieces else b""

        source = Input(read)
        try:
            found = await read_message(source, 1 << 16)
        except ConnectionResetError:
            return None, 0
        return found, len(source) + sum(map(len, pieces))

    whole, left = asyncio.run(message(len(content) or 1))
    assert asyncio.run(message(1 + len(content) % 7)) == (whole, left)
    if whole is not None:
        even = receive(whole, Smtp()).content
        assert not {b"\r", b"\n"} & {bytes([octet]) for octet in even.replace(b"\r\n", b"")}
        assert b"\0" not in even


def identity(content: bytes) -> None:
    """Invariant: any From field and any host are looked at; a protected domain is never a likeness."""
    text = content.decode("utf-8", "replace")
    message = parse(b"From: " + content + b"\r\nReply-To: " + content + b"\r\n\r\nhttp://" + content)
    for check in _KNOWING:
        for finding in check.check(MailObject(envelope(), message)):
            " ".join(finding.evidence).encode()
    assert skeleton(skeleton(text[:60])) == skeleton(text[:60])
    label = to_a_label(text)
    assert not label or Lookalikes([label]).find(label) is None
    list(spellings(text))


def results(content: bytes) -> None:
    """Invariant: any Authentication-Results is read, as authres reads it or not at all; what it takes for ours is ours."""
    value = content.decode("utf-8", "replace")
    ours = parse_results(value)[1]
    is_taken = may_be_of(value, ["mx.example.ir"], ["bank.example"])
    try:
        theirs = authres.AuthenticationResultsHeader.parse_value(value.replace("\r", "").replace("\n", ""))
    except Exception:
        return
    claimed = str(theirs.authserv_id).lower()
    named = [one for one in theirs.results if hasattr(one, "method")]
    assert ours in ((), tuple((str(one.method).lower(), str(one.result).lower()) for one in named))
    assert is_taken or (claimed != "mx.example.ir" and not f".{claimed}".endswith(".bank.example"))


def resinfo(content: bytes) -> None:
    """Invariant: any results are read or refused whole; where authres reads them too, they are the same."""
    value = content.decode("utf-8", "replace")
    found = read_resinfo(value)
    if found is None:
        return
    try:
        theirs = authres.AuthenticationResultsHeader.parse_value(value).results
    except Exception:
        return
    said = [(str(one.method).lower(), str(one.result).lower()) for one in theirs if hasattr(one, "method")]
    assert [(one.method, one.result) for one in found] == said


def arc_chain(content: bytes) -> None:
    """Invariant: any fields are sets in order or the reason why not; a set of ours goes on top whole, or not at all."""
    message = parse(content)
    sets = arc.collect({name: [one.raw for one in message.by_name.get(name, ())] for name in arc.FIELDS})
    assert isinstance(sets, Conclusion) or len(sets) == len(message.by_name.get("arc-seal", ()))
    relayed = annotate(envelope(), content, verdict(), [], 5.0)
    for result in ("none", "pass", "fail"):
        sealed = _SEALER.seal(relayed, "mx.example.ir; none", result, 1.0)
        assert sealed.endswith(relayed)
        assert len(parse(sealed).fields) - len(parse(relayed).fields) in (0, 3)


def dns(content: bytes) -> None:
    """Invariant: whatever stands behind a question, it is read as a reply or as none, with names that can be written."""
    flags, rest = content[:2].ljust(2, b"\0"), content[2:]
    head = b"\x12\x67" + flags + b"\0\1\0" + rest[:1].ljust(1, b"\0") + b"\0" + rest[1:2].ljust(1, b"\0") + b"\0\0"
    for rdtype in TYPES:
        question = write_query(0x1267, "example.org", rdtype, has_edns=False)[12:]
        reply = read_reply(head + question + rest[2:], 0x1267, "example.org", rdtype)
        if reply is not None:
            assert reply.answer.status != "noerror" or reply.answer.records
            assert all(isinstance(one, bytes) or one.isprintable() for one in reply.answer.records)
            assert 0 <= reply.answer.ttl_s < 1 << 31


def dmarc(content: bytes) -> None:
    """Invariant: any bytes are a record with a policy, or none; reports go to addresses that can stand in SMTP."""
    record = parse_record(content)
    assert (record is not None) is is_record(content)
    if record is None:
        return
    assert {record.policy, record.subdomain_policy, record.nonexistent_policy} <= {"", *POLICIES}
    assert record.psd in "ynu"
    assert 0 <= record.percent <= 100
    for address, _ in record.reports_to:
        assert address.isascii() and address.isprintable() and not set(address) & set(' <>,"\\')


class _AllOurs:
    """Everybody is judged for."""

    def is_ours(self, domain: str) -> bool:
        return True

    def admit(self, client: Client, reverse_path: str) -> None:
        return None

    def count_recipient(self, client: Client) -> None:
        return None


async def _milter_says(pieces: Iterable[bytes]) -> list[bytes | tuple[bytes, str, int]]:
    budget = Budget(1 << 30, 1 << 30, 200, None)
    session, decoder = Session(Milter(), 1000, "mx.darban.test", _AllOurs(), budget), Decoder()
    said: list[bytes | tuple[bytes, str, int]] = []
    try:
        for piece in pieces:
            for event in decoder.feed(piece):
                answer = session.take(event)
                await session.flush()
                assert budget.held <= 200 and budget.spooled <= 1000
                if isinstance(answer, bytes):
                    said.append(answer)
                    continue
                content = await answer.content.whole() or b""
                assert b"\r\n" in content and len(content) <= 1000
                answer.content.close()
                said.append((content, answer.envelope.reverse_path, len(answer.envelope.recipients)))
                taken = tuple(Delivery(one, "accept", Reply(250, "", ""), "") for one in answer.envelope.recipients)
                judged = Filtered(Outcome("ID", Reply(250, "", ""), taken, verdict()), 5.0)
                said.append(session.answer(judged, (b"X-A: b\r\n",)))
    except ProtocolError:
        said.append(b"no milter")
    except Leave:
        said.append(b"left")
    session.forget()
    assert (budget.held, budget.spooled) == (0, 0)
    for answer in said:
        if isinstance(answer, bytes) and answer not in (b"no milter", b"left"):
            milter_mta.answers(answer)
    return said


def milter(content: bytes) -> None:
    """Invariant: any bytes of an MTA give whole packets and messages within the limit, or one error; however they are
    cut; and nothing is left in memory. Seen as packets too: the fuzzer need not find lengths."""
    framed = b"".join(packet(one[:1], one[1:]) for one in content.split(b"\xff") if one)
    for raw in (content, milter_mta.negotiate() + framed):
        cut = asyncio.run(_milter_says(raw[at : at + 1] for at in range(len(raw))))
        assert asyncio.run(_milter_says([raw])) == cut


_OWNER = b"\xc0\x0c"
_MX = _OWNER + b"\0\x0f\0\1\0\0\0\x3c\0\7\0\x0a\2mx\xc0\x0c"
_ALIAS = _OWNER + b"\0\5\0\1\0\0\0\x3c\0\4\1a\xc0\x0c"
_TXT = _OWNER + b"\0\x10\0\1\0\0\0\x3c\0\6\2ab\2cd"
_SOA = _OWNER + b"\0\6\0\1\0\0\0\x3c\0\x18" + _OWNER + _OWNER + bytes(20)


def proxies(content: bytes) -> None:
    """Invariant: any bytes are a PROXY header, the beginning of one, or refused; what names a client names an address,
    and takes no byte that is not there. So for XCLIENT and XFORWARD."""
    with suppress(proxy.ProxyError):
        found = proxy.parse_header(content)
        if found is not None:
            assert 0 < found[1] <= len(content)
            assert found[0] is None or (ip_address(found[0][0]) and 0 <= found[0][1] < 65_536)
    text = content.decode("utf-8", "surrogateescape").strip()
    for said in (proxy.parse_xclient(text), proxy.parse_xforward(text)):
        if said is not None:
            seen = proxy.as_named(Client("192.0.2.1", helo="x"), proxy.joined(proxy.NOBODY, said))
            assert ip_address(seen.ip)
            assert seen.helo.isprintable() and len(seen.helo) <= 255
            assert seen.protocol in ("SMTP", "ESMTP")


def spamd(data: bytes) -> None:
    """Bytes are a request of bounded size or a ProtocolError, the same whole and byte by byte, and can be forwarded."""
    whole, single = _spamd(data, len(data) or 1), _spamd(data, 1)
    assert whole == single
    if isinstance(whole, spamd_codec.Request):
        assert len(whole.content) <= _SPAMD_LIMIT
        arrived = _spamd(spamd_codec.pack_request(whole), 7)
        assert isinstance(arrived, spamd_codec.Request)
        assert (arrived.command, arrived.content) == (whole.command, whole.content)
        rspamd_envelope(whole.fields)
        spamd_codec.answer(whole, 5.0, 5.0, b"x")


_SPAMD_LIMIT = 4096


def _spamd(data: bytes, step: int) -> spamd_codec.Request | tuple[int, str]:
    reader, content = spamd_codec.Reader(_SPAMD_LIMIT), bytearray()
    try:
        for place in range(0, len(data), step):
            for piece in reader.feed(data[place : place + step]):
                content += piece
            assert reader.size_bytes <= (1 << 16) + step and len(content) <= _SPAMD_LIMIT
            if reader.is_whole:
                break
        else:
            reader.finish()
        return replace(reader.request, content=bytes(content))
    except spamd_codec.ProtocolError as error:
        assert spamd_codec.failure(error.code, error.text).endswith(b"\r\n")
        return error.code, error.text


def rspamd_envelope(fields: tuple[tuple[str, str], ...]) -> None:
    """Fields tell an envelope, or are refused in one line."""
    with suppress(InputError):
        found = read_envelope(fields, "mx.example.ir")
        assert all("@" in one.address for one in found.recipients)


def handover(data: bytes) -> None:
    """Whatever stands above it, what came in is an end of the content; taken off twice is taken off once or more."""
    found = read_handover(data)
    assert data.endswith(found.content)
    assert data.endswith(without_handover(data, found.client_ip))
    scan_envelope("mx.example.ir", client_ip=found.client_ip, helo=found.helo, reverse_path=found.reverse_path)


TARGETS: dict[str, Target] = {
    "proxy": Target(
        proxies,
        lambda: [
            b"PROXY TCP4 192.0.2.7 127.0.0.1 4711 25\r\n",
            b"PROXY TCP6 2001:db8::7 ::1 4711 25\r\nEHLO x\r\n",
            b"PROXY UNKNOWN\r\n",
            b"\r\n\r\n\0\r\nQUIT\n\x21\x11\0\x0c" + bytes(range(12)),
            b"\r\n\r\n\0\r\nQUIT\n\x21\x21\0\x29" + bytes(range(36)) + b"\4\0\2ab",
            b"NAME=a.test ADDR=IPV6:2001:db8::7 PORT=25 PROTO=ESMTP HELO=a+2Eb LOGIN=[UNAVAILABLE]",
            b"IDENT=4F1 SOURCE=REMOTE ADDR=192.0.2.7 HELO=[TEMPUNAVAIL]",
        ],
        300,
    ),
    "spamd": Target(
        spamd,
        lambda: [
            b"PROCESS SPAMC/1.5\r\nUser: reza\r\nContent-length: 14\r\n\r\nSubject: x\n\nhi",
            b"TELL SPAMC/1.3\r\nMessage-class: spam\r\nSet: local,remote\r\n\r\nSubject: x\n\nhi",
            b"CHECK SPAMC/1.5\nCompress: zlib\n\n" + zlib.compress(b"Subject: x\n\nhi"),
            b"CHECK RSPAMC/1.3\r\nContent-length: 2\r\nIP: 192.0.2.1\r\nFrom: <a@b.ir>\r\nRcpt: <c@d.ir>, e@f.ir\r\n\r\nhi",
            b"PING SPAMC/1.2\r\n",
        ],
    ),
    "handover": Target(
        handover,
        lambda: [
            b"Return-Path: <a@b.ir>\r\nReceived: from x (y [192.0.2.1])\r\n\tby z (Postfix) with ESMTP id 1\r\n\tfor <c@d.ir>; d\r\n\r\n",
            b"From a@b.ir Fri\nX-Envelope-To: c@d.ir, e@f.ir\nReceived: from [192.0.2.1] (helo=x) by z (envelope-from <a@b.ir>) for c@d.ir; d\n\n",
            *SEEDS,
        ],
    ),
    "arc": Target(arc_chain, lambda: [chain(LIST), chain(SCHOOL, LIST), b"", b"ARC-Seal: i=1; cv=fail\r\n\r\n"]),
    "resinfo": Target(
        resinfo,
        lambda: [
            b"mx.example 1; spf=pass (a (b)) smtp.mailfrom=x@a.example; dmarc=pass action=none header.from=a.example",
            b'mx.example; dkim=fail reason="not; ours" header.i=@a.example header.b="a/b="; none',
        ],
    ),
    "dns": Target(
        dns,
        lambda: [
            b"\x81\x80\2\0" + _MX + _ALIAS,
            b"\x81\xa0\2\1" + _ALIAS + _TXT + _SOA,
            b"\x81\x83\0\1" + _SOA,
            b"\x83\x80\0\0",
        ],
        512,
    ),
    "dmarc": Target(
        dmarc,
        lambda: [
            b"v=DMARC1; p=reject; sp=quarantine; np=none; rua=mailto:a%2Bb@example.org!10m,https://x.example/; t=y",
            b"v = DMARC1;P=none;adkim=s;aspf=r;fo=1:d:s;ruf=mailto:x@example.org;psd=n;pct=30;ri=86400",
        ],
        400,
    ),
    "milter": Target(
        milter,
        lambda: [
            b"".join(
                one for one in (milter_mta.negotiate(), milter_mta.connect(), milter_mta.mail(), milter_mta.rcpt())
            ),
            b"\xff".join(
                one[4:]
                for one in (
                    milter_mta.macros("C", j="a"),
                    milter_mta.connect("2001:db8::1"),
                    milter_mta.helo(),
                    milter_mta.mail("<a@b.example>", "SMTPUTF8"),
                    milter_mta.rcpt(),
                    milter_mta.DATA,
                    *milter_mta.content(b"X-Spam-Flag: NO\r\nSubject: a\r\n b\r\n\r\nbody\r\n"),
                    milter_mta.ABORT,
                    milter_mta.NEW_CONNECTION,
                    milter_mta.local_client(),
                    milter_mta.mail(),
                    milter_mta.QUIT,
                )
            ),
        ],
        2000,
    ),
    "mail": Target(mail, lambda: (*SEEDS, *DICTIONARY)),
    "change": Target(change, lambda: (*SEEDS, *DICTIONARY)),
    "results": Target(
        results,
        lambda: [
            b' mx.example.ir 1; spf=pass (c) reason="x" smtp.mailfrom=a@b.example; dkim=fail header.b="a/b="; none',
            b'(a(b\\)) "mx.example.ir"; iprev=pass policy.iprev="2001:db8::1"; dmarc=pass header.from=bank.example',
        ],
        400,
    ),
    "html": Target(html, lambda: [SEEDS[1], b"<noscript><p>x</noscript><svg><style>a</style></svg><table><a href=x>y"]),
    "rules": Target(
        rules, lambda: [chunk.encode() for file in (ROOT / "rules").glob("*.cf") for chunk in _parts(file.read_text())]
    ),
    "identity": Target(
        identity,
        lambda: [
            "=?utf-8?B?2LPYp9ix2Kc=?= رحیمی <sara@examp1e.ir>".encode(),
            b'"Dr. Sara Rahimi (finance)" <office@yourdornain-login.example.ir.com>',
            "Sаra\u200b ｒahimi\u202e @ xn--80ak6aa92e.com".encode(),
        ],
        400,
    ),
    "smtp_commands": Target(
        smtp_commands,
        lambda: [
            b'FROM:<@a.example,@b.example:"s \\" ara"@example.org> SIZE=10 BODY=8BITMIME SMTPUTF8',
            "<سارا@نمونه.example>".encode(),
            b"a@[IPv6:2001:db8::1]",
            b"100 LAST",
        ],
        400,
    ),
    "smtp_input": Target(
        smtp_input, lambda: [b"a\r\n..b\n.\n\r.\r\0\n.\r\n\r\n.\r\nQUIT\r\n", b".\r\n", b"\r\n.\r\n.\r\n"], 400
    ),
    "expression": Target(expressions, lambda: [b"A && !(B || C) > 2 + 3 * -D", b"(A + B + C >= 2) && D == 1"], 400),
}


def _parts(text: str) -> list[str]:
    return text.split("\n\n")[:200]
