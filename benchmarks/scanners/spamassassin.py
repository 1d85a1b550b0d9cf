"""SpamAssassin's spamd with Debian's rules, asked as spamc asks it, over loopback; -L: no network tests."""

from __future__ import annotations

import asyncio
import contextlib
import os
import re
import shutil
import subprocess
from collections.abc import Iterator, Sequence
from email.utils import formatdate
from pathlib import Path
from typing import Any

from benchmarks.processes import family, running
from benchmarks.scanners import Answer, Mail, OneAtATime, require
from benchmarks.scanners.rspamd import free_port, wait_until

_START_S = 60.0
_MIN_SYMBOLS = 1.5
_BIN = f"{os.environ.get('PATH', '')}:/usr/sbin"
_RESULT = re.compile(rb"Spam: (?:True|False) ; (-?[\d.]+) / ")


class Spamd:
    """With `bayes` also its classifier, its database in files (the default)."""

    max_workers = 2

    def __init__(self, *, bayes: bool) -> None:
        self.name = "spamd + Bayes" if bayes else "spamd"
        self._bayes = bayes
        self._facts: dict[str, Any] = {}

    def missing(self) -> str:
        """The programs that are not installed."""
        absent = [name for name in ("spamd", "sa-learn") if shutil.which(name, path=_BIN) is None]
        return f"{' and '.join(absent)} not installed" if absent else ""

    def facts(self) -> dict[str, Any]:
        """Version, messages trained on."""
        return self._facts

    def prepare(self, folder: Path, training: Sequence[Mail]) -> None:
        """Train its classifier."""
        self._folder = folder
        shown = subprocess.run([_spamd(), "--version"], capture_output=True, text=True, check=False).stdout
        self._facts["version"] = shown.split()[3] if len(shown.split()) > 3 else shown
        if self._bayes:
            learned = sum(self._learn(training, is_spam=is_spam) for is_spam in (False, True))
            require(learned >= 0.9 * len(training), f"sa-learn learned {learned} of {len(training)} messages")
            self._facts["trained_on"] = learned
            for path in [folder, *folder.rglob("*")]:
                path.chmod(0o777 if path.is_dir() else 0o666)  # spamd's children are somebody else

    @contextlib.contextmanager
    def start(self, workers: int, cores: Sequence[int]) -> Iterator[_Instance]:
        """Ready when all children are there."""
        port = free_port()
        log = self._folder / "spamd.log"
        command = [
            _spamd(), "--local", "--nouser-config", f"--listen=127.0.0.1:{port}", f"--syslog={log}",
            f"--max-children={workers}", f"--min-children={workers}", f"--max-spare={workers}", "--min-spare=1",
            *(["--username=debian-spamd"] if os.geteuid() == 0 else []),
            *self._settings(),
        ]  # fmt: skip
        if os.geteuid() == 0:
            log.touch()
            shutil.chown(log, "debian-spamd")
            shutil.chown(self._folder, "debian-spamd")
        with running(cores, command, self._folder / "out") as process:
            instance = _Instance(process.pid, port, workers)
            wait_until(lambda: len(instance.workers()) >= workers, _START_S, f"{self.name} does not start: {log}")
            yield instance

    def check(self, answers: Sequence[Answer]) -> None:
        """Rules of the classifier exactly where there is one."""
        learned = sum(any(name.startswith("BAYES_") for name in one.symbols) for one in answers)
        if self._bayes:
            require(learned >= 0.5 * len(answers), f"{self.name}: Bayes spoke of {learned} of {len(answers)} messages")
        else:
            require(learned == 0, f"{self.name}: Bayes speaks, but should be off")
        require(sum(len(one.symbols) for one in answers) >= _MIN_SYMBOLS * len(answers), f"{self.name}: hardly a rule")

    def _settings(self) -> list[str]:
        lines = [f"use_bayes {int(self._bayes)}", "bayes_auto_learn 0"]
        if self._bayes:
            lines.append(f"bayes_path {self._folder}/bayes")
        return [f"--cf={line}" for line in lines]

    def _learn(self, training: Sequence[Mail], *, is_spam: bool) -> int:
        listing = self._folder / "training"
        listing.write_text("".join(f"{mail.file}\n" for mail in training if mail.is_spam is is_spam))
        label = "--spam" if is_spam else "--ham"
        command = ["sa-learn", label, "--local", f"--folders={listing}", *self._settings()]
        done = subprocess.run(command, capture_output=True, text=True, check=False)
        found = re.search(r"Learned tokens from (\d+) message", done.stdout)
        require(found is not None, f"sa-learn: {done.stdout[-300:]} {done.stderr[-300:]}")
        return int(found[1]) if found else 0


class _Instance(OneAtATime):
    """A running one."""

    def __init__(self, root: int, port: int, count: int) -> None:
        self.roots = [root]
        self.count = count
        self._port = port

    def workers(self) -> list[int]:
        """spamd's children."""
        return family(self.roots[0])[1:]

    async def scan(self, mail: Mail) -> Answer:
        """SYMBOLS: score and names, the message itself is not sent back."""
        content = received(mail)
        reader, writer = await asyncio.open_connection("127.0.0.1", self._port)
        writer.write(b"SYMBOLS SPAMC/1.5\r\nContent-length: %d\r\n\r\n%b" % (len(content), content))
        answer = await reader.read()
        writer.close()
        found = _RESULT.search(answer)
        require(answer.startswith(b"SPAMD/1.1 0 EX_OK") and found is not None, f"spamd answered {answer[:200]!r}")
        names = answer.partition(b"\r\n\r\n")[2].decode().strip()
        return Answer(float(found[1]) if found else 0.0, tuple(name for name in names.split(",") if name))


def received(mail: Mail) -> bytes:
    """spamd has no envelope but what an MTA wrote on top."""
    head = (
        f"Return-Path: <{mail.mail_from}>\r\n"
        f"Received: from {mail.helo} ({mail.helo} [{mail.client_ip}])\r\n"
        f"\tby mx.darban.test with ESMTP id BENCH{mail.number} for <you@darban.test>;\r\n\t{formatdate()}\r\n"
    )
    return head.encode("utf-8", "replace") + mail.content


def _spamd() -> str:
    return shutil.which("spamd", path=_BIN) or "spamd"
