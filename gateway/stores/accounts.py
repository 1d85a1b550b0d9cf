"""Who may review: accounts (argon2), one-time setup links, sessions. Only hashes of tokens are kept.

Blocking, and verifying a password takes about 200 ms of CPU by design: call it in a thread.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, Connection, Engine, Insert, delete, func, insert, or_, select, update

from gateway.errors import InputError
from gateway.stores.engine import faults
from gateway.stores.schema import account, sign_in_failure, token
from gateway.types import Account, Role

_SETUP_TTL_S = 24 * 3600.0
_SESSION_TTL_S = 12 * 3600.0
_MIN_PASSWORD = 10
_FREE_FAILURES = 5
_MAX_WAIT_S = 300.0


class SqlAccounts:
    """Implements ports.AccountStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine
        self._hasher = PasswordHasher()
        self._decoy = self._hasher.hash(secrets.token_urlsafe(16))

    def has_admin(self) -> bool:
        """Whether anybody can sign in."""
        with faults("accounts"), self._read() as connection:
            return bool(connection.scalar(select(func.count()).select_from(account)))

    def exists(self, name: str) -> bool:
        """Whether there is such an account."""
        with faults("accounts"), self._read() as connection:
            return bool(connection.scalar(select(func.count()).where(account.c.name == name)))

    def about(self, address: str) -> Sequence[Account]:
        """Accounts of this name, and those that have the address among theirs."""
        with faults("accounts"), self._read() as connection:
            rows = connection.execute(select(account).where(_has(address))).mappings().all()
        found = [_account(row) for row in rows]
        return [one for one in found if address in (one.name.lower(), *one.addresses)]

    def erase(self, address: str) -> tuple[int, Sequence[str]]:
        """Take out the address and the recipient's account that has no other. How many, and who is left as he is:
        an account of another role that bears the address as its name."""
        left = []
        found = self.about(address)
        with faults("accounts"), self._engine.begin() as connection:
            for one in found:
                others = tuple(name for name in one.addresses if name != address)
                mine = account.c.name == one.name
                if one.role == "recipient" and (one.name.lower() == address or not others):
                    connection.execute(delete(account).where(mine))
                elif one.name.lower() == address:
                    left.append(one.name)
                else:
                    connection.execute(update(account).where(mine).values(addresses="\n".join(others)))
            connection.execute(delete(sign_in_failure).where(func.lower(sign_in_failure.c.name) == address))
        return len(found) - len(left), left

    def new_setup_token(self) -> str:
        """A token that makes one account, once, within a day."""
        return self._new_token("setup", None, _SETUP_TTL_S)

    def is_setup_token(self, text: str) -> bool:
        """Whether it can still be redeemed."""
        return self._token_owner(text, "setup") is not None

    def redeem_setup_token(self, text: str, name: str, password: str) -> Account:
        """Make the account and spend the token. Raises InputError in words for the form."""
        hashed = self._hashed(name, password)
        with faults("accounts"), self._engine.begin() as connection:
            spent = connection.execute(
                delete(token).where(
                    token.c.hash == _digest(text), token.c.kind == "setup", token.c.expires_at > time.time()
                )
            ).rowcount
            if not spent:
                raise InputError(
                    "this link was used already or is too old; `darban admin create --link` prints a new one"
                )
            if connection.scalar(select(func.count()).where(account.c.name == name)):
                raise InputError("this name is taken")
            connection.execute(_insert_account(Account(name, "owner"), hashed))
        return Account(name, "owner")

    def create(
        self,
        name: str,
        password: str,
        role: Role = "owner",
        domains: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> Account:
        """Make an account, or give an existing one a new password, role and scope. Raises InputError."""
        hashed = self._hashed(name, password)
        who = Account(name, role, tuple(domains), tuple(one.lower() for one in addresses))
        with faults("accounts"), self._engine.begin() as connection:
            known = connection.scalar(select(func.count()).where(account.c.name == name))
            if known:
                values = {"password_hash": hashed} | _scope(who)
                connection.execute(update(account).where(account.c.name == name).values(values))
                connection.execute(delete(token).where(token.c.account == name))
            else:
                connection.execute(_insert_account(who, hashed))
        return who

    def authenticate(self, name: str, password: str) -> Account | None:
        """None for a wrong name or password alike, in the same time; after some failures the name has to wait."""
        if self._must_wait(name):
            return None
        with faults("accounts"), self._read() as connection:
            row = connection.execute(select(account).where(account.c.name == name)).mappings().first()
        right = self._verify(row["password_hash"] if row else self._decoy, password)
        self._note(name, failed=not (right and row))
        return _account(row) if right and row else None

    def new_session(self, who: Account) -> str:
        """A session's secret, for the cookie."""
        return self._new_token("session", who.name, _SESSION_TTL_S)

    def session(self, text: str) -> Account | None:
        """Whose session it is; every use makes it last longer."""
        name = self._token_owner(text, "session")
        if not name:
            return None
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(
                update(token).where(token.c.hash == _digest(text)).values(expires_at=time.time() + _SESSION_TTL_S)
            )
            row = connection.execute(select(account).where(account.c.name == name)).mappings().first()
        return _account(row) if row else None

    def end_session(self, text: str) -> None:
        """Sign out."""
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(delete(token).where(token.c.hash == _digest(text)))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)

    def _hashed(self, name: str, password: str) -> str:
        if not name or len(name) > 100 or not name.isprintable():
            raise InputError("the name must have 1 to 100 printable characters")
        if len(password) < _MIN_PASSWORD:
            raise InputError(f"the password must have at least {_MIN_PASSWORD} characters")
        if len(password) > 1000:
            raise InputError("the password is longer than 1000 characters")
        return self._hasher.hash(password)

    def _verify(self, hashed: str, password: str) -> bool:
        try:
            return self._hasher.verify(hashed, password[:1000])
        except (VerificationError, InvalidHashError):
            return False

    def _new_token(self, kind: str, name: str | None, ttl_s: float) -> str:
        text = secrets.token_urlsafe(32)
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(delete(token).where(token.c.expires_at < time.time()))
            connection.execute(
                insert(token).values(hash=_digest(text), kind=kind, account=name, expires_at=time.time() + ttl_s)
            )
        return text

    def _token_owner(self, text: str, kind: str) -> str | None:
        """None: no such token; "" one without an account."""
        query = select(func.coalesce(token.c.account, "")).where(
            token.c.hash == _digest(text), token.c.kind == kind, token.c.expires_at > time.time()
        )
        with faults("accounts"), self._read() as connection:
            owner: str | None = connection.scalar(query)
        return owner

    def _must_wait(self, name: str) -> bool:
        with faults("accounts"), self._read() as connection:
            row = (
                connection.execute(select(sign_in_failure).where(sign_in_failure.c.name == name[:128]))
                .mappings()
                .first()
            )
        if row is None or row["failures"] < _FREE_FAILURES:
            return False
        wait_s = min(_MAX_WAIT_S, 2.0 ** (row["failures"] - _FREE_FAILURES))
        return bool(time.time() < row["last_at"] + wait_s)

    def _note(self, name: str, *, failed: bool) -> None:
        name = name[:128]
        with faults("accounts"), self._engine.begin() as connection:
            known = connection.scalar(select(sign_in_failure.c.failures).where(sign_in_failure.c.name == name))
            connection.execute(delete(sign_in_failure).where(sign_in_failure.c.name == name))
            if failed:
                connection.execute(
                    insert(sign_in_failure).values(name=name, failures=(known or 0) + 1, last_at=time.time())
                )


def _has(address: str) -> ColumnElement[bool]:
    return or_(func.lower(account.c.name) == address, account.c.addresses.contains(address, autoescape=True))


def _insert_account(who: Account, hashed: str) -> Insert:
    return insert(account).values(name=who.name, password_hash=hashed, created_at=time.time(), **_scope(who))


def _scope(who: Account) -> dict[str, str]:
    return {"role": who.role, "domains": " ".join(who.domains), "addresses": "\n".join(who.addresses)}


def _account(row: Mapping[Any, Any]) -> Account:
    return Account(
        row["name"], row["role"], tuple(row["domains"].split()), tuple(filter(None, row["addresses"].split("\n")))
    )


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "replace")).hexdigest()
