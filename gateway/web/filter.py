"""The list's filter: from the address of a page to a HeldQuery, and back to an address that can be kept or shared."""

from __future__ import annotations

import re
from datetime import UTC, date, datetime, timedelta
from typing import Annotated, Literal, get_args
from urllib.parse import parse_qsl, urlencode

import jdatetime
from fastapi import Form
from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError

from gateway.types import HeldKind, HeldOrder, HeldQuery, QuarantineState, Scope

PAGE = 50
_JALALI_BEFORE = 1700  # no mail is that old, and no Persian reader that far ahead
_LAST_YEAR = 9000  # the day after the last that there is, is none
_DAY = re.compile(r"(\d{4})[-/](\d{1,2})[-/](\d{1,2})")
_LEFT_OUT = ("csrf", "after", "seen")


def _number(value: object) -> object:
    """A form leaves empty what is not filled in; Persian digits and signs are digits and signs."""
    if not isinstance(value, str):
        return value
    text = value.strip().replace("٫", ".").replace("−", "-")
    return float(text) if text else None


def parse_day(value: object) -> date | None:
    """2026-11-27 or, in Jalali years, 1405/09/06 in any digits; None for nothing. Raises ValueError."""
    if value is None or isinstance(value, date):
        return value
    text = str(value).strip()
    if not text:
        return None
    found = _DAY.fullmatch(text)
    if found is None:
        raise ValueError("not a date")
    year, month, day = map(int, found.groups())
    if year > _LAST_YEAR:
        raise ValueError("not a date")
    if year < _JALALI_BEFORE:
        there: date = jdatetime.date(year, month, day).togregorian()
        return there
    return date(year, month, day)


Score = Annotated[Annotated[float, Field(ge=-1000, le=1000, allow_inf_nan=False)] | None, BeforeValidator(_number)]
Day = Annotated[date | None, BeforeValidator(parse_day)]
Text = Annotated[str, Field(max_length=300)]

About = Annotated[str, Form(alias="filter", max_length=5000)]  # the filter that a form was sent from, as a query


class Filter(BaseModel):
    """What the list is asked for. Every name stands in addresses that people keep: none changes its meaning."""

    model_config = ConfigDict(frozen=True, extra="ignore")

    q: Text = ""
    sender: Text = ""
    recipient: Text = ""
    domain: Text = ""
    finding: Annotated[str, Field(max_length=100, pattern=r"^\s*[A-Za-z0-9_]*\s*$")] = ""
    kind: HeldKind | Literal[""] = ""
    state: QuarantineState | Literal[""] = "held"
    score_from: Score = None
    score_to: Score = None
    day_from: Day = None
    day_to: Day = None  # inclusive
    campaign: Annotated[str, Field(pattern=r"^[0-9a-f]{0,16}$")] = ""
    sort: HeldOrder = "newest"
    fold: Literal["", "yes"] = ""
    after: Annotated[str, Field(max_length=100)] = ""

    def query(self, scope: Scope, limit: int = PAGE) -> HeldQuery:
        """As the store is asked."""
        return HeldQuery(
            text=self.q.strip(),
            domain=self.domain.strip().lower(),
            state=self.state,
            limit=limit,
            scope=scope,
            sender=self.sender.strip(),
            recipient=self.recipient.strip(),
            finding=self.finding.strip().upper(),
            kind=self.kind,
            score_from=self.score_from,
            score_to=self.score_to,
            received_from=None if self.day_from is None else _midnight(self.day_from),
            received_to=None if self.day_to is None else _midnight(self.day_to + timedelta(days=1)),
            campaign=self.campaign,
            order=self.sort,
            is_folded=self.fold == "yes",
            after=self.after,
        )

    def given(self, **changes: str) -> dict[str, str]:
        """What differs from an empty filter, as a form has it, with these changes; the page it is at left out."""
        empty = type(self)()
        values = {
            name: _text(getattr(self, name))
            for name in type(self).model_fields
            if name not in _LEFT_OUT and getattr(self, name) != getattr(empty, name)
        }
        if self.state == "":
            values["state"] = ""
        return {name: value for name, value in (values | changes).items() if value or name == "state"}

    def address(self, **changes: str) -> str:
        """The list's address with this filter."""
        query = urlencode(self.given(**changes))
        return f"/?{query}" if query else "/"

    @property
    def is_detailed(self) -> bool:
        """Whether it uses what the form does not show at once."""
        shown = {"q", "domain", "state", "sort", "fold"}
        return bool(set(self.given()) - shown)


def kept_filter(query: str) -> Filter | None:
    """The filter of a form, or of an address that was kept, as its query has it; None when it is none."""
    given = parse_qsl(query, keep_blank_values=True)
    try:
        return Filter.model_validate({name: value for name, value in given if name not in _LEFT_OUT})
    except (ValidationError, ValueError):
        return None


def _midnight(day: date) -> float:
    return datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()


def _text(value: object) -> str:
    return value.isoformat() if isinstance(value, date) else f"{value:g}" if isinstance(value, float) else str(value)


KINDS: tuple[HeldKind, ...] = get_args(HeldKind)
