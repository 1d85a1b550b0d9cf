"""Eval functions over messages written here: what hits, what does not, and that nothing raises."""

from __future__ import annotations

import base64
import time
from pathlib import Path
from struct import pack

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gateway.rules.evals import FUNCTIONS, Calls, Facts, Knowledge, refusal
from gateway.rules.reader import read
from gateway.rules.rule import Place, Rule, RuleFiles
from gateway.types import AuthResult, Prediction
from tests.builders import mail, message_bytes

RELAYS = {
    "X-Spam-Relays-Trusted": "",
    "X-Spam-Relays-Untrusted": (
        "[ ip=192.0.2.7 rdns=out.partner.example helo=8.8.4.4 by=mx.example.org ident= ] "
        "[ ip=198.51.100.9 rdns=a.other.example helo=yahoo.com by=x.third.example ident= ] "
        "[ ip=8.8.8.8 rdns= helo=mail.yahoo.com by=y.fourth.example ident= ]"
    ),
    "X-Spam-Relays-Unread": "by mx.example.org with SMTP\nfrom nowhere ([192.0.2.999]) by mx.example.org",
}


def knowledge(tmp_path: Path, text: str) -> Knowledge:
    path = tmp_path / "lists.cf"
    path.write_text(text + "\n")
    files = read([path])
    assert not files.problems
    return Knowledge(files)


def call(function: str, arguments: str, facts: Facts) -> bool:
    assert not refusal(function, arguments.split())
    rule = Rule("R", "eval", Place("t", 1), function=function, arguments=tuple(arguments.split()))
    hits, faults = Calls([rule]).hits(facts)
    assert not faults
    return hits == ["R"]


def facts_of(content: bytes, *auth: AuthResult, known: Knowledge | None = None, **changes: object) -> Facts:
    return Facts(mail(content, *auth, **changes), known or Knowledge(RuleFiles()))


# --- authentication -------------------------------------------------------------------------------------------------

SPF = AuthResult("spf", "pass", "example.org", identity="mailfrom")
DKIM = AuthResult("dkim", "pass", "example.org", "s1")
FAILED = AuthResult("dkim", "fail", "other.example", "s1")


@pytest.mark.parametrize(
    ("function", "arguments", "auth", "hits"),
    [
        ("check_for_spf_pass", "", (SPF,), True),
        ("check_for_spf_fail", "", (SPF,), False),
        ("check_for_spf_helo_pass", "", (SPF,), False),
        ("check_for_spf_helo_softfail", "", (AuthResult("spf", "softfail", "h", identity="helo"),), True),
        ("check_for_spf_helo_fail", "", (SPF, AuthResult("spf", "fail", "h", identity="helo")), True),
        ("check_for_spf_fail", "", (SPF, AuthResult("spf", "fail", "h", identity="helo")), False),
        ("check_for_spf_none", "", (), False),
        ("check_dkim_signed", "", (FAILED,), True),
        ("check_dkim_signed", "", (AuthResult("dkim", "none"),), False),
        ("check_dkim_valid", "", (FAILED,), False),
        ("check_dkim_valid", "", (FAILED, DKIM), True),
        ("check_dkim_valid", "example.org", (DKIM,), True),
        ("check_dkim_valid", "other.example", (FAILED, DKIM), False),
        ("check_dkim_valid", ".org *.example.org", (DKIM,), True),
        ("check_dkim_valid_author_sig", "", (DKIM,), True),
        ("check_dkim_valid_author_sig", "", (AuthResult("dkim", "pass", "other.example"),), False),
        ("check_dkim_valid_envelopefrom", "", (DKIM,), True),
        ("check_dkim_dependable", "", (AuthResult("dkim", "temperror", "example.org"),), False),
        ("check_arc_signed", "", (DKIM,), False),
        ("check_arc_signed", "", (AuthResult("arc", "fail"),), True),
        ("check_arc_valid", "", (AuthResult("arc", "fail", "lists.example"),), False),
        ("check_arc_valid", "", (AuthResult("arc", "pass", "lists.example"),), True),
        ("check_arc_valid", "lists.example", (AuthResult("arc", "pass", "lists.example"),), True),
        ("check_arc_valid", "other.example", (AuthResult("arc", "pass", "lists.example"),), False),
        ("check_dmarc_pass", "", (AuthResult("dmarc", "pass", "example.org", policy="none"),), True),
        ("check_dmarc_reject", "", (AuthResult("dmarc", "fail", "example.org", policy="reject"),), True),
        ("check_dmarc_quarantine", "", (AuthResult("dmarc", "fail", "example.org", policy="reject"),), False),
        ("check_dmarc_missing", "", (AuthResult("dmarc", "none", "example.org"),), True),
    ],
)
def test_authentication(function: str, arguments: str, auth: tuple[AuthResult, ...], hits: bool) -> None:
    assert call(function, arguments, facts_of(message_bytes(), *auth)) is hits


