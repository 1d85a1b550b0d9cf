"""Who may sign in: accounts (argon2), one-time codes, how often somebody failed.

Blocking, and verifying a password takes about 200 ms of CPU by design: call it in a thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from sqlalchemy import ColumnElement, Connection, Engine, Insert, delete, func, insert, or_, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite reads the same

from gateway.errors import InputError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import account, recovery_code, sign_in_failure, token
from gateway.stores.tokens import SqlTokens, as_account, digest, take
from gateway.types import Account, AccountRecord, Origin, Role

_SETUP_TTL_S = 24 * 3600.0
_MIN_PASSWORD = 10
_MAX_PASSWORD = 1000
_MAX_WAIT_S = 300.0
_FAILURES_KEPT_S = 24 * 3600.0
_GONE = "There is no such account."
_LINK_USED = "This link was used already or is too old."
_SETUP_USED = "this link was used already or is too old; `darban admin create --link` prints a new one"


class SqlAccounts(SqlTokens):
    """Implements ports.AccountStore."""

    def __init__(self, engine: Engine, idle_s: float = 12 * 3600.0, max_s: float = 7 * 86_400.0) -> None:
        super().__init__(engine, idle_s, max_s)
        self._hasher = PasswordHasher()
        self._decoy = self._hasher.hash(secrets.token_urlsafe(16))

    # --- accounts -----------------------------------------------------------------------------------------------------

    def has_admin(self) -> bool:
        """Whether there is an owner."""
        with faults("accounts"), self._read() as connection:
            return bool(connection.scalar(select(func.count()).where(account.c.role == "owner")))

    def list(self, text: str = "") -> Sequence[AccountRecord]:
        """By name; those with text in name, domains or addresses."""
        query = select(account).order_by(account.c.name)
        if text:
            part = storable(text.lower())
            columns = (account.c.name, account.c.domains, account.c.addresses)
            query = query.where(or_(*(func.lower(one).contains(part, autoescape=True) for one in columns)))
        with faults("accounts"), self._read() as connection:
            return [_record(row) for row in connection.execute(query).mappings()]

    def record(self, name: str) -> AccountRecord | None:
        """None when there is none of this name."""
        with faults("accounts"), self._read() as connection:
            row = _row(connection, name)
        return _record(row) if row else None

    def create(
        self,
        name: str,
        password: str,
        role: Role | None = None,
        domains: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> Account:
        """Make an account (an owner when no role is said), or give it a new password and, if said, role and scope."""
        _check_name(name)
        hashed = self._hashed(password)
        said = Account(name, role or "owner", tuple(domains), tuple(one.lower() for one in addresses))
        with faults("accounts"), self._engine.begin() as connection:
            row = _row(connection, name)
            if row is None:
                connection.execute(_insert(said, "local", hashed))
                return said
            who = said if role else as_account(row)
            values = {"password_hash": hashed, "origin": "local", "is_disabled": False} | _scope(who)
            connection.execute(update(account).where(account.c.name == name).values(values))
            connection.execute(delete(token).where(token.c.account == name))
            _need_an_owner(connection, as_account(row))
        return who

    def add(self, who: Account, origin: Origin = "local") -> None:
        """Make an account without a password. Raises InputError when the name is taken."""
        _check_name(who.name)
        with faults("accounts"), self._engine.begin() as connection:
            if _row(connection, who.name):
                raise InputError("this name is taken")
            connection.execute(_insert(who, origin, ""))

    def change(self, who: Account) -> None:
        """Another role or scope. Raises InputError when there is no such account."""
        self._update(who.name, **_scope(who))

    def disable(self, name: str, is_disabled: bool) -> None:
        """It cannot sign in, and its sessions end; or it can again. Raises InputError."""
        self._update(name, is_disabled=is_disabled)
        self.end_sessions(name)

    def delete(self, name: str) -> None:
        """With its sessions and tokens. Raises InputError."""
        with faults("accounts"), self._engine.begin() as connection:
            _lock_owners(connection)
            before = _known(connection, name)
            connection.execute(delete(account).where(account.c.name == name))
            _need_an_owner(connection, before)

    def about(self, address: str) -> Sequence[Account]:
        """Accounts of this name, and those that have the address among theirs."""
        with faults("accounts"), self._read() as connection:
            rows = connection.execute(select(account).where(_has(address))).mappings().all()
        found = [as_account(row) for row in rows]
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
            connection.execute(delete(sign_in_failure).where(sign_in_failure.c.name == f"name:{address}"))
        return len(found) - len(left), left

    # --- passwords ----------------------------------------------------------------------------------------------------

    def set_password(self, name: str, password: str) -> None:
        """Its sessions stay. Raises InputError."""
        self._update(name, password_hash=self._hashed(password))

    def is_password(self, name: str, password: str) -> bool:
        """False for a wrong name or password alike, in the same time."""
        with faults("accounts"), self._read() as connection:
            row = _row(connection, name)
        hashed = row["password_hash"] if row else ""
        try:
            return self._hasher.verify(hashed or self._decoy, password[:_MAX_PASSWORD]) and bool(hashed)
        except (VerificationError, InvalidHashError):
            return False

    def new_setup_token(self) -> str:
        """A token that makes one owner, once, within a day."""
        return self.new_token("setup", _SETUP_TTL_S)

    def redeem_setup_token(self, text: str, name: str, password: str) -> Account:
        """Make the account and spend the token. Raises InputError in words for the form."""
        _check_name(name)
        if self.token("setup", text) is None:  # before the hash: anybody may send a form
            raise InputError(_SETUP_USED)
        hashed = self._hashed(password)
        with faults("accounts"), self._engine.begin() as connection:
            if take(connection, "setup", text) is None:
                raise InputError(_SETUP_USED)
            if _row(connection, name):
                raise InputError("this name is taken")
            connection.execute(_insert(Account(name, "owner"), "local", hashed))
        return Account(name, "owner")

    def redeem_reset_token(self, text: str, password: str) -> Account:
        """Set the password, end all sessions, spend the token. Raises InputError in words for the form."""
        if self.token("reset", text) is None:
            raise InputError(_LINK_USED)
        hashed = self._hashed(password)
        with faults("accounts"), self._engine.begin() as connection:
            found = take(connection, "reset", text)
            if found is None:
                raise InputError(_LINK_USED)
            who = _known(connection, found.account)
            connection.execute(update(account).where(account.c.name == who.name).values(password_hash=hashed))
            connection.execute(delete(token).where(token.c.account == who.name))
        return who

    # --- one-time codes -----------------------------------------------------------------------------------------------

    def code_secret(self, name: str) -> str:
        """The secret of its one-time codes, "" when none are asked for."""
        with faults("accounts"), self._read() as connection:
            return str(connection.scalar(select(account.c.code_secret).where(account.c.name == storable(name))) or "")

    def set_code(self, name: str, secret: str, recovery: Sequence[str]) -> None:
        """Ask for one-time codes from now on; with "" not any more. Each recovery code is taken once instead of one."""
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(update(account).where(account.c.name == name).values(code_secret=secret, code_step=0))
            connection.execute(delete(recovery_code).where(recovery_code.c.account == name))
            for one in recovery:
                connection.execute(insert(recovery_code).values(account=name, hash=digest(one)))

    def take_step(self, name: str, step: int) -> bool:
        """Compare-and-set: False when a code of this time step, or of a later one, was taken before."""
        later = update(account).where(account.c.name == name, account.c.code_step < step).values(code_step=step)
        with faults("accounts"), self._engine.begin() as connection:
            return bool(connection.execute(later).rowcount)

    def take_recovery(self, name: str, code: str) -> bool:
        """Whether it was one of the recovery codes; now it is none."""
        which = delete(recovery_code).where(recovery_code.c.account == name, recovery_code.c.hash == digest(code))
        with faults("accounts"), self._engine.begin() as connection:
            return bool(connection.execute(which).rowcount)

    def recovery_left(self, name: str) -> int:
        """How many recovery codes are left."""
        with faults("accounts"), self._read() as connection:
            return connection.scalar(select(func.count()).where(recovery_code.c.account == name)) or 0

    def note_sign_in(self, name: str) -> None:
        """Somebody signed in, now."""
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(update(account).where(account.c.name == name).values(signed_in_at=time.time()))

    # --- failures -----------------------------------------------------------------------------------------------------

    def wait_s(self, key: str, free: int) -> float:
        """How long a key has to wait for its next try: not at all before `free` failures, then ever longer."""
        query = select(sign_in_failure).where(sign_in_failure.c.name == _key(key))
        with faults("accounts"), self._read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None or row["failures"] < free:
            return 0.0
        wait_s: float = min(_MAX_WAIT_S, 2.0 ** min(row["failures"] - free, 20))
        left_s: float = row["last_at"] + wait_s - time.time()
        return max(0.0, left_s)

    def fail(self, key: str) -> int:
        """Count a failure; how many there were since the last success."""
        now = time.time()
        which = sign_in_failure.c.name == _key(key)
        counted = upsert(sign_in_failure).values(name=_key(key), failures=1, last_at=now)
        more = {"failures": sign_in_failure.c.failures + 1, "last_at": now}
        counted = counted.on_conflict_do_update(index_elements=[sign_in_failure.c.name], set_=more)
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(delete(sign_in_failure).where(sign_in_failure.c.last_at < now - _FAILURES_KEPT_S))
            connection.execute(counted)
            return connection.scalar(select(sign_in_failure.c.failures).where(which)) or 1

    def succeed(self, *keys: str) -> None:
        """Forget the failures."""
        which = delete(sign_in_failure).where(sign_in_failure.c.name.in_([_key(one) for one in keys]))
        with faults("accounts"), self._engine.begin() as connection:
            connection.execute(which)

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _update(self, name: str, **values: Any) -> None:
        with faults("accounts"), self._engine.begin() as connection:
            _lock_owners(connection)
            before = _known(connection, name)
            connection.execute(update(account).where(account.c.name == name).values(values))
            _need_an_owner(connection, before)

    def _hashed(self, password: str) -> str:
        if len(password) < _MIN_PASSWORD:
            raise InputError(f"the password must have at least {_MIN_PASSWORD} characters")
        if len(password) > _MAX_PASSWORD:
            raise InputError(f"the password is longer than {_MAX_PASSWORD} characters")
        return self._hasher.hash(password)


def _check_name(name: str) -> None:
    if not name or len(name) > 100 or not name.isprintable():
        raise InputError("the name must have 1 to 100 printable characters")


def _row(connection: Connection, name: str) -> Mapping[Any, Any] | None:
    return connection.execute(select(account).where(account.c.name == storable(name))).mappings().first()


def _known(connection: Connection, name: str) -> Account:
    row = _row(connection, name)
    if row is None:
        raise InputError(_GONE)
    return as_account(row)


def _lock_owners(connection: Connection) -> None:
    """Two who remove each other's account wait for each other, as all writers do in SQLite."""
    connection.execute(select(account.c.name).where(account.c.role == "owner").with_for_update())


