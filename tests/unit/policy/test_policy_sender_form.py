"""policy/sender_form.py and policy/sender_csv.py: what may be said, and by whom."""

from __future__ import annotations

import contextlib
import csv
import io

import pytest
from hypothesis import given
from hypothesis import strategies as st

from gateway.errors import InputError
from gateway.policy.sender_csv import COLUMNS, MAX_BYTES, read_csv, write_csv
from gateway.policy.sender_form import (
    DAY_S,
    client_network,
    may_say,
    sender_entry,
    sender_pattern,
    sender_recipient,
)
from gateway.types import Account, SenderEntry

NOW = 1_800_000_000.0
OWNER = Account("sara", "owner")
ADMIN = Account("reza", "domain_admin", ("ours.test", "*.sub.test"))
REVIEWER = Account("mina", "reviewer")
LIMITED = Account("omid", "reviewer", ("ours.test",))
AUDITOR = Account("ali", "auditor")
YOU = Account("you", "recipient", (), ("you@ours.test",))


@pytest.mark.parametrize(
    ("text", "pattern"),
    [
        ("Sara@Example.ORG", "sara@example.org"),
        (" example.org. ", "example.org"),
        ("@example.org", "example.org"),
        (".example.org", ".example.org"),
        ("*.example.org", ".example.org"),
        ("sara@نامه.example", "sara@xn--mgb4dbg.example"),
        ("o'neil+x=y@example.org", "o'neil+x=y@example.org"),
    ],
)
def test_patterns(text: str, pattern: str) -> None:
    assert sender_pattern(text) == pattern
    assert sender_pattern(pattern) == pattern


@pytest.mark.parametrize(
    "text",
    ["", ".", "@", "*", "org", "co.uk", ".ir", ".ac.ir", "a b@example.org", "a@b@example.org", "<a@example.org>", "a@",
     "exa mple.org", "a\n@example.org", "a@-example", "*@example.org.", "a@" + "x" * 64 + ".org", "*.*.org", "..example.org"],
)  # fmt: skip
def test_what_is_no_pattern(text: str) -> None:
    if text == "*@example.org.":  # a local part like any other, as strange as it looks
        assert sender_pattern(text) == "*@example.org"
        return
    with pytest.raises(InputError):
        sender_pattern(text)


@given(st.text(max_size=60))
def test_any_text_is_a_pattern_or_a_fault(text: str) -> None:
    try:
        pattern = sender_pattern(text)
    except InputError:
        return
    assert sender_pattern(pattern) == pattern
    assert "\n" not in pattern
    assert len(pattern) <= 320


@pytest.mark.parametrize(
    ("text", "recipient"),
    [("", ""), (" You@Ours.test ", "you@ours.test"), ("Ours.test", "ours.test"), ("x", None), ("a@", None), ("@ours.test", None)],
)  # fmt: skip
def test_recipients(text: str, recipient: str | None) -> None:
    if recipient is None:
        with pytest.raises(InputError):
            sender_recipient(text)
    else:
        assert sender_recipient(text) == recipient


@pytest.mark.parametrize(
    ("text", "network"),
    [("", ""), ("192.0.2.7/24", "192.0.2.0/24"), ("2001:db8::1", "2001:db8::1/128"), ("0.0.0.0/0", None), ("10.0.0.0/8", None), ("x", None), ("::/16", None)],
)  # fmt: skip
def test_networks(text: str, network: str | None) -> None:
    if network is None:
        with pytest.raises(InputError):
            client_network(text)
    else:
        assert client_network(text) == network


@pytest.mark.parametrize(
    ("who", "yes", "no"),
    [
        (OWNER, ("", "ours.test", "you@ours.test", "else.test"), ()),
        (ADMIN, ("ours.test", "you@ours.test", "a.sub.test", "x@a.sub.test"), ("", "else.test", "x@else.test", "sub.test")),
        (REVIEWER, ("", "ours.test"), ()),
        (LIMITED, ("ours.test", "you@ours.test"), ("", "else.test")),
        (AUDITOR, (), ("", "ours.test")),
        (YOU, ("you@ours.test",), ("", "ours.test", "me@ours.test")),
    ],
)  # fmt: skip
def test_whose_mail_somebody_may_speak_about(who: Account, yes: tuple[str, ...], no: tuple[str, ...]) -> None:
    assert [may_say(who, one) for one in yes + no] == [True] * len(yes) + [False] * len(no)


