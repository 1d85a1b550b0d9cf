"""Who calls, how the gateway stands, its domains, what DMARC reports are made of."""

from collections.abc import Sequence
from typing import Annotated, get_args

from fastapi import APIRouter, Depends, HTTPException, Path, Request

from gateway import __version__
from gateway.errors import StoreError
from gateway.policy.access import Act, covers_domain, may, scope_of
from gateway.ports import DmarcStore, QuarantineStore
from gateway.types import Account, DomainPolicy
from gateway.web.api.caller import Callers
from gateway.web.api.models import DmarcDomain, DmarcItem, DomainItem, Me, Page, Status, TokenItem

Day = Annotated[int, Path(ge=0, le=1_000_000, description="Days since the epoch, UTC.")]


def status_routes(
    callers: Callers,
    quarantine: QuarantineStore,
    dmarc: DmarcStore,
    domains: Sequence[DomainPolicy],
    hostname: str,
) -> APIRouter:
    """Reads only."""
    routes = APIRouter()
    anybody = Annotated[Account, Depends(callers.needs(None))]
    lister = Annotated[Account, Depends(callers.needs("list"))]
    reader = Annotated[Account, Depends(callers.needs("log"))]

    @routes.get("/me", tags=["status"])
    async def who_calls(request: Request, who: anybody) -> Me:
        """The account as this request counts, and what it may do."""
        allowed = (await callers.known(request))[1]
        acts = [act for act in get_args(Act) if may(who, act) and (allowed is None or act in allowed)]
        return Me.of(who, acts)

    @routes.get("/tokens", tags=["status"])
    def tokens(who: anybody) -> Page[TokenItem]:
        """The account's own tokens. They are made on its page, or by `darban token create`."""
        return Page(items=[TokenItem.of(one) for one in callers.tokens.list(who.name)])

    @routes.get("/status", tags=["status"])
    def status(who: lister) -> Status:
        """Whether a message could be held now, and how many are."""
        try:
            quarantine.check()
            held = quarantine.counts().get("held", 0) if scope_of(who).is_all else None
        except StoreError:
            return Status(version=__version__, hostname=hostname, quarantine="down", held=None)
        return Status(version=__version__, hostname=hostname, quarantine="up", held=held)

    @routes.get("/domains", tags=["status"])
    def our_domains(who: lister) -> Page[DomainItem]:
        """The recipient domains of the account."""
        scope = scope_of(who)
        return Page(items=[DomainItem.of(one) for one in domains if covers_domain(scope, one.name)])

    def of_all(who: Account) -> None:
        """What others send in a domain's name is about no recipient domain of ours."""
        if not scope_of(who).is_all:
            raise HTTPException(403, "Only who sees everybody's mail sees this.")

    @routes.get("/dmarc/{day}", tags=["dmarc"])
    def dmarc_domains(who: reader, day: Day) -> Page[DmarcDomain]:
        """The policy domains that sent mail on a day."""
        of_all(who)
        return Page(items=[DmarcDomain(domain=one) for one in dmarc.domains(day)])

    @routes.get("/dmarc/{day}/{domain}", tags=["dmarc"])
    def dmarc_rows(who: reader, day: Day, domain: Annotated[str, Path(max_length=255)]) -> Page[DmarcItem]:
        """What a day's report for one of them is made of, most messages first."""
        of_all(who)
        fields = DmarcItem.model_fields
        rows = dmarc.rows(day, domain)
        return Page(items=[DmarcItem(**{name: getattr(row, name) for name in fields}) for row in rows])

    return routes
