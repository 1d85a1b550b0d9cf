"""gateway.auth.dmarc_report: RFC 9990 §3, and the schema of its appendix A."""

from __future__ import annotations

import email
import gzip
import re
from email.policy import default
from xml.etree.ElementTree import fromstring

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.auth.dmarc_report import Report, Reporter, make_message, make_report
from gateway.mail import parse
from gateway.types import DmarcRow
from tests import dmarc_schema
from tests.builders import dmarc_row

DAY = 20_783  # 2026-11-26
NS = {"d": "urn:ietf:params:xml:ns:dmarc-2.0"}
REPORTER = Reporter("dmarc@mx.darban.test", "Darban & Co", "https://darban.test/<dmarc>", "gw1.darban.test", "Darban 1")


def row(**changes: object) -> DmarcRow:
    published = "treewalk v=DMARC1; p=reject; sp=quarantine; adkim=s; rua=mailto:d@example.org"
    return dmarc_row(**({"published": published, "count": 7} | changes))


def made(*rows: DmarcRow, reporter: Reporter = REPORTER) -> Report:
    report = make_report(rows or (row(),), reporter)
    assert report is not None
    return report


def test_a_report_says_what_was_counted() -> None:
    report = made(
        row(), row(source_ip="2001:DB8::1", count=2, envelope_from="", dkim=(), spf=("", "none"), overrides=())
    )
    xml = gzip.decompress(report.content)
    assert dmarc_schema.problems(xml) == []
    root = fromstring(xml)

    def texts(path: str) -> list[str]:
        return [element.text or "" for element in root.findall(path.replace("/", "/d:").replace("^", "d:"), NS)]

    assert texts("^report_metadata/org_name") == ["Darban & Co"]
    assert texts("^report_metadata/extra_contact_info") == ["https://darban.test/<dmarc>"]
    assert texts("^report_metadata/report_id") == [report.id]
    assert texts("^report_metadata/date_range/begin") == [str(DAY * 86_400)]
    assert texts("^report_metadata/date_range/end") == [str(DAY * 86_400 + 86_399)]
    published = root.find("d:policy_published", NS)
    assert published is not None
    assert {one.tag.partition("}")[2]: one.text for one in published} == {
        "domain": "example.org", "discovery_method": "treewalk", "p": "reject", "sp": "quarantine", "np": "quarantine",
        "fo": "0", "adkim": "s", "aspf": "r", "testing": "n",
    }  # fmt: skip
    assert texts("^record/row/count") == ["7", "2"]
    assert texts("^record/row/source_ip") == ["192.0.2.1", "2001:db8::1"]
    assert texts("^record/row/policy_evaluated/reason/type") == ["policy_test_mode", "local_policy"]
    assert texts("^record/identifiers/envelope_from") == ["bounce.example.org", ""]
    assert texts("^record/auth_results/dkim/selector") == ["s1", "k"]
    assert texts("^record/auth_results/spf/domain") == ["bounce.example.org"]
    assert (report.message_count, report.row_count, report.method) == (9, 2, "treewalk")


def test_a_record_that_had_to_be_taken_as_none_is_told_so() -> None:
    xml = gzip.decompress(made(row(published="psl v=DMARC1; p=odd; rua=mailto:d@example.org")).content)
    assert dmarc_schema.problems(xml) == []
    assert b"<error>" in xml
    assert b"<p>none</p>" in xml
    assert b"<discovery_method>psl</discovery_method>" in xml
    assert b"<error>" not in gzip.decompress(made().content)


@pytest.mark.parametrize(
    "rows",
    [(), (row(source_ip="nowhere"),), (row(source_ip=""),), (row(published=""),), (row(published="treewalk x"),)],
)
def test_nothing_to_tell(rows: tuple[DmarcRow, ...]) -> None:
    assert make_report(rows, REPORTER) is None


TEXTS = st.text(max_size=12) | st.sampled_from(["]]>", "<a>&amp;", "\0", "\ud800", "﷽", "\r\n"])


