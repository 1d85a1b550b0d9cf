"""stores/audit_chain.py: whatever is changed, taken out, added or cut off shows; what was erased does not."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from hypothesis import given
from hypothesis import strategies as st

from gateway.mail.address import mention_of
from gateway.stores import audit_chain
from gateway.stores.audit_chain import GENESIS, from_line, link, numbers_text, sign, to_line, verify, without
from gateway.types import AuditEntry, AuditHead

KEY = Ed25519PrivateKey.from_private_bytes(bytes(32))
OTHER = Ed25519PrivateKey.from_private_bytes(bytes(31) + b"1")
TEXT = {"account": "sara", "subject": "0" * 32, "domain": "example.ir", "detail": "released: 250 ok", "client": "::1"}


def chain(length: int = 5, **texts: str) -> list[AuditEntry]:
    entries: list[AuditEntry] = []
    for number in range(1, length + 1):
        former = entries[-1].hash if entries else GENESIS
        entries.append(link(number, 1_800_000_000.1234 + number, former, "release", **(TEXT | texts)))
    return entries


def head(entry: AuditEntry, key: Ed25519PrivateKey = KEY) -> AuditHead:
    return sign(AuditHead(entry.number, entry.hash), 1_800_000_009.0, key)


def test_a_whole_chain() -> None:
    entries = chain()
    found = verify(entries, [head(entries[2]), head(entries[4])], audit_chain.public_key(KEY))
    assert (found.faults, found.entries, found.signatures, found.signed_up_to) == ([], 5, 2, 5)
    assert verify([], []).faults == []


@pytest.mark.parametrize("name", ["at", "account", "act", "subject", "domain", "detail", "client", "former", "proofs"])
def test_every_part_of_an_entry_is_covered(name: str) -> None:
    entries = chain()
    changed: object = {"at": 1.0, "proofs": chain()[2].proofs, "former": "f" * 64}.get(name, "else")
    entries[2] = replace(entries[2], **{name: changed})
    assert any("entry 3" in fault for fault in verify(entries, []).faults)


@pytest.mark.parametrize(
    ("change", "said"),
    [
        (lambda e: e[:2] + e[3:], "entry 3: is missing"),
        (lambda e: [e[0], e[2], e[1], *e[3:]], "entry 2: is missing"),
        (lambda e: e[1:], "entry 1: is missing"),
        (lambda e: e[:3], "entries after 3 are missing: entry 5 was signed"),
        (lambda e: [], "entries after 0 are missing"),
        (lambda e: chain(), "entry 5: is not the one that was signed"),  # written anew as a whole
    ],
)
def test_what_is_taken_out_or_written_anew_shows(change: object, said: str) -> None:
    entries = chain()
    found = verify(change(entries), [head(entries[4])])  # type: ignore[operator]
    assert any(said in fault for fault in found.faults), found.faults


def test_signatures() -> None:
    entries = chain()
    forged = replace(head(entries[4]), hash=entries[3].hash)
    assert "signature of its head is wrong" in verify(entries, [forged]).faults[0]
    assert "by another key" in verify(entries, [head(entries[4], OTHER)], audit_chain.public_key(KEY)).faults[0]
    assert verify(entries, [head(entries[4], OTHER)]).keys == {audit_chain.public_key(OTHER)}
    assert verify(entries, [replace(head(entries[4]), key="not hex")]).faults


def test_an_erased_text_leaves_the_chain_whole_only_where_an_entry_says_so() -> None:
    entries = chain(detail="to <Sara@Example.ir>, not to tsara@example.ir")
    entries[1] = without(entries[1], mention_of("sara@example.ir"), "erased:1")
    assert entries[1].detail == "to <erased:1>, not to tsara@example.ir"
    assert sum(proof.startswith("-") for proof in entries[1].proofs) == 1
    assert without(entries[1], mention_of("sara@example.ir"), "erased:1") == entries[1]
    assert verify(entries, [head(entries[4])]).faults == [
        "entry 2: has erased texts, and no later entry says who erased them"
    ]
    texts = TEXT | {"detail": "log 3 " + numbers_text([2])}
    entries.append(link(6, 1_800_000_010.0, entries[4].hash, "erase", **texts))
    found = verify(entries, [head(entries[4])])
    assert (found.faults, found.erased) == ([], 1)


@pytest.mark.parametrize(
    ("numbers", "text"), [([], ""), ([3], "audit:3"), ([9, 3, 4, 5, 7], "audit:3-5,7,9"), ([1, 2], "audit:1-2")]
)
def test_numbers(numbers: list[int], text: str) -> None:
    assert numbers_text(numbers) == text
    assert audit_chain._numbers(f"held 3 {text}") == set(numbers)


@given(st.text(max_size=40), st.text(max_size=40))
def test_an_export_comes_back(detail: str, account: str) -> None:
    entry = link(1, 1_800_000_000.5, GENESIS, "view", **(TEXT | {"detail": detail, "account": account}))
    assert from_line(to_line(entry)) == entry
    assert verify([entry], []).faults == []


def test_lines() -> None:
    one = head(chain()[0])
    assert from_line(to_line(one)) == one
    event = {"event": "audit head", "level": "info"} | json.loads(to_line(one))["head"]
    assert from_line(json.dumps(event)) == one
    assert from_line('{"event": "learned"}') is None
    for line in ('{"entry": {}}', '{"head": 1}', "[]", "x", '{"event": "audit head"}'):
        with pytest.raises(ValueError, match=r"entry|Expecting"):
            from_line(line)
