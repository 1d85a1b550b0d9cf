"""The benchmarks run and tell what they must, on a few messages of our own."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from benchmarks import mail
from benchmarks.machine import percentile
from benchmarks.processes import cpu_s, family
from benchmarks.scanners import Answer, Misconfigured, Scanner
from benchmarks.scanners.bogofilter import Bogofilter
from benchmarks.scanners.darban import Darban
from benchmarks.scanners.rspamd import Instance, Rspamd
from benchmarks.scanners.spamassassin import Spamd
from benchmarks.soak import line
from benchmarks.training import varied, write_mboxes
from gateway.classify.corpus import read_sources, sources
from gateway.cli.demo import samples

ROOT = Path(__file__).parent.parent.parent
pytestmark = pytest.mark.e2e


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    for name, content in samples():
        (tmp_path / name).write_bytes(content)
    return tmp_path


def run(module: str, *arguments: str, env: dict[str, str] | None = None) -> dict:
    command = [sys.executable, "-m", f"benchmarks.{module}", "--number", "40", *arguments]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT, env=env)
    assert done.returncode == 0, done.stderr
    assert "accounted" not in done.stderr
    result = json.loads(done.stdout)
    assert set(result["machine"]) == {"cpu", "cores", "python", "commit", "date"}
    return result


def test_scan(folder: Path) -> None:
    result = run("scan", "--passes", "1", "--messages", str(folder))
    assert result["messages"] == 40
    assert result["messages_per_s"] > 0
    assert set(result["stages"]) == {"parse", "authenticate", "checks", "rules", "classify", "explain"}
    assert abs(sum(stage["share"] for stage in result["stages"].values()) - 1) < 0.01


def test_why(folder: Path) -> None:
    result = run("why", "--messages", str(folder))
    assert 0 < result["not_accepted"] == sum(result["enough"].values()) < result["messages"]
    assert 0 < result["cpu_ms"]["p50"] <= result["cpu_ms"]["max"]
    assert "reply_to" in result["changes"]


def test_training(folder: Path) -> None:
    (figures,) = run("training", "--messages", str(folder))["runs"]
    assert (figures["messages"], figures["passes"]) == (40, 0)
    assert 0 < figures["peak_pss_mib"] <= figures["peak_rss_mib"]


def test_mboxes_hold_every_message(tmp_path: Path) -> None:
    made = list(itertools.islice(varied(mail.made_up(6), 1), 30))
    write_mboxes(made, tmp_path)
    found = [sample.is_spam for sample in read_sources(sources([tmp_path]))]
    assert sorted(found) == sorted(one.is_spam for one in made)


def test_messages_are_varied_without_end_and_keep_their_words() -> None:
    made = list(mail.made_up(4))
    again = list(itertools.islice(varied(made, 1), 12))
    assert again == list(itertools.islice(varied(made, 1), 12))
    assert again[:4] == made
    assert len({one.content for one in again}) == 12
    for number, one in enumerate(again):
        assert sorted(one.content.split()) == sorted(made[number % 4].content.split())
        assert one.is_spam == made[number % 4].is_spam


def test_classify(folder: Path) -> None:
    result = run("classify", "--passes", "1", "--messages", str(folder))
    assert result["messages"] == 40
    for figures in result["us"].values():
        assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]
    assert result["model_file_kib"] < 4096


def test_learn(folder: Path) -> None:
    result = run("learn", "--lessons", "300", "--messages", str(folder))
    assert result["messages"] == 40
    assert set(result["us"]) == {"update", "step", "lesson"}
    for figures in result["us"].values():
        assert 0 < figures["p50"] <= figures["p99"] <= figures["max"]
    assert result["replay"]["lessons"] == 300
    assert 0 < result["replay"]["ledger_bytes_a_lesson"] < 20_000


def test_authentication() -> None:
    result = run("authentication", "--passes", "1")
    for algorithm in ("rsa-2048", "ed25519"):
        us = result[algorithm]["us"]
        assert set(us) == {"spf", "spf of HELO", "dkim", "dmarc", "together", "iprev"}
        assert 0 < us["dkim"] < us["together"]
        assert 9_000 < result[algorithm]["size_bytes"] < 11_000


def test_scorers(folder: Path) -> None:
    result = run("scorers", "--passes", "1", "--messages", str(folder))
    assert result["in_process_us"] > 0
    for pool in (result["1 scorers"], result["2 scorers"]):
        assert pool["messages_per_s"] > 0
        assert pool["scorers_us"] > 0
        assert pool["memory_mib"]["scorer 1"]["pss"] > 0


def test_dns(folder: Path) -> None:
    result = run("dns", *"--affected 4 --rounds 1 --passes 1".split())
    assert all(one["ratio"] > 0 and one["incomplete"] for fault, one in result["faults"].items() if fault != "slow")
    assert all(microseconds > 0 for microseconds in result["look_up_us"].values())


def test_smtp_load(folder: Path) -> None:
    result = run("smtp_load", *"--connections 4 --idle 3 --doors darban,postfix".split(), "--messages", str(folder))
    assert result["straight_to_sink"]["replies"] == {"250": 40}
    assert set(result["doors"]) | set(result["absent"]) == {"darban", "postfix"}
    assert "darban" in result["doors"]
    for door in result["doors"].values():
        assert door["4"]["replies"] == {"250": 40}
        assert door["4"]["cpu_ms"] > 0
        assert door["4"]["memory_mib"] > 10


def test_smtp_listener(folder: Path) -> None:
    result = run("smtp_listener", *"--connections 4 --passes 2".split(), "--messages", str(folder))
    assert result["replies"] == {"250": 40}
    assert len(result["cpu_ms_of_each_pass"]) == 2
    assert 0 < result["cpu_ms"] == min(result["cpu_ms_of_each_pass"])
    assert result["others_cpu_ms"] < result["cpu_ms"]


def test_milter(folder: Path) -> None:
    result = run("milter", "--messages", str(folder))
    assert all(result[f"{number} a connection"]["cpu_us"] > 0 for number in (1, 10))


def test_soak(folder: Path) -> None:
    result = run("soak", *"--seconds 8 --rate 10 --warm-up 2 --every 1".split(), "--messages", str(folder))
    assert result["messages"] == 80
    assert set(result["replies"]) <= {"250", "451", "550"}
    for kind in ("pss", "anonymous"):
        assert {"supervisor", "admin", "listener-1", "scorers", "scorers 1", "all"} <= set(result["memory"][kind])
        assert all(one["samples"] >= 4 for one in result["memory"][kind].values())
    assert result["memory"]["anonymous"]["all"]["mib"] < result["memory"]["pss"]["all"]["mib"]


@pytest.mark.parametrize(
    ("grows", "noise", "verdict", "about"),
    [
        (0.0, 0.5, "flat", 0),
        (4.0, 0.1, "flat", 4),
        (-30.0, 0.5, "flat", -30),
        (20.0, 0.5, "grows", 20),
        (6.0, 8.0, "unclear", 6),
    ],
)
def test_a_line_through_memory(grows: float, noise: float, verdict: str, about: float) -> None:
    """100 MiB, 61 samples in half an hour."""
    points = [(at / 120, 100 + grows * at / 120 + noise * (-1) ** at) for at in range(61)]
    told = line(points)
    assert (told["verdict"], told["samples"]) == (verdict, 61)
    assert abs(told["mib_an_hour"] - about) <= told["plus_minus"]


def test_growth(folder: Path) -> None:
    result = run("growth", "--messages", str(folder), *"--sizes 1000,200000 --counts 20 --passes 1".split())
    assert [row["incomplete"] for row in result["sizes"]] == [[], []]
    assert all(row["judging_ms"] > 0 and row["decoding_ms"] > 0 for row in result["sizes"])
    assert result["without_rules"]["rules"] == 0
    for shape, rows in result["rules"].items():
        assert [row["problems"] for row in rows] == [0], shape
        assert rows[0]["rules"] == (40 if shape == "meta" else 20)


# --- peers ----------------------------------------------------------------------------------------------------------

PEERS = "darban,darban in process,rspamd,rspamd + Bayes,spamd,bogofilter"


def test_peers(folder: Path, tmp_path: Path) -> None:
    """Whoever is installed is measured, the others are told of; nothing is said of how fast."""
    pictures = tmp_path / "peers.png"
    result = run("peers", *"--json --rounds 2 --cores 1 --train 500 --peers".split(), PEERS,
                 "--messages", str(folder), "--plot", str(pictures))  # fmt: skip
    measured = result["runs"]["1"]
    assert set(measured) | set(result["absent"]) == set(PEERS.split(","))
    assert {"darban", "darban in process"} <= set(measured)
    assert all(reason.endswith("not installed") for reason in result["absent"].values())
    for name, one in measured.items():
        assert one["messages"] == 40, name
        assert min(one["cpu_ms"], one["messages_per_s"], one["p50_ms"], one["worker"]["pss_mib"]) > 0, name
        assert one["p50_ms"] <= one["p99_ms"] <= one["max_ms"], name
    assert set(result["ratios"]["1"]["darban"]) == set(measured) - {"darban"}
    assert pictures.read_bytes().startswith(b"\x89PNG")


def test_absent_peers_are_told_of(folder: Path, tmp_path: Path) -> None:
    (tmp_path / "bin").mkdir()
    for name in ("taskset", "git"):
        (tmp_path / "bin" / name).symlink_to(str(shutil.which(name)))
    result = run("peers", *"--json --rounds 1 --cores 1 --peers".split(), "darban,bogofilter,rspamd + Bayes",
                 "--messages", str(folder), env=os.environ | {"PATH": str(tmp_path / "bin")})  # fmt: skip
    assert set(result["runs"]["1"]) == {"darban"}
    assert result["absent"] == {
        "rspamd + Bayes": "rspamd and redis-server not installed",
        "bogofilter": "bogofilter not installed",
    }


def test_an_unknown_peer_is_refused() -> None:
    command = [sys.executable, "-m", "benchmarks.peers", "--peers", "nobody"]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, "choose among darban" in done.stderr) == (1, True)


def corpus_of_ours(folder: Path) -> Path:
    for sample in mail.training(120, "made up"):
        place = folder / "spamassassin" / ("spam" if sample.is_spam else "ham") / f"{sample.path}.eml"
        place.parent.mkdir(parents=True, exist_ok=True)
        place.write_bytes(sample.content)
    return folder


def test_filters(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Words of spam and of ham stand apart, so whoever learned them makes no mistake."""
    monkeypatch.delenv("DARBAN_CORPORA", raising=False)
    out = tmp_path / "filters.json"
    command = [sys.executable, "-m", "benchmarks.filters", "--corpora", str(corpus_of_ours(tmp_path / "corpora"))]
    command += ["--every", "--filters", "bogofilter", "--out", str(out)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    result = json.loads(out.read_text())
    assert [one["trained_on"] for one in result["splits"]] == ["spamassassin, half", "every source, half"]
    for split in result["splits"]:
        assert split["trained"] + split["tested"] == 120
        assert set(split["filters"]) >= {"darban, classifier", "darban, verdict"}
        assert "bogofilter" in result["absent"] or "bogofilter" in split["filters"]
        for name, one in split["filters"].items():
            assert one["pairs"][0]["one_minus_auc"] == 0 or name == "darban, verdict"
            assert {(row["source"], row["spam"]) for row in one["flagged"]} == {
                ("spamassassin", True),
                ("spamassassin", False),
            }
            assert sum(row["of"] for row in one["flagged"]) == split["tested"]
        assert split["filters"]["darban, classifier"]["pairs"][0]["difference"] == [0, 0]


def test_message_log(tmp_path: Path) -> None:
    out = tmp_path / "log.json"
    command = [sys.executable, "-m", "benchmarks.message_log", "--rows", "3000", "--batches", "2", "--out", str(out)]
    done = subprocess.run([*command, "--folder", str(tmp_path)], capture_output=True, text=True, check=False, cwd=ROOT)
    assert done.returncode == 0, done.stderr
    for store in json.loads(out.read_text())["stores"].values():
        found = {one["search"]: one for one in store["searches"]}
        assert all(found[name]["rows"] == 50 for name in ("the newest", "verdict", "a domain admin's newest"))
        assert (found["queue id of the next hop"]["p95_ms"] > 0, found["subject, not there"]["rows"]) == (True, 0)
        assert store["append_rows_s"] > 0


@pytest.mark.parametrize(
    ("options", "says"),
    [
        ("--filters nobody", "choose among bogofilter"),
        ("", "name the folder of the corpora"),
    ],
)
def test_filters_that_cannot_be_compared(options: str, says: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("DARBAN_CORPORA", raising=False)
    place = ["--corpora", "."] if "filters" in options else []
    command = [sys.executable, "-m", "benchmarks.filters", *place, *options.split()]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, says in done.stderr) == (1, True)


def answers(*symbols: str) -> list[Answer]:
    return [Answer(1.0, symbols)] * 10


@pytest.mark.parametrize(
    ("scanner", "symbols", "complaint"),
    [
        (Rspamd(bayes=False), ("A", "B", "C", "D"), ""),
        (Rspamd(bayes=False), ("A", "B"), "hardly a symbol"),
        (Rspamd(bayes=False), ("A", "B", "C", "BAYES_HAM"), "should be off"),
        (Rspamd(bayes=True), ("A", "B", "C", "D"), "Bayes spoke of 0 of 10"),
        (Rspamd(bayes=True), ("A", "B", "C", "BAYES_HAM"), ""),
        (Spamd(bayes=False), ("A", "B"), ""),
        (Spamd(bayes=False), (), "hardly a rule"),
        (Spamd(bayes=True), ("A", "B"), "Bayes spoke of 0 of 10"),
        (Bogofilter(), ("H",), "the same of every message"),
        (Darban("darban", [], pool=True), ("A", "CLASSIFIER"), ""),
        (Darban("darban", [], pool=True), ("A", "B"), "the classifier judged 0 of 10"),
    ],
)
def test_answers_without_a_look_are_an_error(scanner: Scanner, symbols: tuple[str, ...], complaint: str) -> None:
    with pytest.raises(Misconfigured, match=complaint) if complaint else contextlib.nullcontext():
        scanner.check(answers(*symbols))


def test_rspamd_asking_the_dns_is_an_error(tmp_path: Path) -> None:
    log = tmp_path / "rspamd.log"
    instance = Instance([], (0, 0), 1, log, bayes=False)
    line = "task; rspamd_task_write_log: id: <a@example.org>, (default: F (no action): [0.1/15.00] [A(0.1){}]), "
    log.write_text(f"{line}len: 9, time: 1.2ms, dns req: 0, digest: <0>\n")
    instance.settled()
    log.write_text(f"{line}len: 9, time: 1.2ms, dns req: 3, digest: <0>\n")
    with pytest.raises(Misconfigured, match="asked the DNS for 1"):
        instance.settled()


def test_cpu_of_a_family_counts_children_that_ended() -> None:
    burn = "import subprocess, sys, time\nsubprocess.run([sys.executable, '-c', 'sum(range(20_000_000))'])\nprint(flush=True)\ntime.sleep(60)"
    with subprocess.Popen([sys.executable, "-c", burn], stdout=subprocess.PIPE) as process:
        assert process.stdout and process.stdout.readline()
        assert cpu_s([process.pid]) > 0.1
        assert family(process.pid) == [process.pid]
        process.kill()


def test_training_is_apart_from_the_fixed_messages(corpora: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("DARBAN_CORPORA", str(corpora))
    fixed = {(one.source, one.path) for one in mail.messages(mail.FIXED)}
    learned = mail.training(1000)
    assert len(fixed) == mail.FIXED
    assert sum(one.is_spam for one in learned) == len(learned) / 2 == 500
    assert not fixed & {(one.source, one.path) for one in learned}


def test_no_messages_is_said(tmp_path: Path) -> None:
    command = [sys.executable, "-m", "benchmarks.scan", "--messages", str(tmp_path)]
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=ROOT)
    assert (done.returncode, "no .eml files there" in done.stderr, "Traceback" in done.stderr) == (1, True, False)


@pytest.mark.parametrize(("share", "value"), [(0.5, 2.0), (0.99, 4.0), (1, 4.0), (0.25, 1.0)])
def test_percentile(share: float, value: float) -> None:
    assert percentile([4.0, 1.0, 3.0, 2.0], share) == value