@given(
    st.builds(
        row,
        domain=TEXTS,
        published=st.sampled_from(["treewalk v=DMARC1; p=none", "psl v=DMARC1; t=y; ruf=x:y; fo=1:s"]) | TEXTS,
        header_from=TEXTS,
        envelope_from=TEXTS,
        envelope_to=TEXTS,
        disposition=st.sampled_from(["none", "pass", "quarantine", "reject"]),
        overrides=st.lists(TEXTS | st.sampled_from(["other", "trusted_forwarder"]), max_size=3).map(tuple),
        dkim=st.lists(st.tuples(TEXTS, TEXTS, TEXTS | st.sampled_from(["pass", "policy"])), max_size=3).map(tuple),
        spf=st.tuples(TEXTS, TEXTS | st.just("pass")),
        source_ip=st.ip_addresses().map(str) | TEXTS,
    ),
    TEXTS,
)
def test_any_rows_give_a_report_that_keeps_to_the_schema(one: DmarcRow, name: str) -> None:
    reporter = Reporter("dmarc@mx.darban.test", name, name, "gw1", "Darban")
    report = make_report([one], reporter)
    if report is not None:
        assert dmarc_schema.problems(gzip.decompress(report.content)) == []
        assert re.fullmatch(r"[a-zA-Z0-9._!-]+", report.filename)
        content = make_message(report, reporter, "d@example.org", 1.79e9)
        assert re.search(rb"[^\x20-\x7e\r\n]|\r[^\n]|[^\r]\n", content) is None


@pytest.mark.parametrize(
    "broken",
    [
        lambda xml: xml.replace(b"<org_name>Darban &amp; Co</org_name>", b""),
        lambda xml: xml.replace(b"<count>7</count>", b"<count>7</count><count>7</count>"),
        lambda xml: xml.replace(b"<count>7</count>", b"<count>many</count>"),
        lambda xml: xml.replace(b"<identifiers>", b"<x/><identifiers>"),
        lambda xml: xml.replace(b"<p>reject</p>", b"<p>refuse</p>"),
        lambda xml: xml.replace(b"dmarc-2.0", b"dmarc-1.0"),
        lambda xml: re.sub(rb"(<disposition>.*</disposition>)(<dkim>[a-z]*</dkim>)", rb"\2\1", xml),
        lambda xml: re.sub(rb"(?s)<record>.*</record>", b"", xml),
    ],
)
def test_the_schema_check_can_fail(broken: object) -> None:
    xml = gzip.decompress(made().content)
    assert dmarc_schema.problems(broken(xml))  # type: ignore[operator]


# --- names and message ------------------------------------------------------------------------------------------------


def test_names_are_as_the_rfc_has_them_and_stay_the_same() -> None:
    report = made()
    begin, end = DAY * 86_400, DAY * 86_400 + 86_399
    assert report.filename == f"mx.darban.test!example.org!{begin}!{end}!{report.id}.xml.gz"
    assert re.fullmatch(r"[A-Za-z0-9]+", report.id)  # unique-id, and a dot-atom
    assert made() == report
    ids = {made(row(domain="example.com")).id, made(row(at=(DAY + 1) * 86_400.0)).id, report.id}
    other = Reporter("dmarc@mx.darban.test", "Darban & Co", "", "gw2.darban.test", "Darban 1")
    assert len(ids | {made(reporter=other).id}) == 4


@pytest.mark.parametrize("name", ["Darban", 'O"Neil \\ Sons, Ltd.', "دانشگاه نمونهٔ تهران", "x\r\nBcc: y@example.org"])
def test_the_message(name: str) -> None:
    reporter = Reporter("dmarc@mx.darban.test", name, "", "gw1", "Darban 1")
    report = made(reporter=reporter)
    content = make_message(report, reporter, "d+x@example.org", 1_790_000_000.0)
    message = email.message_from_bytes(content, policy=default)
    assert message.defects == []
    (author,) = parse(content).author  # Python's own reader parts an encoded word where it is folded
    assert author.display_name == "".join(char for char in name if char.isprintable())
    assert author.address == "dmarc@mx.darban.test"
    assert message["to"].addresses[0].addr_spec == "d+x@example.org"
    assert message["subject"] == f"Report Domain: example.org Submitter: mx.darban.test Report-ID: <{report.id}>"
    assert report.id in message["message-id"]
    assert message["bcc"] is None
    words, attached = message.iter_parts()
    assert words.get_content_type() == "text/plain"
    assert "example.org" in words.get_content()
    assert (attached.get_content_type(), attached.get_filename()) == ("application/gzip", report.filename)
    assert attached.get_content() == report.content
    assert max(map(len, content.split(b"\r\n"))) <= 998
