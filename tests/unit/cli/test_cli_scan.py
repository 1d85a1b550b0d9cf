"""`darban scan`: its sources, its JSON, its exit status, its errors."""

from __future__ import annotations

import json
import mailbox
import subprocess
import sys
from pathlib import Path

import pytest

from gateway.classify.corpus import read_source, sources
from gateway.cli.demo import samples

ROOT = Path(__file__).parents[3]
SAMPLES = dict(samples())
CLEAN, SPAM = SAMPLES["1-clean.eml"], SAMPLES["2-spam.eml"]


def scan(*arguments: str, given: bytes = b"") -> tuple[int, list[dict], str]:
    """(exit status, JSON lines, standard error)."""
    command = [sys.executable, "-m", "gateway", "scan", "--no-dns", "--json", *arguments]
    done = subprocess.run(command, input=given, capture_output=True, check=False, cwd=ROOT)
    return done.returncode, [json.loads(line) for line in done.stdout.splitlines()], done.stderr.decode()


def test_every_kind_of_source(tmp_path: Path) -> None:
    (tmp_path / "one.eml").write_bytes(CLEAN)
    folder = tmp_path / "folder"
    folder.mkdir()
    for number in range(3):
        (folder / f"{number}.eml").write_bytes(SPAM)
    maildir = mailbox.Maildir(tmp_path / "Maildir")
    maildir.add(CLEAN)
    box = mailbox.mbox(tmp_path / "box.mbox")
    box.add(CLEAN)
    box.add(SPAM)
    box.close()
    status, lines, _ = scan(*(str(tmp_path / name) for name in ("one.eml", "folder", "Maildir", "box.mbox")))
    assert status == 1
    actions = [line["action"] for line in lines]
    assert sorted(actions) == ["accept"] * 3 + ["reject"] * 4


def test_json_and_standard_input() -> None:
    status, [line], _ = scan("-", given=SPAM)
    assert (status, line["action"]) == (1, "reject")
    assert abs(line["score"] - sum(hit["score"] for hit in line["hits"])) < 0.05
    assert {"name", "score", "description", "evidence"} <= set(line["hits"][0])
    assert scan("-", given=CLEAN)[0] == 0


def test_why_says_what_would_have_had_it_delivered() -> None:
    director = SAMPLES["6-spoofed.eml"]
    _, [line], _ = scan("--why", "-", given=director)
    assert line["action"] == "quarantine"
    assert (line["flip"]["action"], line["flip"]["was"]) == ("tag", "quarantine")
    assert line["flip"]["changes"] == [
        {"kind": "reply_to", "value": "", "text": "with answers going to its author"},
        {"kind": "subject", "value": "", "text": "with another subject"},
    ]
    assert "flip" not in scan("--why", "-", given=CLEAN)[1][0]
    assert "flip" not in scan("-", given=director)[1][0]


@pytest.mark.parametrize("arguments", [("/nowhere/at/all",), ("--client-ip", "300.1.1.1", "-")])
def test_bad_input_is_one_line(arguments: tuple[str, ...]) -> None:
    status, lines, error = scan(*arguments)
    assert (status, lines, len(error.strip().splitlines())) == (2, [], 1), error


def test_five_thousand_real_messages(corpora: Path, tmp_path: Path) -> None:
    wanted = 5000
    for name, path in sources([corpora]).items():
        if name in ("spamassassin", "phishing_pot"):
            for number, sample in enumerate(read_source(name, path)):
                (tmp_path / f"{name}-{number:05}.eml").write_bytes(sample.content)
    for file in sorted(tmp_path.iterdir())[wanted:]:
        file.unlink()
    status, lines, error = scan(str(tmp_path))
    assert status == 1
    assert len(lines) == wanted
    assert "Traceback" not in error
    assert [one for line in lines for one in line["incomplete"] if not one.startswith("dns")] == []
    assert max(line["seconds"] for line in lines) < 1.0
