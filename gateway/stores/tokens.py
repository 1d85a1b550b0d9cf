"""Secrets that stand for something: sessions and one-time tokens. Only their hashes are kept. Blocking."""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update

from gateway.stores.engine import faults, storable
from gateway.stores.schema import account, token
from gateway.types import Account, Session, Token, TokenKind

_SHOWN = 16  # hexadecimal digits of a session's hash that name it on pages
_MAX_AGENT = 300
_TOUCH_S = 60.0  # a session's last use is known to the minute, so that not every page writes


class SqlTokens:
    """ports.AccountStore's tokens. A session ends `idle_s` after its last use, `max_s` after its first."""

    def __init__(self, engine: Engine, idle_s: float, max_s: float) -> None:
        self._engine = engine
        self._idle_s = idle_s
        self._max_s = max_s

    def new_token(self, kind: TokenKind, ttl_s: float, account: str | None = None, subject: str = "") -> str:
        """A secret that stands for something, until then or until it is taken."""
        now = time.time()
        return self._new(kind, now + ttl_s, account=account, subject=storable(subject), created_at=now)

    def token(self, kind: TokenKind, text: str) -> Token | None:
        """What it stands for; None when it does not, or not any more."""
        with faults("accounts"), self._read() as connection:
            return _token(connection, kind, text)

    def take_token(self, kind: TokenKind, text: str) -> Token | None:
        """The same, once."""
        with faults("accounts"), self._engine.begin() as connection:
            return take(connection, kind, text)

    def new_session(self, who: Account, client_ip: str = "", agent: str = "") -> str:
        """A session's secret, for the cookie."""
        now = time.time()
        shown = storable(agent[:_MAX_AGENT])
        return self._new(
            "session",
            now + min(self._idle_s, self._max_s),
            account=who.name,
            created_at=now,
            used_at=now,
            client_ip=client_ip[:64],
            agent=shown,
        )

    def session(self, text: str, *, is_use: bool = True) -> Account | None:
        """Whose session it is; a use makes it last longer, up to its end. Nobody's when the account is disabled."""
        now = time.time()
        query = (
            select(account, token.c.used_at, token.c.created_at)
            .join(token, token.c.account == account.c.name)
            .where(token.c.hash == digest(text), token.c.kind == "session", token.c.expires_at > now)
            .where(token.c.created_at > now - self._max_s, account.c.is_disabled.is_(False))
        )
        with faults("accounts"), self._read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if is_use and now >= row["used_at"] + min(_TOUCH_S, self._idle_s / 10):
            ends = min(now + self._idle_s, row["created_at"] + self._max_s)
            with faults("accounts"), self._engine.begin() as connection:
                connection.execute(
                    update(token).where(token.c.hash == digest(text)).values(used_at=now, expires_at=ends)
                )
        return as_account(row)

    def sessions(self, name: str, this: str = "") -> Sequence[Session]:
        """Those that last, newest first; `this` is the secret of the one that asks."""
        query = select(token).where(token.c.account == name, token.c.kind == "session")
        alive = query.where(token.c.expires_at > time.time()).order_by(token.c.created_at.desc()).limit(100)
        with faults("accounts"), self._read() as connection:
            rows = connection.execute(alive).mappings().all()
        return [
            Session(
                row["hash"][:_SHOWN],
                row["created_at"],
                row["used_at"],
                row["client_ip"],
                row["agent"],
                row["hash"] == digest(this),
            )
            for row in rows
        ]

    def end_session(self, text: str) -> None:
        """Sign out."""
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(delete(token).where(token.c.hash == digest(text), token.c.kind == "session"))

    def end_sessions(self, name: str, session_id: str = "", but: str = "") -> None:
        """All of an account or one, but the one with this secret."""
        which = delete(token).where(token.c.account == name, token.c.kind == "session", token.c.hash != digest(but))
        if session_id:
            which = which.where(func.substr(token.c.hash, 1, _SHOWN) == session_id)
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(which)

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)

    def _new(self, kind: str, expires_at: float, **values: Any) -> str:
        text = secrets.token_urlsafe(32)
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(delete(token).where(token.c.expires_at < time.time()))
            connection.execute(insert(token).values(hash=digest(text), kind=kind, expires_at=expires_at, **values))
        return text


def take(connection: Connection, kind: TokenKind, text: str) -> Token | None:
    """Take a token within a transaction."""
    found = _token(connection, kind, text)
    # of two who take it at once, one deletes the row
    if found is None or not connection.execute(delete(token).where(token.c.hash == digest(text))).rowcount:
        return None
    return found


def digest(text: str) -> str:
    """What is kept of a secret: SHA-256, in hexadecimal."""
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()


def as_account(row: Mapping[Any, Any]) -> Account:
    """A row of the account table."""
    addresses = tuple(filter(None, row["addresses"].split("\n")))
    return Account(row["name"], row["role"], tuple(row["domains"].split()), addresses)


def _token(connection: Connection, kind: TokenKind, text: str) -> Token | None:
    query = select(func.coalesce(token.c.account, ""), token.c.subject).where(
        token.c.hash == digest(text), token.c.kind == kind, token.c.expires_at > time.time()
    )
    row = connection.execute(query).first()
    return Token(row[0], row[1]) if row else None
