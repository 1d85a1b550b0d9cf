"""Accounts as pages: who may sign in, as what, for whose mail. Each sees and changes what lies inside his own scope."""

from dataclasses import dataclass
from typing import Annotated, Any, get_args

from fastapi import APIRouter, Depends, Form, HTTPException, Query, Request, Response
from fastapi.responses import RedirectResponse

from gateway.errors import InputError
from gateway.mail.domain import to_a_label
from gateway.policy.access import account_fault, manages
from gateway.types import Account, AccountRecord, Role
from gateway.web.site import Site

_PAGE = 50
_RESET_TTL_S = 24 * 3600.0
Words = Annotated[str, Form(max_length=10_000)]


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

    def to_change(self, request: Request, who: Account, name: str, csrf: str) -> AccountRecord:
        """The same, for a form; and not one's own."""
        self.site.check_token(request, csrf)
        record = self.found(who, name)
        if name == who.name:
            raise HTTPException(403, "Somebody else has to change your own account.")
        return record

    def form(
        self, request: Request, who: Account, typed: Account, record: AccountRecord | None = None, fault: str = ""
    ) -> Response:
        """An account to be made or changed, and what was wrong with it."""
        offered = [one for one in get_args(Role) if one != "owner" or who.role == "owner"]
        values: dict[str, Any] = {"who": who, "roles": offered, "typed": typed, "record": record, "error": fault}
        return self.site.page(request, "account_form.html", 400 if fault else 200, **values)

    def new_link(self, request: Request, who: Account, name: str) -> Response:
        """A link that sets the password, once."""
        link = self.site.url(request, "/reset/" + self.site.accounts.new_token("reset", _RESET_TTL_S, name))
        return self.site.page(request, "account_link.html", who=who, account=name, link=link, here="/accounts")


def account_routes(site: Site) -> APIRouter:
    """The list, and making, changing, disabling, deleting, resetting."""
    routes = APIRouter()
    routes.include_router(_form_routes(Desk(site)))
    routes.include_router(_act_routes(Desk(site)))
    return routes


def _form_routes(desk: Desk) -> APIRouter:
    routes = APIRouter()
    site, accounts = desk.site, desk.site.accounts
    manager = Annotated[Account, Depends(site.allowed("accounts"))]

    @routes.get("/accounts")
    def account_list(
        request: Request, who: manager, q: str = "", offset: Annotated[int, Query(ge=0, le=1_000_000_000)] = 0
    ) -> Response:
        known = [one for one in accounts.list(q) if manages(who, one.account)]
        older = offset + _PAGE if offset + _PAGE < len(known) else None
        values: dict[str, Any] = {
            "shown": known[offset : offset + _PAGE],
            "total": len(known),
            "older": older,
            "offset": offset,
        }
        return site.page(request, "accounts.html", who=who, q=q, newer=max(0, offset - _PAGE), **values)

    @routes.get("/accounts/new")
    def new_form(request: Request, who: manager) -> Response:
        return desk.form(request, who, Account("", "reviewer"))

    @routes.post("/accounts/new")
    def add(
        request: Request, who: manager, name: Words, role: Annotated[Role, Form()], domains: Words = "",
        addresses: Words = "", csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        site.check_token(request, csrf)
        said = _account(name.strip(), role, domains, addresses)
        fault = _fault(who, said)
        try:
            if not fault:
                accounts.add(said)
        except InputError as refused:
            fault = str(refused)
        if fault:
            return desk.form(request, who, said, fault=fault)
        site.record(who, "account-add", "", f"{said.name}: {_told(said)}")
        return desk.new_link(request, who, said.name)

    @routes.get("/accounts/edit")
    def edit_form(request: Request, who: manager, name: str) -> Response:
        record = desk.found(who, name)
        return desk.form(request, who, record.account, record)

    @routes.post("/accounts/edit")
    def edit(
        request: Request, who: manager, name: Words, role: Annotated[Role, Form()], domains: Words = "",
        addresses: Words = "", csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        record = desk.to_change(request, who, name, csrf)
        said = _account(name, role, domains, addresses)
        fault = _fault(who, said) if record.origin == "local" else "Its role and scope come from elsewhere."
        try:
            if not fault:
                accounts.change(said)
        except InputError as refused:
            fault = str(refused)
        if fault:
            return desk.form(request, who, said, record, fault)
        site.record(who, "account-change", "", f"{name}: {_told(record.account)} -> {_told(said)}")
        return RedirectResponse("/accounts", 303)

    return routes


def _act_routes(desk: Desk) -> APIRouter:
    routes = APIRouter()
    site, accounts = desk.site, desk.site.accounts
    manager = Annotated[Account, Depends(site.allowed("accounts"))]

    @routes.post("/accounts/reset")
    def reset(request: Request, who: manager, name: Words, csrf: Annotated[str, Form()] = "") -> Response:
        record = desk.to_change(request, who, name, csrf)
        if record.origin != "local":
            raise HTTPException(400, "It has no password here.")
        site.record(who, "account-reset", "", name)
        return desk.new_link(request, who, name)

    @routes.post("/accounts/disable")
    def disable(
        request: Request, who: manager, name: Words, is_disabled: Annotated[bool, Form()],
        csrf: Annotated[str, Form()] = "",
    ) -> Response:  # fmt: skip
        record = desk.to_change(request, who, name, csrf)
        try:
            accounts.disable(name, is_disabled)
        except InputError as refused:
            return desk.form(request, who, record.account, record, str(refused))
        site.record(who, "account-disable" if is_disabled else "account-enable", "", name)
        return RedirectResponse("/accounts", 303)

    @routes.post("/accounts/code-off")
    def code_off(request: Request, who: manager, name: Words, csrf: Annotated[str, Form()] = "") -> Response:
        desk.to_change(request, who, name, csrf)
        accounts.set_code(name, "", ())
        site.record(who, "account-code-off", "", name)
        return RedirectResponse("/accounts", 303)

    @routes.post("/accounts/delete")
    def delete(request: Request, who: manager, name: Words, csrf: Annotated[str, Form()] = "") -> Response:
        record = desk.to_change(request, who, name, csrf)
        try:
            accounts.delete(name)
        except InputError as refused:
            return desk.form(request, who, record.account, record, str(refused))
        site.record(who, "account-delete", "", name)
        return RedirectResponse("/accounts", 303)

    return routes


def _account(name: str, role: Role, domains: str, addresses: str) -> Account:
    """As typed: domains and addresses separated by spaces, commas or line ends."""
    return Account(name, role, tuple(map(_domain, _words(domains))), tuple(one.lower() for one in _words(addresses)))


def _domain(typed: str) -> str:
    """As an A-label; what is none stays as it was typed, and is refused."""
    star = "*." if typed.startswith("*.") else ""
    return star + (to_a_label(typed.removeprefix("*.")) or typed)


def _words(text: str) -> list[str]:
    return list(dict.fromkeys(text.replace(",", " ").replace("،", " ").split()))


def _fault(who: Account, said: Account) -> str:
    return account_fault(said) or ("" if manages(who, said) else "That is more than your own account may give.")


def _told(one: Account) -> str:
    """For the audit log."""
    return " ".join((one.role, *one.domains, *one.addresses))
