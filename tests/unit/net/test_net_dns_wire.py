"""gateway.net.dns_wire: as dnspython reads and writes; any bytes give an answer or none."""

from __future__ import annotations

import time

import dns.flags
import dns.message
import dns.name
import dns.rcode
import dns.rdataclass
import dns.rdatatype
import dns.rdtypes.ANY.PTR
import dns.rdtypes.ANY.TXT
import dns.rrset
import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.net.dns import canonical_name
from gateway.net.dns_wire import MAX_BYTES, MAX_RECORDS, TYPES, Reply, read_reply, write_query
from gateway.types import DnsAnswer

NAME, NUMBER = "www.example.org", 4711
RECORDS = {
    "A": ("192.0.2.1",),
    "AAAA": ("2001:db8::1",),
    "NS": ("ns.example.org.",),
    "CNAME": ("other.example.org.",),
    "PTR": ("mail.example.org.",),
    "MX": ("10 mx.example.org.",),
    "TXT": ('"one" "two"',),
    "TLSA": ("3 1 0 0a0b",),
}
EXPECTED = {"TXT": (b"onetwo",), "TLSA": (b"\3\1\0\x0a\x0b",)}


def packet(
    *sections: tuple[dns.rrset.RRset, ...], rdtype: str = "A", name: str = NAME, flags: int = 0, code: int = 0
) -> bytes:
    """What dnspython would answer: (answer, authority)."""
    query = dns.message.from_wire(write_query(NUMBER, name, rdtype))
    reply = dns.message.make_response(query, recursion_available=True)
    for place, section in zip((reply.answer, reply.authority), sections, strict=False):
        place.extend(section)
    reply.flags |= flags
    reply.set_rcode(code)
    return reply.to_wire(max_size=65_535)


def rrset(name: str, ttl_s: int, rdtype: str, *texts: str) -> dns.rrset.RRset:
    return dns.rrset.from_text(name + ".", ttl_s, "IN", rdtype, *texts)


def soa(ttl_s: int, minimum_s: int) -> tuple[dns.rrset.RRset]:
    return (rrset("example.org", ttl_s, "SOA", f"ns.example.org. host.example.org. 1 2 3 4 {minimum_s}"),)


@pytest.mark.parametrize("rdtype", TYPES)
def test_records_of_each_type(rdtype: str) -> None:
    wire = packet((rrset(NAME, 60, rdtype, *RECORDS[rdtype]),), rdtype=rdtype)
    reply = read_reply(wire, NUMBER, NAME, rdtype)
    assert reply == Reply(DnsAnswer("noerror", EXPECTED.get(rdtype, RECORDS[rdtype]), 60))


def test_a_query_is_what_dnspython_reads() -> None:
    query = dns.message.from_wire(write_query(NUMBER, NAME, "MX"))
    assert (query.id, query.flags, query.edns, query.payload) == (NUMBER, dns.flags.RD | dns.flags.AD, 0, 1232)
    assert str(query.question[0]) == f"{NAME}. IN MX"
    assert dns.message.from_wire(write_query(NUMBER, NAME, "MX", has_edns=False)).edns == -1
    assert dns.message.from_wire(write_query(NUMBER, "", "NS")).question[0].name == dns.name.root


