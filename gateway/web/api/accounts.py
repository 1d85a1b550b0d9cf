"""Accounts: who may sign in, as what, for whose mail. Each sees and changes what lies inside his own scope."""

import hashlib
from dataclasses import dataclass
from typing import Annotated

from fastapi import APIRouter, Depends, Header, HTTPException, Path, Query, Response

from gateway.errors import InputError
from gateway.mail.domain import to_a_label
from gateway.policy.access import account_fault, manages
from gateway.types import Account, AccountRecord
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.etag import check_match
from gateway.web.api.models import AccountChange, AccountItem, Limit, NewAccount, Page
from gateway.web.site import Site

AccountName = Annotated[str, Path(min_length=1, max_length=100)]
IfMatch = Annotated[str | None, Header(max_length=200, description="Only if it is still as this ETag says.")]


@dataclass(frozen=True, slots=True)
class Desk:
    """What the routes share."""

    site: Site

    def found(self, who: Account, name: str) -> AccountRecord:
        """Raises 404 for an account that is not there, or not his to see: nobody learns which."""
        record = self.site.accounts.record(name)
        if record is None or not manages(who, record.account):
            raise HTTPException(404, "There is no such account.")
        return record

    def to_change(self, who: Account, name: str, if_match: str | None) -> AccountRecord:
        """The same; not one's own, and not one that was changed since. Raises 403, 412."""
        record = self.found(who, name)
        if name == who.name:
            raise HTTPException(403, "Somebody else has to change your own account.")
        check_match(if_match, _etag(record))
        return record

    def change_scope(self, who: Account, record: AccountRecord, said: Account) -> None:
        """Another role or scope. Raises 400, 403, 409."""
        if record.origin != "local":
            raise HTTPException(409, "Its role and scope come from elsewhere.")
        _check(who, said)
        self.site.accounts.change(said)
        told = f"{said.name}: {_told(record.account)} -> {_told(said)}"
        self.site.record(who, "account-change", "", told)


def account_routes(callers: Callers, site: Site) -> APIRouter:
    """Reading, making, changing, deleting. Passwords and links are made on the pages alone."""
    routes = APIRouter(tags=["accounts"])
    routes.include_router(_read_routes(callers, Desk(site)))
    routes.include_router(_act_routes(callers, Desk(site)))
    return routes


def _read_routes(callers: Callers, desk: Desk) -> APIRouter:
    routes = APIRouter()
    manager = Annotated[Account, Depends(callers.needs("accounts"))]

    @routes.get("/accounts")
    def account_list(
        who: manager,
        q: Annotated[str, Query(max_length=300)] = "",
        after: Annotated[str, Query(max_length=200, description="`next` of the page before.")] = "",
        limit: Annotated[Limit, Query()] = 50,
    ) -> Page[AccountItem]:
        """By name."""
        known = [one for one in desk.site.accounts.list(q) if manages(who, one.account) and one.account.name > after]
        more = known[limit - 1].account.name if len(known) > limit else None
        return Page(items=[AccountItem.of(one) for one in known[:limit]], next=more)

    @routes.get("/accounts/{name}")
    def account(who: manager, name: AccountName, response: Response) -> AccountItem:
        """One."""
        record = desk.found(who, name)
        response.headers["ETag"] = _etag(record)
        return AccountItem.of(record)

    return routes


def _act_routes(callers: Callers, desk: Desk) -> APIRouter:
    routes = act_router(callers)
    site, accounts = desk.site, desk.site.accounts
    manager = Annotated[Account, Depends(callers.needs("accounts"))]

    @routes.post("/accounts", status_code=201)
    def add(who: manager, new: NewAccount, idempotency_key: IdempotencyKey = None) -> AccountItem:
        """Make one."""
        said = Account(new.name.strip(), new.role, _domains(new.domains), tuple(one.lower() for one in new.addresses))
        _check(who, said)
        accounts.add(said)
        site.record(who, "account-add", "", f"{said.name}: {_told(said)}")
        return AccountItem.of(desk.found(who, said.name))

    @routes.patch("/accounts/{name}")
    def change(
        who: manager, name: AccountName, change: AccountChange, response: Response, if_match: IfMatch = None
    ) -> AccountItem:
        """Another role or scope, or disabled, or not any more."""
        record = desk.to_change(who, name, if_match)
        before = record.account
        said = Account(
            name,
            change.role or before.role,
            before.domains if change.domains is None else _domains(change.domains),
            before.addresses if change.addresses is None else tuple(one.lower() for one in change.addresses),
        )
        if said != before:
            desk.change_scope(who, record, said)
        if change.is_disabled is not None and change.is_disabled != record.is_disabled:
            accounts.disable(name, change.is_disabled)
            site.record(who, "account-disable" if change.is_disabled else "account-enable", "", name)
        now = desk.found(who, name)
        response.headers["ETag"] = _etag(now)
        return AccountItem.of(now)

    @routes.delete("/accounts/{name}", status_code=204)
    def delete(who: manager, name: AccountName, if_match: IfMatch = None) -> None:
        """With its sessions and tokens."""
        desk.to_change(who, name, if_match)
        try:
            accounts.delete(name)
        except InputError as refused:
            raise HTTPException(409, str(refused)) from None
        site.record(who, "account-delete", "", name)

    return routes


def _check(who: Account, said: Account) -> None:
    """Raises 400 for what is no account, 403 for one that is more than his own."""
    if fault := account_fault(said):
        raise HTTPException(400, fault)
    if not manages(who, said):
        raise HTTPException(403, "That is more than your own account may give.")


def _etag(record: AccountRecord) -> str:
    told = repr((record.account, record.is_disabled, record.origin))
    return f'"{hashlib.sha256(told.encode()).hexdigest()[:16]}"'


def _domains(typed: list[str]) -> tuple[str, ...]:
    """As A-labels; what is none stays as it was typed, and is refused."""
    parts = [(one[:2] if one.startswith("*.") else "", one.removeprefix("*.")) for one in typed]
    return tuple(dict.fromkeys(star + (to_a_label(name) or name) for star, name in parts))


def _told(who: Account) -> str:
    return " ".join((who.role, *who.domains, *who.addresses))
