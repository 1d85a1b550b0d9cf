"""`darban domain check`: exit status, output for people and programs."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.dns_server import DnsServer
from tests.unit.cli.test_cli_errors import darban

ZONES = {
    "good.example": {"MX": ["10 mx.good.example"], "TXT": ["v=spf1 mx -all"]},
    "mx.good.example": {"A": ["192.0.2.1"]},
    "_dmarc.good.example": {"TXT": ["v=DMARC1; p=reject; rua=mailto:dmarc@good.example"]},
    "bad.example": {"MX": ["10 mx.elsewhere.example"]},
}


@pytest.fixture
def folder(tmp_path: Path) -> Iterator[Path]:
    with DnsServer(ZONES) as server:
        (tmp_path / "darban.toml").write_text(
            f'hostname = "mx.good.example"\n[dns]\nnameservers = ["{server.address}"]\ntimeout_s = 0.5\n'
            '[[domain]]\nname = "good.example"\nnext_hop = "smtp://10.0.0.5:25"\n'
            '[[domain]]\nname = "bad.example"\nnext_hop = "maildir:var/maildir"\n'
        )
        yield tmp_path


def check(folder: Path, *arguments: str) -> tuple[int, str, str]:
    done = darban("domain", "check", *arguments, "--config", "darban.toml", folder=folder)
    return done.returncode, done.stdout, done.stderr


def test_no_problem(folder: Path) -> None:
    status, said, error = check(folder, "good.example")
    assert (status, error) == (0, "")
    assert "all mail comes through this gateway" in " ".join(said.replace("│", " ").split())
    assert '_mta-sts.good.example. TXT "v=STSv1; id=1"\n' in said


def test_problems_as_json(folder: Path) -> None:
    status, said, error = check(folder, "bad.example", "--selector", "gone", "--json")
    topics = {topic["name"]: topic for topic in map(json.loads, said.splitlines())}
    assert (status, error) == (1, "")
    assert {name for name, topic in topics.items() if topic["status"] == "problem"} == {"MX", "SPF", "DKIM", "DMARC"}
    assert topics["MX"]["publish"] == [{"name": "bad.example", "type": "MX", "value": "10 mx.good.example."}]
    assert set(topics["MX"]) == {"name", "status", "found", "words", "publish"}


@pytest.mark.parametrize(("domain", "said"), [("nowhere.example", "no such domain"), ("x", "not a domain name")])
def test_bad_input(folder: Path, domain: str, said: str) -> None:
    status, output, error = check(folder, domain)
    assert (status, output, len(error.splitlines())) == (2, "", 1)
    assert said in error
