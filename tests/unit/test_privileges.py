"""privileges.py: what is refused before anything is bound, and, as root, what a process may no more."""

from __future__ import annotations

import os
import pwd
import subprocess
import sys
import tempfile
from pathlib import Path

import pytest

from gateway.config.settings import Process
from gateway.errors import ConfigError
from gateway.privileges import Account, check_writable, find_account, make_folder

IS_ROOT = os.geteuid() == 0


@pytest.mark.parametrize(
    ("said", "words"),
    [
        (Process(user="nobody-of-that-name"), "there is no user nobody-of-that-name; make one: useradd --system"),
        (Process(user="nobody", group="no-such-group"), "there is no group no-such-group"),
        (Process(group="nogroup"), "goes with user; write both, or none"),
    ],
)
def test_what_cannot_be_is_said(said: Process, words: str) -> None:
    with pytest.raises(ConfigError) as caught:
        find_account(said)
    assert words in str(caught.value)
    assert "\n" not in str(caught.value)


def test_nobody_named_is_who_we_are() -> None:
    assert find_account(Process()) is None


def test_only_root_becomes_somebody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    nobody = pwd.getpwnam("nobody")
    monkeypatch.setattr(os, "geteuid", lambda: 12345)
    with pytest.raises(ConfigError, match="only root can become nobody"):
        find_account(Process(user="nobody"))
    monkeypatch.setattr(os, "geteuid", lambda: nobody.pw_uid)  # as systemd's User= starts it
    found = find_account(Process(user="nobody"))
    assert found is not None
    assert (found.uid, found.gid) == (nobody.pw_uid, nobody.pw_gid)


BECOMING = """
import os, sys
from gateway.config.settings import Process
from gateway.privileges import become, find_account
become(find_account(Process(user="nobody")), "027")
for again in (lambda: os.setuid(0), lambda: os.setgid(0), lambda: os.setgroups([0])):
    try:
        again()
        print("still may")
    except PermissionError:
        pass
open(sys.argv[1], "w").close()
print(*os.getresuid(), *os.getresgid(), os.environ["USER"], sorted(os.getgroups()))
"""


@pytest.mark.skipif(not IS_ROOT, reason="only root can give anything up")
def test_given_up_for_good() -> None:
    with tempfile.TemporaryDirectory(prefix="darban-") as name:  # pytest's own folders are closed to others
        folder = Path(name)
        folder.chmod(0o755)
        given_up(folder)


def given_up(folder: Path) -> None:
    place, nobody = folder / "state", pwd.getpwnam("nobody")
    account = Account("nobody", nobody.pw_uid, nobody.pw_gid, (nobody.pw_gid,), "/")
    make_folder(place, account)
    assert (place.stat().st_uid, place.stat().st_gid) == (nobody.pw_uid, nobody.pw_gid)
    done = subprocess.run(
        [sys.executable, "-c", BECOMING, str(place / "file")], capture_output=True, text=True, check=True
    )
    ids = f"{nobody.pw_uid} " * 3 + f"{nobody.pw_gid} " * 3
    assert done.stdout == f"{ids}nobody [{nobody.pw_gid}]\n"
    assert (place / "file").stat().st_mode & 0o777 == 0o640


@pytest.mark.skipif(not IS_ROOT, reason="only root can own another's folder")
def test_a_folder_that_is_there_is_left_as_it_is(tmp_path: Path) -> None:
    nobody = pwd.getpwnam("nobody")
    make_folder(tmp_path, Account("nobody", nobody.pw_uid, nobody.pw_gid, (), "/"))
    assert tmp_path.stat().st_uid == 0


def test_what_cannot_be_written_is_said(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    check_writable([tmp_path, tmp_path / "not there"])
    monkeypatch.setattr(os, "access", lambda *_: False)
    with pytest.raises(ConfigError, match=rf"^{tmp_path}: \w+ cannot write there; chown -R \w+ {tmp_path}$"):
        check_writable([tmp_path])
