"""ValiMail's ARC test suite, where a copy of it is at hand (tests/arc_suite.py)."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth import arc, seal
from gateway.mail import parse
from gateway.types import Message
from tests.arc_suite import SIGNING, VALIDATION, cases
from tests.fakes import FakeResolver


def zones(scenario: dict[str, Any]) -> dict[str, Any]:
    return {name: {"TXT": [record.strip()]} for name, record in scenario["txt-records"].items()}


@pytest.mark.parametrize(("scenario", "case"), cases(VALIDATION))
async def test_validation(scenario: dict[str, Any], case: dict[str, Any]) -> None:
    """Where the newest cv= or an older one is "fail" the suite expects nothing; RFC 8617 §5.2 says "fail"."""
    content = case["message"].replace("\n", "\r\n").encode()
    chain = await arc.evaluate(parse(content), "192.0.2.1", FakeResolver(zones(scenario)))
    assert chain.result.result == (case["cv"].strip().lower() or "fail"), chain.result.reason


@pytest.mark.parametrize(("scenario", "case"), cases(SIGNING))
async def test_signing(scenario: dict[str, Any], case: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Byte for byte, in the suite's order of tags and without folding. The results that a sealer is told of are what
    the suite has in Authentication-Results fields."""
    monkeypatch.setattr(seal, "MESSAGE_SIGNATURE_TAGS", sorted(seal.MESSAGE_SIGNATURE_TAGS))
    monkeypatch.setattr(seal, "SEAL_TAGS", sorted(seal.SEAL_TAGS))
    monkeypatch.setattr(seal, "_LINE", 10_000)
    monkeypatch.setattr(seal, "_CHUNK", 10_000)
    content = case["message"].replace("\n", "\r\n").encode()
    message = parse(content)
    sealer = seal.Sealer(
        scenario["domain"],
        scenario["sel"],
        seal.load_key(scenario["privatekey"].encode()),
        tuple(case["sig-headers"].split(":")),
    )
    chain = await arc.evaluate(message, "192.0.2.1", FakeResolver(zones(scenario)))
    sealed = sealer.seal(content, merged_results(message, case["srv-id"]), chain.result.result, float(case["t"]))
    assert sealed.endswith(content)
    added = parse(sealed).fields[: len(parse(sealed).fields) - len(message.fields)]
    found = {one.name: tags(one.text) for one in added}
    wanted = {"ARC-Seal": "AS", "ARC-Message-Signature": "AMS", "ARC-Authentication-Results": "AAR"}
    assert found == {name: tags(case[key]) for name, key in wanted.items() if case[key].strip()}


def merged_results(message: Message, authserv_id: str) -> str:
    """The results of every field of this authserv-id, in order."""
    fields = [one.text.partition(";") for one in message.by_name["authentication-results"]]
    return ";".join([authserv_id, *(rest for name, _, rest in fields if name.strip() == authserv_id)])


def tags(value: str) -> set[str]:
    return set("".join(value.split()).split(";"))