def _need_an_owner(connection: Connection, changed: Account) -> None:
    """Undoes the transaction, by raising InputError, when an owner was changed and none is left."""
    left = select(func.count()).where(account.c.role == "owner", account.c.is_disabled.is_(False))
    if changed.role == "owner" and not connection.scalar(left):
        raise InputError("This is the last owner; make another one first.")


def _insert(who: Account, origin: Origin, hashed: str) -> Insert:
    return insert(account).values(
        name=who.name, password_hash=hashed, created_at=time.time(), origin=origin, **_scope(who)
    )


def _has(address: str) -> ColumnElement[bool]:
    return or_(func.lower(account.c.name) == address, account.c.addresses.contains(address, autoescape=True))


def _scope(who: Account) -> dict[str, str]:
    return {"role": who.role, "domains": " ".join(who.domains), "addresses": "\n".join(who.addresses)}


def _record(row: Mapping[Any, Any]) -> AccountRecord:
    return AccountRecord(
        as_account(row),
        row["origin"],
        row["is_disabled"],
        bool(row["password_hash"]),
        bool(row["code_secret"]),
        row["created_at"],
        row["signed_in_at"],
    )


def _key(key: str) -> str:
    """A name of any length and kind, as the column takes it."""
    return str(storable(key))[:128]