def said(who: Account = OWNER, **changes: object) -> SenderEntry:
    values: dict = {
        "act": "allow",
        "pattern": "a@example.org",
        "recipient": "you@ours.test",
        "expires_at": NOW + DAY_S,
        "now": NOW,
    }
    return sender_entry(who, **(values | changes))  # fmt: skip


def test_an_entry() -> None:
    entry = said(note="  so \n it is " + "x" * 900, held_id="h")
    assert (entry.by, entry.at, entry.held_id, len(entry.note)) == ("sara", NOW, "h", 500)
    assert entry.note.startswith("so it is x")


@pytest.mark.parametrize(
    ("who", "changes", "is_taken"),
    [
        (OWNER, {"expires_at": None}, True),
        (OWNER, {"network": "192.0.2.0/24"}, True),
        (ADMIN, {"expires_at": None}, False),
        (ADMIN, {"network": "192.0.2.0/24"}, False),
        (ADMIN, {"expires_at": None, "act": "block"}, True),
        (YOU, {"expires_at": None, "act": "block"}, True),
        (YOU, {"recipient": ""}, False),
        (OWNER, {"network": "192.0.2.0/24", "act": "block"}, False),
        (OWNER, {"act": "trust"}, False),
        (OWNER, {"expires_at": NOW}, False),
        (OWNER, {"expires_at": NOW + 367 * DAY_S}, False),
        (OWNER, {"expires_at": NOW + 367 * DAY_S, "act": "block"}, True),
        (OWNER, {"expires_at": NOW + 4000 * DAY_S, "act": "block"}, False),
        (AUDITOR, {}, False),
    ],
)
def test_who_may_say_what(who: Account, changes: dict, is_taken: bool) -> None:
    if is_taken:
        said(who, **changes)
    else:
        with pytest.raises(InputError):
            said(who, **changes)


# --- CSV ------------------------------------------------------------------------------------------------------------------


def read(text: str, who: Account = OWNER) -> list[SenderEntry]:
    return read_csv(text.encode(), who, NOW, 30)


def test_what_was_written_is_read_again() -> None:
    entries = [
        said(note='=1+1, "quoted"\N{ZERO WIDTH NON-JOINER}سلام'),
        said(act="block", pattern=".example.org", recipient="", expires_at=None),
        said(network="192.0.2.0/24", pattern="-x@example.org"),
    ]
    text = "".join(write_csv(entries))
    assert text.splitlines()[0] == ",".join(COLUMNS)
    assert [line[1][:1] for line in csv.reader(io.StringIO(text))] == ["p", "a", ".", "'"]
    assert "'=1+1" in text  # a spreadsheet sees no formula
    assert read("\ufeff" + text) == entries


def test_defaults_and_the_last_of_the_same() -> None:
    entries = read("pattern,act,other\na@example.org,allow,x\nb@example.org,BLOCK,\na@example.org,allow,y\n")
    assert [(one.act, one.pattern, one.expires_at) for one in entries] == [
        ("allow", "a@example.org", NOW + 30 * DAY_S),
        ("block", "b@example.org", None),
    ]
    (day,) = read("act,pattern,expires\nallow,a@example.org,2027-01-20\n")
    assert day.expires_at == 1_800_489_600.0  # the day counts whole


@pytest.mark.parametrize(
    ("content", "fault"),
    [
        (b"", "first line"),
        (b"a,b\n1,2\n", "first line"),
        (b"act,pattern\n\xff,x\n", "not UTF-8"),
        (b'act,pattern\n"allow,x\n', "no CSV"),
        (
            b"act,pattern\nallow,a@example.org\nallow,\nx,a@example.org\n",
            "line 3: Write the sender.*\n?line 4: Write allow",
        ),
        (b"act,pattern,expires\nallow,a@example.org,soon\n", "line 2: “soon” is no day"),
        (b"act,pattern,expires\nallow,a@example.org,2020-01-01\n", "line 2: An entry ends in the future"),
        (b"x" * (MAX_BYTES + 1), "larger than 4 MiB"),
    ],
)
def test_a_file_at_fault_is_not_taken(content: bytes, fault: str) -> None:
    with pytest.raises(InputError, match=f"(?s){fault}"):
        read_csv(content, OWNER, NOW, 30)


def test_a_file_says_no_more_than_a_form_may() -> None:
    with pytest.raises(InputError, match="line 2: Your account may not"):
        read("act,pattern,recipient\nallow,a@example.org,me@ours.test\n", YOU)


@given(st.binary(max_size=300))
def test_any_bytes_are_entries_or_one_fault(content: bytes) -> None:
    with contextlib.suppress(InputError):
        read_csv(b"act,pattern\n" + content, OWNER, NOW, 30)
