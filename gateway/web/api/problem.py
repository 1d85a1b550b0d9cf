"""Every refusal as problem details (RFC 9457): what, in words that a person can read, and where in the request."""

from __future__ import annotations

from http import HTTPStatus
from typing import Any

from fastapi import FastAPI, Request, Response
from fastapi.exceptions import RequestValidationError
from fastapi.responses import JSONResponse
from pydantic import BaseModel, Field
from starlette.exceptions import HTTPException

from gateway.errors import InputError, StoreError

MEDIA_TYPE = "application/problem+json"
_MOST = 20  # faults told
_CODES = (400, 401, 403, 404, 405, 406, 409, 410, 412, 413, 415, 422, 429, 500, 503)


class Fault(BaseModel):
    """One thing wrong with the request."""

    where: str = Field(description="The name in the query, the header fields or the body.")
    what: str


class Problem(BaseModel):
    """RFC 9457."""

    type: str = "about:blank"
    title: str
    status: int
    detail: str
    faults: list[Fault] = []


_REFERENCE = {"$ref": "#/components/schemas/Problem"}
RESPONSES: dict[int | str, dict[str, Any]] = {
    code: {"description": HTTPStatus(code).phrase, "content": {MEDIA_TYPE: {"schema": _REFERENCE}}} for code in _CODES
}


def answer(status: int, detail: str, faults: list[Fault] | None = None, fields: Any = None) -> Response:
    """A refusal."""
    told = Problem(title=HTTPStatus(status).phrase, status=status, detail=detail, faults=faults or [])
    return JSONResponse(told.model_dump(), status, headers=fields, media_type=MEDIA_TYPE)


def handle_problems(app: FastAPI) -> None:
    """Whatever goes wrong in a route."""

    @app.exception_handler(HTTPException)
    async def refused(_: Request, error: HTTPException) -> Response:
        return answer(error.status_code, error.detail, fields=error.headers)

    @app.exception_handler(RequestValidationError)
    async def not_understood(_: Request, error: RequestValidationError) -> Response:
        faults = [
            Fault(where=".".join(str(part) for part in one["loc"]), what=one["msg"]) for one in error.errors()[:_MOST]
        ]
        return answer(422, "The request was not understood.", faults)

    @app.exception_handler(InputError)
    async def cannot_be_done(_: Request, error: InputError) -> Response:
        return answer(400, str(error))

    @app.exception_handler(StoreError)
    async def store_down(_: Request, error: StoreError) -> Response:
        return answer(503, "The store does not answer. Nothing was changed.", fields={"Retry-After": "5"})