@pytest.mark.parametrize(
    ("lists", "function", "auth", "hits"),
    [
        ("whitelist_auth *@example.org", "check_for_spf_welcomelist_from", (SPF,), True),
        ("whitelist_auth *@example.org", "check_for_dkim_welcomelist_from", (DKIM,), True),
        ("whitelist_auth *@example.org", "check_for_dkim_welcomelist_from", (FAILED,), False),
        ("whitelist_from_dkim sara@example.org", "check_for_dkim_welcomelist_from", (DKIM,), True),
        ("whitelist_from_dkim *@example.org other.example", "check_for_dkim_welcomelist_from", (DKIM,), False),
        ("def_whitelist_auth *@*.org", "check_for_def_dkim_welcomelist_from", (DKIM,), True),
        ("whitelist_from_spf *@example.net", "check_for_spf_welcomelist_from", (SPF,), False),
    ],
)
def test_authenticated_lists(
    tmp_path: Path, lists: str, function: str, auth: tuple[AuthResult, ...], hits: bool
) -> None:
    assert call(function, "", facts_of(message_bytes(), *auth, known=knowledge(tmp_path, lists))) is hits


# --- header ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "fields", "hits"),
    [
        ("check_for_missing_to_header", "", {"To": ""}, True),
        ("check_for_missing_to_header", "", {"To": " "}, False),  # it is there, and says nothing
        ("check_for_missing_to_header", "", {}, False),
        ("subject_is_all_caps", "", {"Subject": "BUY THIS NOW!"}, True),
        ("subject_is_all_caps", "", {"Subject": "Re: BUY THIS NOW"}, True),
        ("subject_is_all_caps", "", {"Subject": "BUYTHISNOWNOW"}, False),
        ("subject_is_all_caps", "", {"Subject": "Buy this now!"}, False),
        ("check_header_count_range", "Subject 1 1", {}, True),
        ("check_header_count_range", "X-None 1 9", {}, False),
        ("check_unresolved_template", "", {"X-Mailer": "made by %CUSTOM_NAME"}, True),
        ("check_unresolved_template", "", {"Subject": "%CUSTOM_NAME"}, False),
        ("check_for_to_in_subject", "address", {"Subject": "for you@darban.test"}, True),
        ("check_for_to_in_subject", "user", {"Subject": "you, look at this"}, True),
        ("check_for_to_in_subject", "user", {"Subject": "who are you really"}, False),
        ("check_for_matching_env_and_hdr_from", "", {}, True),
        ("check_for_matching_env_and_hdr_from", "", {"From": "x@example.net"}, False),
        ("check_for_matching_env_and_hdr_from", "", {"From": "Sara, <sara@example.org>"}, True),
        ("check_for_matching_env_and_hdr_from", "", {"From": "Sara,(<sara@example.org>)"}, True),
        ("check_equal_from_domains", "", {"From": "x@a.example.org"}, False),
        ("check_equal_from_domains", "", {"From": "x@example.net"}, True),
        ("check_for_shifted_date", "3 6", {"Received": "by x; Mon, 21 Sep 2026 09:00:00 +0000"}, True),
        ("check_for_shifted_date", "-6 -3", {"Received": "by x; Mon, 21 Sep 2026 09:00:00 +0000"}, False),
        ("check_for_shifted_date", "undef -96", {"Received": "by x; Mon, 28 Sep 2026 09:00:00 +0000"}, True),
        ("check_for_shifted_date", "3 6", {}, False),
        ("sorted_recipients", "", {"To": ", ".join(f"{x}@example.org" for x in "abcdefg")}, True),
        ("sorted_recipients", "", {"To": ", ".join(f"{x}@example.org" for x in "gabcdef")}, False),
        ("similar_recipients", "0.65 undef", {"To": ", ".join(f"sam{x}@example.org" for x in "abcde")}, True),
        ("gated_through_received_hdr_remover", "", {}, True),
        ("gated_through_received_hdr_remover", "", {"Received": "from a by b"}, False),
        ("check_ratware_envelope_from", "", {"To": "sara@example.org"}, False),
    ],
)
def test_header(function: str, arguments: str, fields: dict[str, str], hits: bool) -> None:
    assert call(function, arguments, facts_of(message_bytes(**fields))) is hits


