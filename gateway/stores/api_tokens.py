"""Tokens of the REST API, of which only hashes are kept, and answers to acts that may be asked for twice. Blocking."""

from __future__ import annotations

import secrets
import time
from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, Engine, delete, func, insert, select, update
from sqlalchemy.dialects.postgresql import insert as upsert  # SQLite reads the same

from gateway.errors import InputError
from gateway.stores.engine import faults, storable
from gateway.stores.schema import account, api_answer, api_token
from gateway.stores.tokens import as_account, digest
from gateway.types import Account, ApiToken, StoredAnswer

PREFIX = "darban_"  # so that scanners for leaked secrets know one
_TOUCH_S = 60.0  # the last use is known to the minute, so that not every request writes
_MOST = 100  # of one account
_ANSWER_KEPT_S = 86_400.0
_IN_HAND_S = 600.0  # longer than an act takes: who had it in hand is gone


class SqlApiTokens:
    """Implements ports.ApiTokenStore."""

    def __init__(self, engine: Engine) -> None:
        self._engine = engine

    def new(
        self, owner: str, name: str, acts: Sequence[str], domains: Sequence[str], ttl_s: float
    ) -> tuple[ApiToken, str]:
        """The token and its secret, which nobody can tell again. Raises InputError."""
        secret, now = PREFIX + secrets.token_urlsafe(32), time.time()
        made = ApiToken(secrets.token_hex(6), owner, storable(name)[:64], tuple(acts), tuple(domains), now, now + ttl_s)
        values = {name: getattr(made, name) for name in ApiToken.__slots__}
        values |= {"acts": " ".join(acts), "domains": " ".join(domains), "hash": digest(secret)}
        with faults("tokens"), self._engine.begin() as connection:
            if connection.scalar(select(account.c.name).where(account.c.name == storable(owner))) is None:
                raise InputError(f"there is no account {owner}")
            its = select(func.count()).where(api_token.c.account == owner)
            if (connection.scalar(its) or 0) >= _MOST:
                raise InputError(f"an account has {_MOST} tokens at most; revoke one")
            connection.execute(insert(api_token).values(values))
        return made, secret

    def find(self, secret: str, client_ip: str) -> tuple[Account, ApiToken] | None:
        """Whose it is, noted as used; None for one that is not, not any more, or of a disabled account."""
        now = time.time()
        query = select(api_token, account.c.role, account.c.domains.label("its"), account.c.addresses).join(
            account, account.c.name == api_token.c.account
        )
        query = query.where(
            api_token.c.hash == digest(secret), api_token.c.expires_at > now, account.c.is_disabled.is_(False)
        )
        with faults("tokens"), self._read() as connection:
            row = connection.execute(query).mappings().first()
        if row is None:
            return None
        if row["used_at"] < now - _TOUCH_S:
            used = update(api_token).where(api_token.c.id == row["id"])
            with faults("tokens"), self._engine.begin() as connection:
                connection.execute(used.values(used_at=now, used_from=client_ip[:64]))
        its = {"name": row["account"], "role": row["role"], "domains": row["its"], "addresses": row["addresses"]}
        return as_account(its), _token(row)

    def list(self, owner: str = "") -> Sequence[ApiToken]:
        """An account's, the newest first; "" for everybody's."""
        query = select(api_token).order_by(api_token.c.created_at.desc(), api_token.c.id)
        with faults("tokens"), self._read() as connection:
            rows = connection.execute(
                query.where(api_token.c.account == storable(owner)) if owner else query
            ).mappings()
            return [_token(row) for row in rows]

    def revoke(self, token_id: str, owner: str = "") -> bool:
        """False when there is none of this id, or not this account's."""
        which = delete(api_token).where(api_token.c.id == storable(token_id))
        with faults("tokens"), self._engine.begin() as connection:
            return bool(connection.execute(which.where(api_token.c.account == owner) if owner else which).rowcount)

    # --- answers ------------------------------------------------------------------------------------------------------

    def begin_answer(self, key: str, request: str) -> StoredAnswer | None:
        """None: it is ours to answer, now. Else what was answered; status 0: somebody is at it."""
        now = time.time()
        of = api_answer.c
        old = (of.at < now - _ANSWER_KEPT_S) | ((of.status == 0) & (of.at < now - _IN_HAND_S))
        begun = upsert(api_answer).values(key=key, request=request, status=0, body=b"", at=now)
        with faults("answers"), self._engine.begin() as connection:
            connection.execute(delete(api_answer).where(old))
            if connection.scalar(begun.on_conflict_do_nothing().returning(of.key)) is not None:
                return None
            row = connection.execute(select(of.request, of.status, of.body).where(of.key == key)).first()
        return StoredAnswer(*row) if row else None

    def end_answer(self, key: str, status: int, body: bytes) -> None:
        """What was answered; status 0: nothing was done, and it may be asked for again."""
        which = api_answer.c.key == key
        with faults("answers"), self._engine.begin() as connection:
            if status:
                connection.execute(update(api_answer).where(which).values(status=status, body=body))
            else:
                connection.execute(delete(api_answer).where(which))

    def _read(self) -> Connection:
        return self._engine.connect().execution_options(read_only=True)


def _token(row: Mapping[Any, Any]) -> ApiToken:
    values = {name: row[name] for name in ApiToken.__slots__}
    return ApiToken(**(values | {"acts": tuple(row["acts"].split()), "domains": tuple(row["domains"].split())}))