@pytest.mark.parametrize(
    ("sections", "options", "reply"),
    [
        (((), soa(300, 60)), {}, Reply(DnsAnswer("nodata", ttl_s=60))),
        (((), soa(30, 60)), {"code": 3}, Reply(DnsAnswer("nxdomain", ttl_s=30))),
        (((), ()), {"code": 3}, Reply(DnsAnswer("nxdomain"))),
        (((), soa(30, 0)), {"code": 3}, Reply(DnsAnswer("nxdomain"))),
        (((), ()), {"code": 2}, Reply(DnsAnswer("servfail"))),
        (((), ()), {"code": 5}, Reply(DnsAnswer("refused"))),
        (((), ()), {"code": 1}, Reply(DnsAnswer("servfail"), is_unsure_of_edns=True)),
        (((), ()), {"code": 9}, Reply(DnsAnswer("servfail"))),
        (((), ()), {"flags": dns.flags.TC}, Reply(DnsAnswer("servfail"), is_truncated=True)),
        (((rrset(NAME, 9, "A", "192.0.2.1"),),), {"flags": dns.flags.AD}, Reply(DnsAnswer("noerror", ("192.0.2.1",), 9, True))),
        # aliases: the least TTL on the way; records beside the way are not taken
        (
            ((rrset(NAME, 9, "CNAME", "a.example."), rrset("a.example", 5, "CNAME", "b.example."), rrset("b.example", 7, "A", "192.0.2.3")),),
            {},
            Reply(DnsAnswer("noerror", ("192.0.2.3",), 5), is_alias=True),
        ),
        (((rrset("other.example", 9, "A", "192.0.2.6"),),), {}, Reply(DnsAnswer("nodata"))),
        (((rrset(NAME, 9, "CNAME", "a.example."),), soa(300, 60)), {"code": 3}, Reply(DnsAnswer("nxdomain", ttl_s=9), is_alias=True)),
        (((rrset(NAME, 9, "CNAME", f"{NAME}."),),), {}, Reply(DnsAnswer("nodata"), is_alias=True)),
        (((), (rrset("example.org", 9, "NS", "ns.example."),)), {}, Reply(DnsAnswer("nodata"))),
    ],
)  # fmt: skip
def test_what_an_answer_means(sections: tuple, options: dict, reply: Reply) -> None:
    assert read_reply(packet(*sections, **options), NUMBER, NAME, "A") == reply


def test_a_referral_of_a_server_that_does_not_recurse_is_lame() -> None:
    wire = bytearray(packet((), (rrset("example.org", 9, "NS", "ns.example."),)))
    wire[3] &= 0x7F  # RA
    assert read_reply(bytes(wire), NUMBER, NAME, "A") == Reply(DnsAnswer("nodata"), is_lame=True)


@pytest.mark.parametrize(
    "other",
    [(NUMBER + 1, NAME, "A"), (NUMBER, "www.example.com", "A"), (NUMBER, NAME, "AAAA"), (NUMBER, "", "A")],
)
def test_what_answers_another_question_is_no_answer(other: tuple[int, str, str]) -> None:
    wire = packet((rrset(NAME, 60, "A", "192.0.2.1"),))
    assert read_reply(wire, NUMBER, NAME, "A") is not None
    assert read_reply(wire, *other) is None


def test_a_question_is_no_answer() -> None:
    assert read_reply(write_query(NUMBER, NAME, "A"), NUMBER, NAME, "A") is None


def test_case_does_not_matter() -> None:
    wire = packet((rrset("WwW.eXample.ORG", 60, "CNAME", "Other.Example.org."),), rdtype="CNAME", name=NAME)
    reply = read_reply(wire.replace(b"example", b"eXAMPle"), NUMBER, NAME, "CNAME")
    assert reply is not None and reply.answer.records == ("other.example.org.",)


def test_more_records_than_an_honest_answer_has_are_not_read() -> None:
    many = rrset(NAME, 60, "A", *(f"192.0.{n >> 8}.{n & 255}" for n in range(MAX_RECORDS + 1)))
    assert read_reply(packet((many,)), NUMBER, NAME, "A") == Reply(DnsAnswer("servfail"))


def test_odd_bytes_in_names_are_escaped() -> None:
    wire = packet((rrset(NAME, 60, "PTR", r"a\.b\032c\200.example."),), rdtype="PTR")
    reply = read_reply(wire, NUMBER, NAME, "PTR")
    assert reply is not None and reply.answer.records == (r"a\.b\032c\200.example.",)


SEED = packet(
    (rrset(NAME, 9, "CNAME", "a.example."), rrset("a.example", 7, "MX", "1 b.example.", "2 c.b.example.")),
    soa(60, 60),
    rdtype="MX",
)


@given(st.data())
def test_damaged_packets(data: st.DataObject) -> None:
    """Invariant: any bytes give a Reply or None, and its names end."""
    wire = bytearray(SEED)
    for _ in range(data.draw(st.integers(1, 6))):
        wire[data.draw(st.integers(2, len(wire) - 1))] = data.draw(st.integers(0, 255))
    cut = data.draw(st.integers(0, len(wire)))
    for content in (bytes(wire), bytes(wire[:cut])):
        reply = read_reply(content, NUMBER, NAME, "MX")
        assert reply is None or isinstance(reply.answer, DnsAnswer)