@pytest.mark.parametrize(
    ("raw", "arguments", "hits"),
    [
        (b"caf\xe9 and \xfc\xfc", "Subject 0.00 2", True),
        ("café و سلام".encode(), "Subject 0.00 2", False),
        ("\x02café و سلام".encode(), "Subject 0.00 2", True),
        (b"5 \xa3", "Subject 0.00 1", False),
        (b"plain", "Subject 0.00 2", False),
    ],
)
def test_illegal_characters(raw: bytes, arguments: str, hits: bool) -> None:
    assert call("check_illegal_chars", arguments, facts_of(b"Subject: " + raw + b"\r\n\r\nx")) is hits


def test_a_fetched_message_is_dated_by_its_own_trace() -> None:
    content = (
        b"Received: from localhost (localhost [127.0.0.1]) by here; Mon, 21 Sep 2026 20:00:00 +0000\r\n"
        b"Received: from x [127.0.0.1] by localhost with IMAP (fetchmail-6.3); Mon, 21 Sep 2026 20:00:00 +0000\r\n"
        b"Received: from a by b; Mon, 21 Sep 2026\r\n   13:33:25 +0000\r\n" + message_bytes()
    )
    assert not call("check_for_shifted_date", "-12 -6", facts_of(content))


# --- relays ---------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "hits"),
    [
        ("check_all_trusted", False),
        ("check_no_relays", False),
        ("check_relays_unparseable", True),
        ("check_for_numeric_helo", True),
        ("helo_ip_mismatch", False),  # 192.0.2.7 is no public address
        ("check_for_no_rdns_dotcom_helo", True),
        ("check_for_forged_received_trail", True),
        ("check_mailfrom_matches_rcvd", False),
    ],
)
def test_relays(function: str, hits: bool) -> None:
    facts = Facts(mail(message_bytes()), Knowledge(RuleFiles()), relays=RELAYS.__getitem__)
    assert call(function, "", facts) is hits


def test_a_relay_that_cannot_be_read_is_one() -> None:
    content = message_bytes(Received="from pc ([192.0.2.999]) by mx.example.org")
    message = mail(content)
    unread = {"X-Spam-Relays-Unread": "from pc ([192.0.2.999]) by mx.example.org"}
    facts = Facts(message, Knowledge(RuleFiles()), relays=lambda name: unread.get(name, ""))
    assert not call("check_no_relays", "", facts)
    assert call("check_no_relays", "", Facts(message, Knowledge(RuleFiles()), relays=lambda _: ""))


@pytest.mark.parametrize(
    ("lists", "function", "hits"),
    [
        ("whitelist_from_rcvd *@example.org partner.example", "check_from_in_welcomelist", True),
        ("whitelist_from_rcvd *@example.org [192.0.2]", "check_from_in_welcomelist", True),
        ("whitelist_from_rcvd *@example.org [192.0.2.0/29]", "check_from_in_welcomelist", True),
        ("whitelist_from_rcvd *@example.org [198.51.100.0]/24", "check_from_in_welcomelist", False),
        ("whitelist_from_rcvd *@example.org artner.example", "check_from_in_welcomelist", False),
        ("whitelist_from_rcvd *@example.org artner.example", "check_forged_in_welcomelist", True),
        (
            "whitelist_from_rcvd *@example.org x.example\nwhitelist_allows_relays sara@*",
            "check_forged_in_welcomelist",
            False,
        ),
        ("def_whitelist_from_rcvd *@example.org partner.example", "check_from_in_default_whitelist", True),
    ],
)
def test_lists_with_relays(tmp_path: Path, lists: str, function: str, hits: bool) -> None:
    facts = Facts(mail(message_bytes()), knowledge(tmp_path, lists), relays=RELAYS.__getitem__)
    assert call(function.replace("whitelist", "welcomelist"), "", facts) is hits


