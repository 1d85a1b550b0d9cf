"""What is kept of one person: how much, all of it as a file, and taking it out (docs/privacy.md)."""

from dataclasses import asdict
from typing import Annotated, Any

from fastapi import APIRouter, Depends, Query, Response
from fastapi.responses import Response as Raw

from gateway.policy.access import scope_of
from gateway.privacy import Privacy
from gateway.types import Account
from gateway.web.api.caller import Callers, IdempotencyKey, act_router
from gateway.web.api.models import ErasedItem, Kept, Person
from gateway.web.privacy import exported
from gateway.web.site import current_client

_ZIP: dict[int | str, dict[str, Any]] = {
    200: {"content": {"application/zip": {"schema": {"type": "string", "format": "binary"}}}}
}


def privacy_routes(callers: Callers, privacy: Privacy) -> APIRouter:
    """A domain admin reaches the people of his domains."""
    routes, acts = APIRouter(tags=["privacy"]), act_router(callers)
    officer = Annotated[Account, Depends(callers.needs("privacy"))]

    @routes.get("/privacy")
    def count(who: officer, address: Annotated[str, Query(min_length=3, max_length=320)]) -> Kept:
        """How much there is of each kind."""
        return Kept(**privacy.count(address, scope_of(who)))

    @routes.post("/privacy/export", response_class=Raw, responses=_ZIP)
    def export(who: officer, person: Person) -> Response:
        """All of it, as a zip file."""
        return exported(privacy, person.address, who)

    @acts.post("/privacy/erase")
    def erase(who: officer, person: Person, idempotency_key: IdempotencyKey = None) -> ErasedItem:
        """Take it out. What failed in the middle is finished by asking again."""
        done = privacy.erase(person.address, scope_of(who), who.name, current_client())
        return ErasedItem(**asdict(done))

    routes.include_router(acts)
    return routes
