"""The rows of the list: a held message with what stands beside it, for row.html."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from gateway.ports import Desk
from gateway.types import HeldMessage, Note


@dataclass(frozen=True, slots=True)
class Row:
    """What row.html shows."""

    held: HeldMessage
    verdict: Mapping[str, Any]
    notes: Sequence[Note] = ()
    alike: int = 0  # others of its campaign that the list holds back


def rows_of(desk: Desk, messages: Sequence[HeldMessage], sizes: Mapping[str, int] | None = None) -> list[Row]:
    """In the order of the messages; `sizes`: campaign -> messages, where the list is folded."""
    notes = desk.notes([one.id for one in messages]) if messages else {}
    known = sizes or {}
    return [
        Row(one, json.loads(one.verdict_json), notes.get(one.id, ()), max(0, known.get(one.campaign, 1) - 1))
        for one in messages
    ]