# --- lists ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("lists", "function", "arguments", "hits"),
    [
        ("blacklist_from *@EXAMPLE.org", "check_from_in_blocklist", "", True),
        ("blacklist_from s?ra@example.org", "check_from_in_blocklist", "", True),
        ("blacklist_from example.org", "check_from_in_blocklist", "", False),
        ("whitelist_from sara@example.org", "check_from_in_welcomelist", "", True),
        ("whitelist_to you@*", "check_to_in_welcomelist", "", True),
        ("all_spam_to you@darban.test", "check_to_in_all_spam", "", True),
        ("more_spam_to other@darban.test", "check_to_in_more_spam", "", False),
        ("enlist_addrlist (L) *@example.org", "check_from_in_list", "L", True),
        ("enlist_addrlist (L) *@example.net", "check_replyto_in_list", "L", True),
        ("blacklist_from *@x", "check_from_in_list", "NONE", False),
        ("blacklist_subject hello*world", "check_subject_in_blocklist", "", True),
        ("enlist_uri_host (L) example !www.evil.example", "check_uri_host_listed", "L", False),
        ("blacklist_uri_host example", "check_uri_host_in_blocklist", "", True),
        ("whitelist_uri_host other.example", "check_uri_host_in_welcomelist", "", False),
        ("freemail_domains example.org", "check_freemail_from", "", True),
        ("freemail_domains example.*", "check_freemail_from", "", True),
        ("freemail_domains example.org\nfreemail_welcomelist example.org", "check_freemail_from", "", False),
        ("freemail_domains example.org", "check_freemail_from", "\\d@", False),
        ("freemail_domains example.net", "check_freemail_header", "Reply-To", True),
        ("freemail_domains example.net example.org", "check_freemail_replyto", "replyto", True),
        ("freemail_domains example.org free.example", "check_freemail_replyto", "reply", False),
        ("enlist_uri_host (L) evil.example", "check_uri_host_listed", "L", True),
        ("whitelist_bounce_relays relay*.example.org", "check_welcomelist_bounce_relays", "", True),
        ("whitelist_bounce_relays other.example.org", "check_welcomelist_bounce_relays", "", False),
        ("whitelist_bounce_relays other.example.org", "have_any_bounce_relays", "", True),
    ],
)
def test_lists(tmp_path: Path, lists: str, function: str, arguments: str, hits: bool) -> None:
    content = message_bytes(
        "see http://www.evil.example/x\r\n\r\nReceived: from relay2.example.org by x\r\n",
        Subject="Hello wide world",
        Reply_To="other@example.net",
    )
    assert call(function, arguments, facts_of(content, known=knowledge(tmp_path, lists))) is hits


@pytest.mark.parametrize(
    ("source", "hits"),
    [
        ('<a href="mailto:x@free.example">write</a>', True),
        ('<a href="mailto:x@free.example">x@free.example</a> wrote: a', False),  # shown, and then quoted
        ("x@free.example", True),
    ],
)
def test_linked_freemail(tmp_path: Path, source: str, hits: bool) -> None:
    content = message_bytes(source, Content_Type="text/html")
    known = knowledge(tmp_path, "freemail_domains free.example example.org")
    assert call("check_freemail_replyto", "reply", facts_of(content, known=known)) is hits


# --- body and MIME --------------------------------------------------------------------------------------------------

ALTERNATIVE = (
    b"Content-Type: multipart/alternative; boundary=b\r\n\r\n--b\r\n\r\none two\r\n--b\r\nContent-Type: text/html\r\n\r\n"
    b"<p>one <b>two</b> three four</p>\r\n--b--\r\n"
)


