"""`darban run`: bind, give up root, start every process, until asked to stop."""

from __future__ import annotations

import contextlib
import ctypes
import hashlib
import os
import shutil
import socket
from importlib import import_module
from pathlib import Path

import structlog

from gateway import log as logs
from gateway.app.check import check_reload, check_settings
from gateway.app.greeting import greet
from gateway.app.places import Places, places
from gateway.app.plan import plan
from gateway.config.load import load_settings
from gateway.config.settings import Settings
from gateway.sockets import Sockets, check_free
from gateway.supervisor import ProcessSpec, Supervisor

_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, by a name that says which gateway's
_KINDS = ("smtp", "web", "metrics", "milter", "http", "spamd")  # what a socket unit's FileDescriptorName= may be

_M_ARENA_MAX = -8  # malloc.h of glibc

# What several processes need: imported before they are forked, it is there once
_SHARED = ("gateway.rules", "gateway.scan.pipeline", "gateway.service", "gateway.reputation", "gateway.learning")

log = structlog.get_logger("darban")


def run_gateway(config: Path | None) -> int:
    """`darban run`: until SIGTERM; the exit status. Raises ConfigError before anything is started."""
    from gateway.systemd import Notifier, forget

    settings = load_settings(config)
    logs.configure(settings.log)
    share_one_heap()
    notifier, sockets = Notifier(os.environ), Sockets(_handed_over())
    forget(os.environ)
    first = _move_in(settings, sockets)
    where = places(settings)
    from prometheus_client.multiprocess import mark_process_dead

    def again() -> list[ProcessSpec]:
        fresh = load_settings(config)
        check_reload(settings, fresh)
        check_settings(fresh)
        return plan(fresh, sockets)

    def started(is_taken: bool) -> None:
        sockets.settle(is_taken=is_taken)
        if is_taken:
            _point_to_newest(where)

    supervisor = Supervisor(
        again,
        state_path=where.processes,
        on_death=mark_process_dead,
        on_start=started,
        on_stop=sockets.close,
        notifier=notifier,
    )
    try:
        return supervisor.run(first, lambda: greet(settings, config))
    finally:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def share_one_heap() -> None:
    """For all threads of this process and those forked from it; where the C library is not glibc there is but one.

    glibc has a heap for each thread, and what is freed stays with it: of the admin process 14 MiB after 200 seconds of
    100 messages a second and a look at the quarantine every 5, and growing; 2 MiB in one heap.
    """
    with contextlib.suppress(AttributeError):
        ctypes.CDLL(None).mallopt(_M_ARENA_MAX, 1)


def _move_in(settings: Settings, sockets: Sockets) -> list[ProcessSpec]:
    """Bind the ports, give up root, make ready what the processes find. Raises ConfigError."""
    from gateway import privileges

    account = privileges.find_account(settings.process)
    # first: what follows would take the metrics from under a gateway that runs here
    check_free([listen for name, listen in _addresses(settings) if name not in sockets.names()])
    where = places(settings)
    privileges.make_folder(where.state, account)
    specs = plan(settings, sockets)  # binds
    privileges.become(account, settings.process.umask)
    privileges.check_readable([os.__file__, structlog.__file__, logs.__file__])
    privileges.check_writable(_kept(settings))
    for folder in (where.run, where.spool):
        folder.mkdir(exist_ok=True)
    where.run.chmod(0o700)
    _prepare_metrics(where.run)
    from gateway.stores.engine import migrate

    check_settings(settings)  # after _prepare_metrics: it imports what declares them
    migrate(settings.storage.database)
    for name in _SHARED:
        import_module(name)
    for left in where.run.glob("*-*.sock"):  # of a gateway that was stopped
        left.unlink(missing_ok=True)
    if account is None and os.geteuid() == 0:
        log.warning("runs as root; write [process] user")
    return specs


def _handed_over() -> dict[str, list[socket.socket]]:
    """By a socket unit."""
    from gateway.errors import ConfigError
    from gateway.systemd import handed_over

    found = handed_over(os.environ)
    for name in found:
        if name not in _KINDS:
            raise ConfigError(f"socket activation: {name!r} is none of ours; write FileDescriptorName=smtp")
    return found


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    """What is listened on, by the table that says so."""
    named = ((name, getattr(settings, name).listen) for name in _KINDS[1:])
    return [*(("smtp", listen) for listen in settings.smtp.listen), *((name, one) for name, one in named if one)]


def _kept(settings: Settings) -> list[Path]:
    """Folders and files that outlive us."""
    where, database, blobs = places(settings), settings.storage.database, settings.storage.blobs
    file = Path(database.removeprefix("sqlite:///")) if database.startswith("sqlite:///") else where.state
    beside = [file.with_name(file.name + end) for end in ("-wal", "-shm")]
    return [
        where.state,
        where.run,
        where.spool,
        *([Path(blobs.removeprefix("file://"))] if blobs != "database" else []),
        file,
        *beside,
        where.secret,
        where.audit_key,
        where.model,
        where.mailboxes,
        where.cache,
    ]


def _point_to_newest(where: Places) -> None:
    """Listeners of an older generation, which finish their sessions, find the message log's owner of now."""
    journals = sorted(where.run.glob("journal-*.sock"), key=lambda path: int(path.stem.partition("-")[2]))
    for old in journals[:-1]:
        link = old.with_suffix(".link")
        link.unlink(missing_ok=True)
        link.symlink_to(journals[-1].name)
        link.rename(old)


def _prepare_metrics(run: Path) -> None:
    """prometheus-client reads this variable when it is imported: one folder of counters for all processes.

    In memory where there is such a place: the counters are files mapped into memory, and a process that adds one while
    the disk is full is ended by SIGBUS.
    """
    folder = _MEMORY / f"darban-{hashlib.sha256(bytes(run.resolve())).hexdigest()[:16]}"
    try:
        _make_afresh(folder)
    except OSError:
        folder = run / "metrics"
        _make_afresh(folder)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    from prometheus_client import values

    # it asks the system for the process at each count, some fifty times a message; a fork is the only time it changes
    process = [os.getpid()]
    os.register_at_fork(after_in_child=lambda: process.__setitem__(0, os.getpid()))
    values.ValueClass = values.MultiProcessValue(lambda: process[0])  # type: ignore[no-untyped-call]


def _make_afresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)
