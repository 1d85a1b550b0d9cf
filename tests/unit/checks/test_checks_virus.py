"""checks/virus.py: what kind of thing a signature's name tells of, and that silence is never a pass."""

from __future__ import annotations

import pytest

from gateway.actions.danger import kind_of
from gateway.checks.virus import Virus
from gateway.policy.decide import decide
from gateway.types import DomainPolicy, Finding, Hit, Missing, ScannerAnswer
from tests.builders import mail, message_bytes, recipient, verdict
from tests.fakes import FakeResolver

MAIL = mail(message_bytes())


class Scanner:
    """Knows one thing."""

    def __init__(self, answer: ScannerAnswer) -> None:
        self.answer = answer
        self.shown: list[bytes] = []

    async def scan(self, content: bytes) -> ScannerAnswer:
        self.shown.append(content)
        return self.answer


async def seen(answer: ScannerAnswer) -> list[Finding | Missing]:
    scanner = Scanner(answer)
    found = [*await Virus(scanner).check(MAIL, FakeResolver())]
    assert scanner.shown == [MAIL.message.raw], "as it was received"
    return found


@pytest.mark.parametrize(
    ("signature", "name", "kind"),
    [
        ("Win.Test.EICAR_HDB-1", "VIRUS_FOUND", "malware"),
        ("Eicar-Signature", "VIRUS_FOUND", "malware"),
        ("Doc.Downloader.Emotet-7580152-0", "VIRUS_FOUND", "malware"),
        ("Sanesecurity.Malware.29019.JsHeur.UNOFFICIAL", "VIRUS_FOUND", "malware"),
        ("Html.Trojan.Agent-1", "VIRUS_FOUND", "malware"),
        ("Heuristics.Phishing.Email.SpoofedDomain", "PHISH_SIGNATURE", "phishing"),
        ("Html.Phishing.Bank-1143", "PHISH_SIGNATURE", "phishing"),
        ("Sanesecurity.Phishing.Fake.UNOFFICIAL", "PHISH_SIGNATURE", "phishing"),
        ("Email.Phishing.VOF1-6359186-0", "PHISH_SIGNATURE", "phishing"),
        ("Sanesecurity.Scam4.UNOFFICIAL", "PHISH_SIGNATURE", "phishing"),
        ("PUA.Win.Packer.UPX-1", "UNWANTED_SIGNATURE", "spam"),
        ("Heuristics.Encrypted.Zip", "UNWANTED_SIGNATURE", "spam"),
        ("Heuristics.Limits.Exceeded.MaxFileSize", "UNWANTED_SIGNATURE", "spam"),
        ("Sanesecurity.Junk.3411.UNOFFICIAL", "UNWANTED_SIGNATURE", "spam"),
        ("Win.Ransom.Phobos-1", "VIRUS_FOUND", "malware"),
        ("Win.Trojan.Scamander-1", "VIRUS_FOUND", "malware"),
    ],
)
async def test_the_kinds_of_signatures(signature: str, name: str, kind: str) -> None:
    assert await seen(ScannerAnswer(signature)) == [Finding(name, (f"ClamAV knows {signature}",))]
    assert kind_of([Hit(name, 6.0, "")]) == kind


async def test_nothing_found_is_nothing_said() -> None:
    assert await seen(ScannerAnswer()) == []
    assert [*await Virus().check(MAIL, FakeResolver())] == []


async def test_silence_is_not_clean() -> None:
    (missing,) = await seen(ScannerAnswer(fault="it cannot be reached"))
    assert missing == Missing("clamav: it cannot be reached")
    said = verdict(0.0, incomplete=(missing.what,))
    policy = DomainPolicy("darban.test", "smtp://a:25", on_incomplete="quarantine")
    assert decide(said, recipient("you@darban.test"), policy).action == "quarantine"