@pytest.mark.parametrize(
    ("content", "function", "arguments", "hits"),
    [
        (ALTERNATIVE, "check_for_mime_html", "", True),
        (ALTERNATIVE, "check_for_mime_html_only", "", False),
        (b"Content-Type: text/html\r\n\r\n<p>x", "check_for_mime_html_only", "", True),
        (ALTERNATIVE, "multipart_alternative_difference", "40 60", True),
        (
            ALTERNATIVE.replace(b"<b>", b'<b style="display:none">'),  # hidden words are words of the alternative too
            "multipart_alternative_difference",
            "40 60",
            True,
        ),
        (
            ALTERNATIVE.replace(b"<p>one <b>two</b> three four</p>", b"<img src=x>"),
            "multipart_alternative_difference",
            "99",
            True,
        ),
        (ALTERNATIVE, "multipart_alternative_difference_count", "0.3 3", True),
        (ALTERNATIVE, "check_ma_non_text", "", False),
        (ALTERNATIVE.replace(b"text/html", b"image/gif"), "check_ma_non_text", "", True),
        (ALTERNATIVE, "check_mime_multipart_ratio", "0.1 0.9", True),
        (ALTERNATIVE, "check_msg_parse_flags", "missing_mime_headers", True),  # the first part has none
        (
            ALTERNATIVE.replace(b"--b\r\n\r\n", b"--b\r\nX: y\r\n\r\n"),
            "check_msg_parse_flags",
            "missing_mime_headers",
            False,
        ),
        (ALTERNATIVE, "check_msg_parse_flags", "mime_epilogue_exists", False),
        (ALTERNATIVE + b"more\r\n", "check_msg_parse_flags", "mime_epilogue_exists", True),
        (ALTERNATIVE.replace(b"--b\r\n\r\none", b"--b\r\none"), "check_msg_parse_flags", "missing_mime_headers", True),
        (
            ALTERNATIVE.replace(b"html\r\n\r\n", b"html\r\n"),
            "check_msg_parse_flags",
            "missing_mime_head_body_separator",
            True,
        ),
        (b"Subject: x", "check_msg_parse_flags", "missing_head_body_separator", True),
        (
            b"Content-Transfer-Encoding: base64\r\n\r\n" + base64.b64encode(b"hello"),
            "check_for_mime",
            "mime_base64_encoded_text",
            True,
        ),
        (
            b"Content-Type: text/plain; charset=utf-8\r\nContent-Transfer-Encoding: base64\r\n\r\nYQ==",
            "check_for_mime",
            "mime_base64_encoded_text",
            False,
        ),
        (
            b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + b"a" * 79,
            "check_for_mime",
            "mime_qp_long_line",
            True,
        ),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\n=41=20\r\n", "check_for_mime", "mime_qp_count", True),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=20\r\n", "check_for_mime", "mime_qp_count", False),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=20=09\t\r\n", "check_for_mime", "mime_qp_count", False),
        (b"Content-Transfer-Encoding: quoted-printable\r\n\r\na=20=\r\n", "check_for_mime", "mime_qp_count", True),
        (b"Content-Disposition: attachment\r\n\r\nx", "check_for_mime", "mime_attachment", True),
        (b"Content-Type: text/plain; charset=iso-9999-x\r\n\r\nx", "check_for_mime", "mime_bad_iso_charset", True),
        (b"Content-Type: text/plain; charset=iso-8859-15\r\n\r\nx", "check_for_mime", "mime_bad_iso_charset", False),
        (b"\r\n\xff", "check_for_ascii_text_illegal", "", True),
        (b"\r\nx", "check_for_ascii_text_illegal", "", False),
        (b"\r\n&#x0041;&#x0042;x", "check_abundant_unicode_ratio", "0.02", True),
        (
            b"Content-Transfer-Encoding: base64\r\n\r\n" + b"YWFh" * 20 + b"\r\n",
            "check_base64_length",
            "79",
            True,
        ),
        (b"Content-Transfer-Encoding: base64\r\n\r\nYQ==\r\n", "check_base64_length", "78 79", False),
        (b"\r\n12345", "check_body_length", "5", True),
        (b"\r\n123456", "check_body_length", "5", False),
        (b"\r\n1\r\n3\r\n", "check_body_length", "4", True),
        (b"\r\n1\r\n3\r\n", "check_body_length", "3", False),
        (b"\r\n" + b"BUY NOW or " * 30, "check_for_uppercase", "50 80", True),
        (b"\r\n" + b"buy now or " * 30, "check_for_uppercase", "25 100", False),
        (b"\r\na\r\n\r\n\r\n\r\n\r\n\r\n\r\n\r\nb", "check_blank_line_ratio", "70 90 4", True),
        (b"\r\naverylongword\r\n", "tvd_vertical_words", "0 10", True),
        (b"\r\ntext here\r\n-- \r\na long signature\r\n", "plaintext_body_sig_ratio", "0 1", True),
        (b"\r\ntext here\r\n-- \r\na long signature\r\n", "plaintext_sig_length", "5 50", True),
    ],
)
def test_body(content: bytes, function: str, arguments: str, hits: bool) -> None:
    assert call(function, arguments, facts_of(content)) is hits


