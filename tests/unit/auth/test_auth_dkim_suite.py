"""dkimpy's own tests and vectors, with our verification in the place of its: DARBAN_DKIMPY_SUITE names a copy of its
dkim/tests, else it is looked for in suites/dkimpy/tests beside the corpora. The project does not ship it;
test_auth_dkim.py has the RFCs' vectors and cases of its own.
"""

from __future__ import annotations

import asyncio
import base64
import contextlib
import importlib
import os
import sys
import unittest
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import dkim as dkimpy
import pytest
from cryptography.hazmat.primitives.asymmetric import ed25519

from gateway.auth import dkim
from gateway.mail import parse
from gateway.types import DnsAnswer
from tests.conftest import corpora_folder

MODULES = ("test_dkim", "test_dkim_ed25519")
# Where we decide otherwise on purpose; gateway/auth/dkim.py says why.
STRICTER = {
    ("test_dkim", "test_l_verify"): "text behind l= passes there",
    ("test_dkim", "test_dkim_signature_canonicalization"): "an RSA key of 512 bits passes there",
}


class TheirDns:
    """ports.Resolver over the look-up function of a dkimpy test."""

    def __init__(self, lookup: Any) -> None:
        self._lookup = lookup

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        try:
            record = self._lookup(f"{name}.".encode())
        except (AssertionError, KeyError):
            record = None
        if not record:
            return DnsAnswer("nxdomain")
        return DnsAnswer("noerror", (record if isinstance(record, bytes) else record.encode(),))


def is_valid(content: bytes, lookup: Any, place: int = 0) -> bool:
    results = asyncio.run(dkim.evaluate(parse(content), TheirDns(lookup)))
    return place < len(results) and results[place].result == "pass"


def _ed25519_for_dkimpy() -> dict[str, ModuleType]:
    """What dkimpy takes of PyNaCl to sign, on cryptography."""
    signing, encoding = ModuleType("nacl.signing"), ModuleType("nacl.encoding")
    encoding.Base64Encoder = "base64"  # type: ignore[attr-defined]

    class SigningKey:
        def __init__(self, seed: bytes, encoder: object = None) -> None:
            self._key = ed25519.Ed25519PrivateKey.from_private_bytes(base64.b64decode(seed) if encoder else seed)

        def sign(self, content: bytes) -> SimpleNamespace:
            return SimpleNamespace(signature=self._key.sign(content))

    signing.SigningKey = SigningKey  # type: ignore[attr-defined]
    package = ModuleType("nacl")
    package.signing, package.encoding = signing, encoding  # type: ignore[attr-defined]
    return {"nacl": package, "nacl.signing": signing, "nacl.encoding": encoding}


def _replace_verification(monkeypatch: pytest.MonkeyPatch, folder: Path) -> None:
    theirs, begin = dkimpy.DKIM.verify, dkimpy.DKIM.__init__

    def remember(self: Any, message: Any = None, *args: Any, **options: Any) -> None:
        self.whole = message
        begin(self, message, *args, **options)

    def verify(self: Any, idx: int = 0, dnsfunc: Any = None) -> bool:
        with contextlib.suppress(Exception):
            theirs(self, idx=idx, dnsfunc=dnsfunc)  # for the attributes it sets
        return is_valid(self.whole, dnsfunc, idx)

    monkeypatch.setattr(dkimpy, "__path__", [*dkimpy.__path__, str(folder.parent)])
    monkeypatch.setattr(dkimpy, "verify", lambda message, *_, dnsfunc, **__: is_valid(message, dnsfunc))
    monkeypatch.setattr(dkimpy.DKIM, "__init__", remember)
    monkeypatch.setattr(dkimpy.DKIM, "verify", verify)
    nacl = _ed25519_for_dkimpy()
    monkeypatch.setattr(dkimpy, "nacl", nacl["nacl"], raising=False)
    for name, module in nacl.items():
        monkeypatch.setitem(sys.modules, name, module)


def _folder() -> Path | None:
    named = os.environ.get("DARBAN_DKIMPY_SUITE")
    corpora = corpora_folder()
    place = Path(named) if named else corpora.parent / "suites" / "dkimpy" / "tests" if corpora else None
    return place if place and (place / "test_dkim.py").is_file() else None


def test_dkimpys_own_tests_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    folder = _folder()
    if folder is None:
        pytest.skip("dkimpy's tests are not beside the corpora; DARBAN_DKIMPY_SUITE names their folder")
    _replace_verification(monkeypatch, folder)
    ran, wrong = 0, {}
    for module in MODULES:
        for suite in unittest.defaultTestLoader.loadTestsFromModule(importlib.import_module(f"dkim.tests.{module}")):
            for case in suite:  # type: ignore[union-attr]
                ran += 1
                result = unittest.TestResult()
                case.run(result)
                for _, trace in result.failures + result.errors:
                    wrong[module, case._testMethodName] = trace.strip().splitlines()[-1]  # type: ignore[union-attr]
    print(f"{ran} tests, {ran - len(wrong)} pass")
    assert {name: why for name, why in wrong.items() if name not in STRICTER} == {}
    assert set(wrong) == set(STRICTER)
    assert ran >= 30
