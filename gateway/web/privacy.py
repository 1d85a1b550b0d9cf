"""What is kept of one person: how much, all of it as a file, and taking it out after asking."""

import tempfile
import zipfile
from collections.abc import Iterator
from typing import IO, Annotated

from fastapi import APIRouter, Depends, Form, HTTPException, Request, Response
from fastapi.responses import StreamingResponse

from gateway.errors import InputError
from gateway.policy.access import scope_of
from gateway.privacy import Privacy
from gateway.types import Account
from gateway.web.site import Site, current_client

_CHUNK = 1 << 16
_IN_MEMORY = 8 << 20


def privacy_routes(site: Site, privacy: Privacy) -> APIRouter:
    """A domain admin reaches the people of his domains."""
    routes = APIRouter()
    officer = Annotated[Account, Depends(site.allowed("privacy"))]

    def page(request: Request, who: Account, address: str = "", status: int = 200, **values: object) -> Response:
        return site.page(request, "privacy.html", status, who=who, address=address.strip(), **values)

    @routes.get("/privacy")
    def look(request: Request, who: officer, address: str = "") -> Response:
        if not address:
            return page(request, who)
        try:
            return page(request, who, address, counts=privacy.count(address, scope_of(who)))
        except InputError:
            return page(request, who, address, 400, error=True)

    @routes.post("/privacy/export")
    def export(
        request: Request, who: officer, address: Annotated[str, Form()] = "", csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        try:
            return exported(privacy, address, who)
        except InputError:
            raise HTTPException(400, "The request was not understood.") from None

    @routes.post("/privacy/erase")
    def erase(
        request: Request, who: officer, address: Annotated[str, Form()] = "", csrf: Annotated[str, Form()] = ""
    ) -> Response:
        site.check_token(request, csrf)
        try:
            done = privacy.erase(address, scope_of(who), who.name, current_client())
        except InputError:
            raise HTTPException(400, "The request was not understood.") from None
        return page(request, who, erased=done, gone=address.strip(), here="/privacy")

    return routes


def exported(privacy: Privacy, address: str, who: Account) -> Response:
    """All that is kept of a person, as a zip file. Raises InputError, StoreError."""
    file = tempfile.SpooledTemporaryFile(_IN_MEMORY)  # noqa: SIM115  closed when it was sent
    with zipfile.ZipFile(file, "w", zipfile.ZIP_DEFLATED) as folder:
        for name, content in privacy.export(address, scope_of(who), who.name, current_client()):
            folder.writestr(name, content)
    headers = {"Content-Disposition": 'attachment; filename="export.zip"', "Content-Length": str(file.tell())}
    return StreamingResponse(_sent(file), media_type="application/zip", headers=headers)


def _sent(file: IO[bytes]) -> Iterator[bytes]:
    with file:
        file.seek(0)
        while chunk := file.read(_CHUNK):
            yield chunk