@pytest.mark.parametrize(
    ("probability", "arguments", "hits"),
    [(0.995, "0.99 1.00", True), (0.0, "0 0.01", True), (0.99, "0.99 1.00", False), (None, "0 1", False)],
)
def test_classifier_bands(probability: float | None, arguments: str, hits: bool) -> None:
    prediction = None if probability is None else Prediction(probability, "m")
    assert call("check_bayes", arguments, Facts(mail(message_bytes()), Knowledge(RuleFiles()), prediction)) is hits


# --- HTML -----------------------------------------------------------------------------------------------------------


def html(source: str) -> Facts:
    return facts_of(message_bytes(source, Content_Type="text/html; charset=utf-8"))


@pytest.mark.parametrize(
    ("source", "function", "arguments", "hits"),
    [
        ("<p>x", "html_test", "html", True),
        ("<embed src=x>", "html_test", "embeds", True),
        ("<font face='!!'>x</font>", "html_test", "font_face_bad", True),
        ("<font face='Arial, sans-serif'>x</font>", "html_test", "font_face_bad", False),
        ("<form action='mailto:x@example.org'>", "html_test", "form_action_mailto", True),
        ("<CENTER>x", "html_tag_exists", "center", True),
        ("<!-- <center> -->", "html_tag_exists", "center", False),
        ("<script>'<center>'</script>", "html_tag_exists", "center", False),
        ("<script>'<center>'", "html_tag_exists", "script", True),
        ("<body></body>", "html_tag_exists", "body", True),
        ("<font size=7>x", "html_range", "max_size 6 inf", True),
        ("<font size='+2'>x", "html_range", "max_size 4 5", True),
        ("<p>" + "x" * 100, "html_range", "length 50 200", True),
        ("<p>x", "html_eval", "length <100", True),
        ("<p></b></b></b>", "html_range", "closed_extra_ratio 0.5 inf", True),
        ("<foo><bar><p>", "html_range", "bad_tag_ratio 0.6 0.7", True),
        ("<foo><bar><p>", "html_range", "non_element_ratio 0.6 0.7", True),
        ("via<b></b>gra ci<i></i>alis", "html_range", "obfuscation_ratio 0.1 1.0", True),
        ("via<br>gra", "html_range", "obfuscation_ratio 0 1.0", False),
        ("<img src=x><p>", "html_image_only", "0 100", True),
        ("<p>x", "html_image_only", "0 100", False),
        ("<img width=100 height=10>ab", "html_image_ratio", "0.001 0.003", True),
        ("<img width='50%' height=auto>ab", "html_image_ratio", "0 0.0001", True),
        ("<a href=x><img src=y></a>", "html_text_match", "anchor <img>", True),
        ("<a href=x>text</a><img src=y>", "html_text_match", "anchor <img>", False),
        ("<title>" + "t" * 120 + "</title>", "html_text_match", "title .{120}", True),
        ("<!-- saved from url -->", "html_text_match", "comment saved", True),
        ("<!-- never closed", "html_text_match", "comment never", True),
        ("<!-- a -->", "html_text_not_match", "comment b", True),
        ("<title>long title here for sure</title>", "html_title_subject_ratio", "3.5", True),
        ("<iframe src=http://x.example></iframe>", "check_iframe_src", "", True),
        ("<iframe></iframe>", "check_iframe_src", "", False),
        ("<a href=http://192.0.2.1/>https://bank.example</a>", "check_https_ip_mismatch", "", True),
        ("<a href=http://192.0.2.1/>bank</a>", "check_https_ip_mismatch", "", False),
        ("<a href='http://evil.example/'>https://www.bank.test/</a>", "check_https_http_mismatch", "1 10", True),
        ("<a href='http://x.bank.test/'>https://www.bank.test/</a>", "check_https_http_mismatch", "1 10", False),
    ],
)
def test_html(source: str, function: str, arguments: str, hits: bool) -> None:
    assert call(function, arguments, html(source)) is hits


def test_a_file_of_html_is_read_too() -> None:
    fields = {"Content_Type": 'application/octet-stream; name="a.html"', "Content_Disposition": "attachment"}
    assert call("html_tag_exists", "center", facts_of(message_bytes("<center>x", **fields)))
    assert not call(
        "html_tag_exists", "center", facts_of(message_bytes("<center>x", **fields | {"Content_Type": "a/b"}))
    )


