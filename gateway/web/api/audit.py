"""The audit log: who did what, and whether it is whole."""

from dataclasses import replace
from typing import Annotated

from fastapi import APIRouter, Depends, HTTPException, Query

from gateway.policy.access import scope_of
from gateway.ports import AuditLog
from gateway.stores import audit_chain
from gateway.types import Account, AuditQuery
from gateway.web.api.caller import Callers
from gateway.web.api.models import AuditItem, Limit, Page, Verified

Text = Annotated[str, Query(max_length=300)]
Time = Annotated[float | None, Query(ge=0, le=1e12)]


def audit_routes(callers: Callers, audit: AuditLog) -> APIRouter:
    """Reads only."""
    routes = APIRouter(tags=["audit"])
    reader = Annotated[Account, Depends(callers.needs("audit"))]

    @routes.get("/audit")
    def entries(
        who: reader,
        q: Text = "",
        act: Text = "",
        account: Text = "",
        since: Time = None,
        until: Time = None,
        before: Annotated[int | None, Query(ge=1, le=2**31 - 1, description="`next` of the page before.")] = None,
        limit: Annotated[Limit, Query()] = 50,
    ) -> Page[AuditItem]:
        """Newest first; of a domain admin what is about mail of his domains."""
        query = AuditQuery(q, act, account, since or 0.0, until, limit=limit, scope=scope_of(who))
        found, total = audit.list(replace(query, before=before or 0))
        more = str(found[-1].number) if found and total > len(found) else None
        return Page(items=[AuditItem.of(one) for one in found], next=more)

    @routes.get("/audit/verification")
    def verify(who: reader) -> Verified:
        """Reads the whole chain: whether nothing was changed, taken out or cut off behind what was signed.

        Who can change the database could also change what is said here: `darban audit verify` with a key and a log of
        your own proves more."""
        if not scope_of(who).is_all:
            raise HTTPException(403, "Only who sees everybody's mail sees this.")
        heads = audit.heads()  # first: what is signed meanwhile is no fault
        found = audit_chain.verify(audit.entries(), heads)
        told = {name: getattr(found, name) for name in ("entries", "erased", "signatures", "signed_up_to")}
        return Verified(is_whole=not found.faults, faults=list(found.faults), **told)

    return routes
