"""Entity tags (RFC 9110 §8.8.3, §13.1): whether something is still as its reader saw it."""

from __future__ import annotations

from fastapi import HTTPException


def check_match(if_match: str | None, etag: str) -> None:
    """Raises 412 when it is not."""
    if if_match is not None and not _names(if_match, etag):
        raise HTTPException(412, "It was changed since. Get it again.", {"ETag": etag})


def is_known(if_none_match: str | None, etag: str) -> bool:
    """Whether the reader has it."""
    return if_none_match is not None and _names(if_none_match, etag)


def _names(field: str, etag: str) -> bool:
    return field.strip() == "*" or etag in (one.strip().removeprefix("W/") for one in field.split(","))
