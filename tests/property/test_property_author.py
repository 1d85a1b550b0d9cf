"""Where we find one author domain, another program (Python's email package) shows no author of any other domain."""

from __future__ import annotations

import email
import email.policy
from email.utils import getaddresses

from hypothesis import example, given, settings
from hypothesis import strategies as st

from gateway.auth.author import read_author
from gateway.mail import parse
from gateway.mail.address import domain_of
from gateway.mail.edit import edit_header, to_crlf

NAMES = st.sampled_from(
    ["From:", "from:", "FROM :", "From\t:", "From\r\n :", " From:", "From\0:", "From", "\ufeffFrom:", "From\x0b:", "X:"]
)
PIECES = (
    *("a@evil.example", "<a@evil.example>", "b@bank.example", "<b@bank.example>", '"b@bank.example"'),
    *("(b@bank.example)", "=?utf-8?q?b=40bank.example?=", "Ann", ",", ";", ":", " ", "\r\n ", "\r\n\t"),
    *("\0", "\r", "\n", "\\", '"', "<", ">"),
)
VALUES = st.lists(st.sampled_from(PIECES), min_size=1, max_size=5).map("".join)
LINES = st.one_of(
    st.builds(lambda name, value: f"{name} {value}\r\n", NAMES, VALUES),
    st.sampled_from(
        ["To: you@darban.test\r\n", "This is no field\r\n", " \r\n", "\r\n", "Sender: b@bank.example\r\n", "\r"]
    ),
)


SOUND = st.sampled_from(
    ["", "From: a@evil.example\r\n", "From: Ann <a@evil.example>\r\n", "From: Ann\r\n <a@evil.example>\r\n"]
)
HEADS = st.tuples(st.lists(LINES, max_size=3).map("".join), SOUND, st.lists(LINES, max_size=3).map("".join)).map(
    "".join
)


def shown(content: bytes) -> set[str]:
    """The domains of the authors that Python's email package finds in it."""
    fields = email.message_from_bytes(content, policy=email.policy.compat32).get_all("From", [])
    found = {domain_of(address) for _, address in getaddresses([str(field) for field in fields])}
    return {domain for domain in found if "." in domain}


@given(HEADS)
@settings(max_examples=1500)
@example("From: a@evil.example\r\nX: \rFrom: b@bank.example\r\n")
@example("From: a@evil.example\r\n \r\nFrom: b@bank.example\r\n")
def test_no_other_author_is_shown(head: str) -> None:
    content = f"{head}Subject: Hello\r\n\r\nHello\r\n".encode()
    author = read_author(parse(content))
    if author.domain:
        delivered = to_crlf(edit_header(content, lambda _name, _raw: False, [b"X-Darban-Id: 1\r\n"]))
        assert shown(delivered) <= {author.domain}
