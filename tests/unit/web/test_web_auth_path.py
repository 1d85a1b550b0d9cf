"""web/auth_path.py: the stations of a message's way, in order."""

from __future__ import annotations

import pytest

from gateway.mail import parse
from gateway.types import AuthResult, HeldMessage, Summary
from gateway.web.auth_path import Step, path
from tests.builders import message_bytes

HELD = HeldMessage(
    "a" * 32, "Q", "b" * 64, "a@x.example", "you@darban.test", "darban.test", "192.0.2.1", "h", 0.0, Summary(), 9.0, "", "{}"
)  # fmt: skip
CLIENT = Step("client", "192.0.2.1", "", "unknown")


@pytest.mark.parametrize(
    ("auth", "steps"),
    [
        ([], []),
        ([AuthResult("iprev", "pass", "mx.x.example")], [Step("client", "192.0.2.1", "pass", "good")]),
        (
            [AuthResult("spf", "softfail", "x.example", identity="mailfrom", is_aligned=True)],
            [CLIENT, Step("spf", "x.example", "softfail", "bad", True)],
        ),
        ([AuthResult("spf", "none", "h", identity="helo")], [CLIENT, Step("helo", "h", "none", "unknown")]),
        (
            [AuthResult("dkim", "pass", "s.example"), AuthResult("dkim", "temperror", "t.example")],
            [CLIENT, Step("dkim", "s.example", "pass", "good"), Step("dkim", "t.example", "temperror", "unknown")],
        ),
        (
            [AuthResult("dmarc", "fail", "x.example", policy="reject"), AuthResult("arc", "pass", "list.example")],
            [
                CLIENT,
                Step("arc", "one.example", "pass", "good"),
                Step("arc", "list.example", "pass", "good"),
                Step("dmarc", "x.example", "fail", "bad", policy="reject"),
            ],
        ),
        ([AuthResult("dkim", "pass", "s.example")] * 20, [CLIENT, *[Step("dkim", "s.example", "pass", "good")] * 8]),
    ],
)
def test_path(auth: list[AuthResult], steps: list[Step]) -> None:
    sealed = b"ARC-Seal: i=2; a=x; d=List.example\r\nARC-Seal: d=one.example; i=1\r\nARC-Seal: nonsense\r\n"
    has_chain = any(one.method == "arc" for one in auth)
    assert path(HELD, auth, parse((sealed if has_chain else b"") + message_bytes())) == steps


def test_a_deleted_message_has_its_results_still() -> None:
    assert [step.role for step in path(HELD, [AuthResult("dmarc", "none")], None)] == ["client", "dmarc"]
