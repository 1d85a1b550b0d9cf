"""A real clamd that looks into every message, and what happens when it is gone or stands still."""

from __future__ import annotations

import base64
import io
import json
import time
import urllib.request
import zipfile
from collections.abc import Iterator

import pytest

from tests.builders import message_bytes
from tests.clamd_server import PHISH, VIRUS, ClamdServer, clamd_server
from tests.e2e import peers
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
TIMEOUT_S, REST_S = 4.0, 5.0  # on a busy machine it takes its time


@pytest.fixture(scope="module")
def clamd() -> Iterator[ClamdServer]:
    with clamd_server() as one:
        yield one


@pytest.fixture(scope="module")
def running(clamd: ClamdServer, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    folder = tmp_path_factory.mktemp("clamav")
    extra = f'[clamav]\nsocket = "{clamd.address}"\ntimeout_s = {TIMEOUT_S}\n'
    with peers.gateway(folder, f"maildir:{folder}/mail", extra=extra) as one:
        yield one


def attached(content: bytes, name: str = "report.zip") -> bytes:
    """A message with an archive that holds this, packed twice."""
    for inner in ("report.txt", "inner.zip"):
        packed = io.BytesIO()
        with zipfile.ZipFile(packed, "w", zipfile.ZIP_DEFLATED) as archive:
            archive.writestr(inner, content)
        content = packed.getvalue()
    head = (
        f'--b\r\nContent-Type: application/zip; name="{name}"\r\n'
        f'Content-Disposition: attachment; filename="{name}"\r\nContent-Transfer-Encoding: base64\r\n\r\n'
    )
    return (
        f"--b\r\n\r\nThe report.\r\n{head}".encode()
        + base64.encodebytes(content).replace(b"\n", b"\r\n")
        + b"--b--\r\n"
    )


def send(gateway: peers.Gateway, subject: str, body: bytes, rcpt_to: str = "you@darban.test") -> dict:
    """The row of the message log."""
    kind = {"Content_Type": "multipart/mixed; boundary=b"} if body.startswith(b"--b") else {}
    content = message_bytes(body.decode("ascii"), Subject=subject, MIME_Version="1.0", **kind)
    assert peers.send(gateway.smtp_port, content, rcpt_to=[rcpt_to])[0] == 250
    rows: list[dict] = []

    def found() -> bool:
        rows[:] = [json.loads(line) for line in gateway.cli("trace", subject, "--json").stdout.splitlines()]
        return bool(rows)

    eventually(found)
    return rows[0]


def metric(gateway: peers.Gateway, name: str) -> float:
    with urllib.request.urlopen(f"http://127.0.0.1:{gateway.metrics_port}/metrics") as answer:
        lines = answer.read().decode().splitlines()
    return sum(float(line.split()[-1]) for line in lines if line.startswith(name))


def test_a_virus_in_an_archive_is_held_and_named(running: peers.Gateway) -> None:
    row = send(running, "two archives deep", attached(VIRUS * 10))
    assert row["action"] == "quarantine" and "VIRUS_FOUND" in row["hits"]
    (held,) = map(json.loads, running.cli("quarantine", "list", "--json").stdout.splitlines())
    told = running.cli("quarantine", "show", held["id"]).stdout
    assert "ClamAV knows Darban.Test.Virus.UNOFFICIAL" in told


def test_phishing_is_told_apart(running: peers.Gateway) -> None:
    assert "PHISH_SIGNATURE" in send(running, "phishing by name", PHISH + b"\r\n")["hits"]


def test_clean_mail_is_delivered(running: peers.Gateway) -> None:
    row = send(running, "a clean report", attached(b"All is well. " * 100))
    assert row["action"] == "accept" and not {"VIRUS_FOUND", "PHISH_SIGNATURE"} & set(row["hits"])
    eventually(lambda: metric(running, 'darban_clamav_scans_total{answer="clean"}') >= 1)
    assert metric(running, 'darban_clamav_scans_total{answer="failed"}') == 0
    eventually(lambda: metric(running, "darban_clamav_up") == 1)


def test_what_is_too_large_for_it_is_not_called_clean(running: peers.Gateway) -> None:
    row = send(running, "two megabytes", b"All is well. " * 6 + b"\r\n" + (b"x" * 70 + b"\r\n") * 30_000)
    assert row["action"] == "tag"
    assert row["reason"].startswith("incomplete: clamav: ") and "StreamMaxLength" in row["reason"]


def test_darban_scan_asks_it_too(running: peers.Gateway, clamd: ClamdServer) -> None:
    path = running.folder / "virus.eml"
    path.write_bytes(message_bytes(VIRUS.decode() + "\r\n"))
    told = json.loads(running.cli("scan", "--json", str(path)).stdout)
    assert {"name": "VIRUS_FOUND", "score": 12.0}.items() <= {
        **next(h for h in told["hits"] if h["name"] == "VIRUS_FOUND")
    }.items()


def test_one_that_stands_still_holds_nobody_up_for_long(running: peers.Gateway, clamd: ClamdServer) -> None:
    with clamd.standing_still():
        began = time.monotonic()
        row = send(running, "while it stands still", b"Hello\r\n")
        assert time.monotonic() - began < TIMEOUT_S + 10
        assert (row["action"], row["reason"]) == ("tag", "incomplete: clamav: no answer within 4 s")
    time.sleep(REST_S)
    assert send(running, "and goes on", b"Hello\r\n")["action"] == "accept"


def test_one_that_is_gone_is_said_and_asked_again(running: peers.Gateway, clamd: ClamdServer) -> None:
    clamd.kill()
    row = send(running, "while it is gone", VIRUS + b"\r\n")
    assert (row["action"], row["reason"]) == ("tag", "incomplete: clamav: it cannot be reached")
    clamd.start()
    assert "VIRUS_FOUND" in send(running, "and back again", VIRUS + b"\r\n")["hits"]
    assert "Traceback" not in running.log()
