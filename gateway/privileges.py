"""Giving up what only root may, once the ports are bound: setgroups, setgid, setuid, for good, and the umask."""

from __future__ import annotations

import grp
import os
import pwd
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

from gateway.config.settings import Process
from gateway.errors import ConfigError


@dataclass(frozen=True, slots=True)
class Account:
    """Whom the processes run as."""

    name: str
    uid: int
    gid: int
    groups: tuple[int, ...]
    home: str


def find_account(said: Process) -> Account | None:
    """[process] user and group; None to stay who we are. Raises ConfigError for what there is not, or we may not be."""
    if not said.user:
        if said.group:
            raise ConfigError("[process] group: goes with user; write both, or none")
        return None
    try:
        user = pwd.getpwnam(said.user)
    except KeyError:
        raise ConfigError(
            f"[process] user: there is no user {said.user}; make one: useradd --system {said.user}"
        ) from None
    try:
        gid = grp.getgrnam(said.group).gr_gid if said.group else user.pw_gid
    except KeyError:
        raise ConfigError(f"[process] group: there is no group {said.group}") from None
    if os.geteuid() not in (0, user.pw_uid):
        raise ConfigError(f"[process] user: only root can become {said.user}; start as root or as {said.user}")
    return Account(said.user, user.pw_uid, gid, tuple(os.getgrouplist(said.user, gid)), user.pw_dir)


def make_folder(folder: Path, account: Account | None) -> None:
    """Owned by the account. One that is there is left as it is: root changes nothing where others may write."""
    if not folder.is_dir():
        folder.mkdir(parents=True)
        if account is not None and os.geteuid() == 0:
            os.chown(folder, account.uid, account.gid, follow_symlinks=False)


def become(account: Account | None, umask: str) -> None:
    """Now, and for good. Nothing for None, or when we are it already, but for the umask."""
    os.umask(int(umask, 8))
    if account is None or os.geteuid() != 0 or account.uid == 0:
        return
    os.setgroups(account.groups)
    os.setresgid(account.gid, account.gid, account.gid)
    os.setresuid(account.uid, account.uid, account.uid)
    os.environ.update(HOME=account.home, USER=account.name, LOGNAME=account.name)


def check_readable(paths: Sequence[str | None]) -> None:
    """Raises ConfigError: what was installed below a home of root's is read by nobody else."""
    for path in filter(None, paths):
        if not os.access(path, os.R_OK):
            raise ConfigError(f"{path}: {_name(os.geteuid())} cannot read it; install where everybody may, as in /opt")


def check_writable(paths: Sequence[Path]) -> None:
    """Those that there are. Raises ConfigError: an earlier start as another user leaves such files."""
    for path in paths:
        if path.exists() and not os.access(path, os.W_OK | (os.X_OK if path.is_dir() else 0)):
            me = _name(os.geteuid())
            raise ConfigError(f"{path}: {me} cannot write there; chown -R {me} {path}")


def _name(uid: int) -> str:
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:  # a container's number
        return str(uid)
