"""Where the processes of one gateway meet, and how many there are of each kind."""

from __future__ import annotations

import os
from dataclasses import dataclass
from pathlib import Path

from gateway.config.load import state_dir
from gateway.config.settings import Settings


@dataclass(frozen=True, slots=True)
class Places:
    """Where the processes of one gateway meet."""

    state: Path  # database, blobs and what else lives on
    run: Path  # sockets and state of the running processes; gone after a stop
    generation: int = 0  # a reload's sockets stand beside the old ones: it may fail, and the old ones must then go on

    @property
    def scorers(self) -> Path:
        """The scorer parent's socket."""
        return self.run / f"scorers-{self.generation}.sock"

    @property
    def journal(self) -> Path:
        """The admin process's socket for message-log rows."""
        return self.run / f"journal-{self.generation}.sock"

    @property
    def learn(self) -> Path:
        """The socket of the process that learns what the spamd door is told."""
        return self.run / f"learn-{self.generation}.sock"

    @property
    def processes(self) -> Path:
        """The supervisor's list of processes."""
        return self.run / "processes.json"

    @property
    def secret(self) -> Path:
        """What the keys of the memory are hashed with."""
        return self.state / "secret"

    @property
    def audit_key(self) -> Path:
        """What signs the audit log."""
        return self.state / "audit.key"

    @property
    def model(self) -> Path:
        """The online model."""
        return self.state / "model"

    @property
    def mailboxes(self) -> Path:
        """What was seen in watched mailboxes."""
        return self.state / "mailboxes"

    @property
    def spool(self) -> Path:
        """Where large messages are while they come in; files without a name."""
        return self.state / "spool"

    @property
    def cache(self) -> Path:
        """Compiled rules."""
        return self.state / "cache"


def places(settings: Settings) -> Places:
    """The folders of this configuration; run_gateway makes them."""
    state = state_dir(settings)
    return Places(state, state / "run")


def cache_dir(settings: Settings) -> Path:
    """Where compiled rules are kept: with a gateway of this configuration, where one ran, else in the user's cache."""
    where = places(settings)
    return where.cache if where.state.is_dir() else _user_cache()


def _user_cache() -> Path:
    """XDG Base Directory Specification 0.8."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path(os.environ.get("HOME", "/nonexistent"), ".cache")) / "darban"


def listener_count(settings: Settings) -> int:
    """One for every two cores: what judges is the scorers."""
    workers = settings.smtp.workers
    return max(1, (os.cpu_count() or 1) // 2) if workers == "auto" else workers


def message_holders(settings: Settings) -> int:
    """Processes that hold messages on their way in: [smtp] memory and spool are theirs together."""
    learns = bool(settings.spamd.listen) and settings.spamd.learn
    return listener_count(settings) + learns + bool(settings.http.listen)


def scorer_count(settings: Settings) -> int:
    """One a core."""
    scorers = settings.limits.scorers
    return (os.cpu_count() or 1) if scorers == "auto" else scorers
