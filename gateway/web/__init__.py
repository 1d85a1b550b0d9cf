"""Review pages: sign in, the quarantine, one message and why, acts on it, what people taught. No script is needed."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fastapi import FastAPI


def create_app(**parts: Any) -> FastAPI:
    """The application; see pages.create_app for its parts."""
    from gateway.web import pages

    return pages.create_app(**parts)