def test_tags_are_balanced() -> None:
    rule = Rule("R", "eval", Place("t", 1), function="html_tag_balance", arguments=("center", "!= 0"))
    assert Calls([rule]).hits(html("<center>x</center><center>"))[0] == ["R"]
    assert Calls([rule]).hits(html("<center>x</center>"))[0] == []
    assert Calls([rule]).hits(html("<p>"))[0] == []


# --- images ---------------------------------------------------------------------------------------------------------

GIF = b"GIF89a" + pack("<HH", 300, 200) + b"\0\0\0"
PNG = b"\x89PNG\r\n\x1a\n" + pack(">I", 13) + b"IHDR" + pack(">II", 30, 20) + b"\x08\x02\0\0\0"
JPEG = (
    b"\xff\xd8\xff\xe0\x00\x10JFIF\0" + b"\0" * 9 + b"\xff\xc0\x00\x11\x08" + pack(">HH", 20, 30) + b"\x03" + b"\0" * 12
)


@pytest.mark.parametrize(
    ("kind", "content", "function", "arguments", "hits"),
    [
        ("gif", GIF, "image_count", "gif 1 1", True),
        ("gif", GIF, "image_count", "png 1 1", False),
        ("gif", GIF, "pixel_coverage", "all 60000 60000", True),
        ("gif", GIF, "image_size_exact", "gif 200 300", True),
        ("png", PNG, "image_size_exact", "all 20 30", True),
        ("jpeg", JPEG, "image_size_exact", "jpeg 20 30", True),
        ("png", PNG, "image_size_range", "png 10 10 25 35", True),
        ("png", PNG, "image_size_range", "png 10 10 15 35", False),
        ("png", PNG, "image_named", "a.png", True),
        ("png", PNG, "image_name_regex", "/^a[.]/", True),
        ("png", PNG[:20], "image_count", "png 1", True),
        ("png", PNG[:20], "pixel_coverage", "png 1", False),
        ("png", PNG, "image_to_text_ratio", "png 0 0.1", True),
    ],
)
def test_images(kind: str, content: bytes, function: str, arguments: str, hits: bool) -> None:
    encoded = base64.encodebytes(content).decode()
    message = (
        "Subject: six in\r\nContent-Type: multipart/mixed; boundary=b\r\n\r\n--b\r\n"
        f"Content-Type: image/{kind}; name=a.{kind}\r\nContent-Transfer-Encoding: base64\r\n\r\n{encoded}\r\n--b--\r\n"
    )
    assert call(function, arguments, facts_of(message.encode())) is hits


# --- all of them ----------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("function", "arguments", "reason"),
    [
        ("check_rbl", ("a", "b"), "DNS list"),
        ("check_razor2", (), "service"),
        ("html_test", ("font_low_contrast",), "font_low_contrast"),
        ("html_range", (), "''"),
        ("check_nothing", (), "no such function"),
    ],
)
def test_refusals(function: str, arguments: tuple[str, ...], reason: str) -> None:
    assert reason in refusal(function, arguments)


def test_a_fault_is_named_and_no_hit() -> None:
    rules = [
        Rule("WRONG", "eval", Place("t", 1), function="check_body_length", arguments=("many",)),
        Rule("MORE", "eval", Place("t", 2), function="check_body_length", arguments=("1", "2", "3")),
        Rule("RIGHT", "eval", Place("t", 3), function="check_body_length", arguments=("1000",)),
    ]
    hits, faults = Calls(rules).hits(facts_of(message_bytes()))
    assert hits == ["RIGHT"]
    assert faults == ["WRONG: check_body_length: ValueError", "MORE: check_body_length: TypeError"]


