"""Accounts: who may sign in, as what, for whose mail. Each sees and changes what lies inside his own scope."""

from __future__ import annotations

import hashlib
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Response

from gateway.errors import InputError
from gateway.mail.domain import to_a_label
from gateway.policy.access import account_fault, manages
from gateway.ports import AccountStore
from gateway.types import Account, AccountRecord
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.etag import check_match
from gateway.web.api.models import AccountChange, AccountItem, Limit, NewAccount, Page
from gateway.web.site import Site

AccountName = Annotated[str, Path(min_length=1, max_length=100)]
IfMatch = Annotated[str | None, Header(max_length=200, description="Only if it is still as this ETag says.")]


def account_routes(callers: Callers, site: Site, accounts: AccountStore) -> APIRouter:
    """Reading, making, changing, deleting. Passwords and links are made on the pages alone."""
    routes = act_router(callers)
    manager = Annotated[Account, Depends(callers.needs("accounts"))]

    def found(who: Account, name: str) -> AccountRecord:
        record = accounts.record(name)
        if record is None or not manages(who, record.account):
            raise HTTPException(404, "There is no such account.")
        return record

    def to_change(who: Account, name: str, if_match: str | None) -> AccountRecord:
        record = found(who, name)
        if name == who.name:
            raise HTTPException(403, "Somebody else has to change your own account.")
        check_match(if_match, _etag(record))
        return record

    def check(who: Account, said: Account) -> None:
        if fault := account_fault(said):
            raise HTTPException(400, fault)
        if not manages(who, said):
            raise HTTPException(403, "That is more than your own account may give.")

    @routes.get("/accounts", tags=["accounts"])
    def account_list(
        who: manager,
        q: Annotated[str, Query(max_length=300)] = "",
        after: Annotated[str, Query(max_length=200, description="`next` of the page before.")] = "",
        limit: Annotated[Limit, Query()] = 50,
    ) -> Page[AccountItem]:
        """By name."""
        known = [one for one in accounts.list(q) if manages(who, one.account) and one.account.name > after]
        more = known[limit - 1].account.name if len(known) > limit else None
        return Page(items=[AccountItem.of(one) for one in known[:limit]], next=more)

    @routes.get("/accounts/{name}", tags=["accounts"])
    def account(who: manager, name: AccountName, response: Response) -> AccountItem:
        """One."""
        record = found(who, name)
        response.headers["ETag"] = _etag(record)
        return AccountItem.of(record)

    @routes.post("/accounts", tags=["accounts"], status_code=201)
    def add(who: manager, new: NewAccount, idempotency_key: IdempotencyKey = None) -> AccountItem:
        """Make one."""
        said = Account(new.name.strip(), new.role, _domains(new.domains), tuple(one.lower() for one in new.addresses))
        check(who, said)
        accounts.add(said)
        site.record(who, "account-add", "", f"{said.name}: {_told(said)}")
        return AccountItem.of(found(who, said.name))

    @routes.patch("/accounts/{name}", tags=["accounts"])
    def change(
        who: manager, name: AccountName, change: AccountChange, response: Response, if_match: IfMatch = None
    ) -> AccountItem:
        """Another role or scope, or disabled, or not any more."""
        record = to_change(who, name, if_match)
        before = record.account
        said = Account(
            name,
            change.role or before.role,
            before.domains if change.domains is None else _domains(change.domains),
            before.addresses if change.addresses is None else tuple(one.lower() for one in change.addresses),
        )
        if said != before:
            if record.origin != "local":
                raise HTTPException(409, "Its role and scope come from elsewhere.")
            check(who, said)
            accounts.change(said)
            site.record(who, "account-change", "", f"{name}: {_told(before)} -> {_told(said)}")
        if change.is_disabled is not None and change.is_disabled != record.is_disabled:
            accounts.disable(name, change.is_disabled)
            site.record(who, "account-disable" if change.is_disabled else "account-enable", "", name)
        now = found(who, name)
        response.headers["ETag"] = _etag(now)
        return AccountItem.of(now)

    @routes.delete("/accounts/{name}", tags=["accounts"], status_code=204)
    def delete(who: manager, name: AccountName, if_match: IfMatch = None) -> None:
        """With its sessions and tokens."""
        to_change(who, name, if_match)
        try:
            accounts.delete(name)
        except InputError as refused:
            raise HTTPException(409, str(refused)) from None
        site.record(who, "account-delete", "", name)

    return routes


def _etag(record: AccountRecord) -> str:
    told = repr((record.account, record.is_disabled, record.origin))
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:16]}"'


def _domains(typed: list[str]) -> tuple[str, ...]:
    """As A-labels; what is none stays as it was typed, and is refused."""
    parts = [(one[:2] if one.startswith("*.") else "", one.removeprefix("*.")) for one in typed]
    return tuple(dict.fromkeys(star + (to_a_label(name) or name) for star, name in parts))


def _told(who: Account) -> str:
    return " ".join((who.role, *who.domains, *who.addresses))