@given(st.binary(max_size=200), st.sampled_from(sorted(TYPES)), st.integers(0, 5), st.integers(0, 5))
def test_any_bytes_behind_the_question(content: bytes, rdtype: str, answers: int, authorities: int) -> None:
    """Invariant: the question being right, there is a reply; what cannot be read is the server's failure."""
    head = bytearray(packet((), (), rdtype=rdtype))
    question = bytes(head[12 : head.index(0, 12) + 5])
    wire = bytes(head[:6]) + bytes((0, answers, 0, authorities, 0, 0)) + question + content
    reply = read_reply(wire, NUMBER, NAME, rdtype)
    assert reply is not None
    assert reply.answer.status in ("noerror", "nodata", "servfail")


@pytest.mark.parametrize("what", ["pointers", "long names"])
def test_the_worst_packet_costs_little(what: str) -> None:
    head = packet((), ())
    question = head[12 : head.index(0, 12) + 5]
    start = 12 + len(question)
    if what == "pointers":  # each leads to the one before it
        first = start + 12
        chain = b"\xc0\x0c" + b"".join((0xC000 | first + 2 * n).to_bytes(2, "big") for n in range(5999))
        last = (0xC000 | first + 2 * 5999).to_bytes(2, "big")
        rest = b"\xc0\x0c\0\x10\0\1\0\0\0\x3c" + len(chain).to_bytes(2, "big") + chain
        rest += (last + b"\0\5\0\1\0\0\0\x3c\0\2" + last) * 254
    else:
        rest = b"\1a" * 120 + b"\0" + b"\0\5\0\1\0\0\0\x3c\0\0"
        rest += (
            (0xC000 | start).to_bytes(2, "big") + b"\0\5\0\1\0\0\0\x3c\0\2" + (0xC000 | start).to_bytes(2, "big")
        ) * 254
    wire = head[:6] + (255).to_bytes(2, "big") + b"\0\0\0\0" + question + rest
    began = time.process_time()
    for _ in range(10):
        assert read_reply(wire, NUMBER, NAME, "A") == Reply(DnsAnswer("servfail"))
    assert time.process_time() - began < 0.2  # 20 ms each, of 2 on a quiet machine


def test_a_packet_larger_than_any_honest_one_is_not_read() -> None:
    wire = packet((rrset(NAME, 60, "A", "192.0.2.1"),)) + bytes(MAX_BYTES)
    assert read_reply(wire, NUMBER, NAME, "A") == Reply(DnsAnswer("servfail"))


@given(
    st.lists(st.sampled_from(["192.0.2.1", "192.0.2.9", "198.51.100.7"]), min_size=1, unique=True),
    st.integers(0, 10**6),
)
def test_addresses_survive_the_way(addresses: list[str], ttl_s: int) -> None:
    reply = read_reply(packet((rrset(NAME, ttl_s, "A", *addresses),)), NUMBER, NAME, "A")
    assert reply is not None
    assert sorted(reply.answer.records) == sorted(addresses)
    assert reply.answer.ttl_s == ttl_s


@given(st.lists(st.binary(max_size=255), min_size=1, max_size=8))
def test_texts_survive_the_way(strings: list[bytes]) -> None:
    record = dns.rdtypes.ANY.TXT.TXT(dns.rdataclass.IN, dns.rdatatype.TXT, strings)
    wire = packet((dns.rrset.from_rdata(NAME + ".", 60, record),), rdtype="TXT")
    assert read_reply(wire, NUMBER, NAME, "TXT") == Reply(DnsAnswer("noerror", (b"".join(strings),), 60))


@given(st.lists(st.binary(min_size=1, max_size=20), min_size=1, max_size=5))
def test_names_are_written_as_dnspython_writes_them(labels: list[bytes]) -> None:
    target = dns.name.Name([*labels, b""])
    record = dns.rdtypes.ANY.PTR.PTR(dns.rdataclass.IN, dns.rdatatype.PTR, target)
    reply = read_reply(packet((dns.rrset.from_rdata(NAME + ".", 60, record),), rdtype="PTR"), NUMBER, NAME, "PTR")
    assert reply is not None
    assert dns.name.from_text(str(reply.answer.records[0])) == target  # names are equal whatever their case


@given(st.text(max_size=60))
def test_every_canonical_name_can_be_asked(name: str) -> None:
    bare = canonical_name(name)
    if bare:
        question = dns.message.from_wire(write_query(NUMBER, bare, "A")).question[0]
        assert question.name == dns.name.from_text(bare)