SOUND = {
    "check_for_mime": ("mime_qp_count",),
    "check_msg_parse_flags": ("mime_epilogue_exists",),
    "html_range": ("obfuscation_ratio", "0", "1"),
    "html_eval": ("length", "< 5"),
    "html_test": ("html",),
    "html_tag_exists": ("p",),
    "html_tag_balance": ("p", "!= 0"),
    "html_text_match": ("anchor", "a+"),
    "html_text_not_match": ("title", "a+"),
    "check_header_count_range": ("Subject", "1", "2"),
    "check_illegal_chars": ("ALL", "0.1", "2"),
    "check_for_to_in_subject": ("user",),
    "check_freemail_header": ("From", "a"),
    "check_freemail_replyto": ("reply",),
    "check_from_in_list": ("L",),
    "check_to_in_list": ("L",),
    "check_replyto_in_list": ("L",),
    "check_uri_host_listed": ("L",),
    "image_count": ("all", "1"),
    "pixel_coverage": ("all", "1"),
    "image_to_text_ratio": ("all", "0", "1"),
    "image_size_exact": ("all", "1", "1"),
    "image_size_range": ("all", "1", "1"),
    "image_named": ("a.gif",),
    "image_name_regex": ("a",),
    "check_blank_line_ratio": ("0", "50", "2"),
    **dict.fromkeys(
        """check_for_shifted_date similar_recipients check_mime_multipart_ratio check_for_uppercase tvd_vertical_words
        multipart_alternative_difference multipart_alternative_difference_count check_bayes html_image_only
        html_image_ratio check_base64_length""".split(),
        ("0", "50"),
    ),
    **dict.fromkeys(
        """check_abundant_unicode_ratio check_qp_ratio check_body_length plaintext_body_sig_ratio
        plaintext_body_length plaintext_sig_length html_title_subject_ratio""".split(),
        ("1",),
    ),
}
EVERY = Calls(
    [Rule(name, "eval", Place("t", 1), function=name, arguments=SOUND.get(name, ())) for name in sorted(FUNCTIONS)]
)
LISTED = RuleFiles()
LISTED.lists.words["freemail_domains"] = {"example.org", "*.example"}
LISTED.lists.words["welcomelist_bounce_relays"] = {"*.example"}
LISTED.lists.addresses["L"] = {"*@*.example": ()}
_TEXT = st.sampled_from(
    [b"<a href=", b"<", b">", b"<img width=1 height=2>", b"a@example.org", b"=20", b"&#x0041;", b"\r\n", b"--b", b'"',
     b"Received: from x [127.0.0.1] by y; Mon, 21 Sep 2026 13:33:20 +0000\r\n", b"Content-Type: multipart/alternative; boundary=b\r\n",
     b"Content-Type: text/html\r\n", b"Content-Transfer-Encoding: base64\r\n", b"\r\n\r\n", b"<!--", b"-->", b"</", b"\xff", b"\0"]
)  # fmt: skip


@settings(max_examples=200, deadline=None)
@given(st.lists(_TEXT, max_size=30).map(b"".join))
def test_no_function_fails(content: bytes) -> None:
    facts = Facts(mail(content, SPF, DKIM), Knowledge(LISTED), Prediction(0.5, "m"), relays=RELAYS.__getitem__)
    assert EVERY.hits(facts)[1] == []


@pytest.mark.parametrize(
    "body", [b"=20" * 300_000, b"=20 " * 200_000, b"=20" + b" \t" * 400_000, b"=20=09\t\r\n" * 90_000]
)
def test_hostile_quoted_printable_takes_bounded_time(body: bytes) -> None:
    facts = facts_of(b"Content-Transfer-Encoding: quoted-printable\r\n\r\n" + body + b"x")
    started = time.process_time()
    call("check_qp_ratio", "0.5", facts)
    assert time.process_time() - started < 0.3


@pytest.mark.parametrize(
    "body",
    [
        "<a " * 200_000,
        '<a href="' * 100_000,
        "<!--" * 200_000,
        "<script>" * 100_000,
        "<b>x" * 150_000,
        "a@" * 300_000,
        "a.b@example.org " * 30_000,
        "<a@b " * 100_000,
        "x<i></i>" * 60_000,
        "Received: a\n " * 50_000,
        "<font face='" + "a" * 300_000 + "'>",
        "=20" * 200_000,
        "--b\r\n" * 100_000,
    ],
    ids=range(13),
)
@pytest.mark.parametrize("kind", ["text/html", "multipart/alternative; boundary=b"])
def test_hostile_bodies_take_bounded_time(body: str, kind: str) -> None:
    facts = Facts(mail(message_bytes(body, Content_Type=kind), SPF), Knowledge(LISTED), relays=RELAYS.__getitem__)
    started = time.process_time()
    assert EVERY.hits(facts)[1] == []
    assert time.process_time() - started < 5
