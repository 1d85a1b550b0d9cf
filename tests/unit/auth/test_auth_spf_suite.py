"""The RFC 7208 test suite, case by case, from a copy of its rfc7208-tests.yml: DARBAN_SPF_SUITE names the file, else it is
looked for in suites/ beside the corpora. The project does not ship it; test_auth_spf.py has cases of its own.

The explanation "DEFAULT" there means that of the receiver: no words of the domain.
"""

from __future__ import annotations

import json
import os
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest

from gateway.auth import spf
from gateway.types import Client, DnsAnswer
from tests.builders import envelope
from tests.conftest import corpora_folder

CASES = 203  # of release 2014.04


class SuiteResolver:
    """A scenario's zone: SPF stands for TXT where there is none, TIMEOUT for a type that is not there otherwise."""

    def __init__(self, zone: Mapping[str, list[Any]]) -> None:
        self._zone = {name.lower(): entries for name, entries in zone.items()}

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        for _ in range(10):
            entries = self._zone.get(name.lower())
            if entries is None:
                return DnsAnswer("nxdomain")
            records = [one for one in entries if isinstance(one, dict)]
            found = [value for one in records for kind, value in one.items() if kind == rdtype]
            if rdtype == "TXT" and not found:
                found = [one["SPF"] for one in records if "SPF" in one]
            found = [value for value in found if value != "NONE"]
            if "TIMEOUT" in found or (not found and "TIMEOUT" in entries):
                return DnsAnswer("timeout")
            if found:
                return DnsAnswer("noerror", tuple(_presented(value, rdtype) for value in found))
            aliases = [one["CNAME"] for one in records if "CNAME" in one]
            if not aliases:
                return DnsAnswer("nodata")
            name = aliases[0]
        return DnsAnswer("servfail")


def _presented(value: Any, rdtype: str) -> str | bytes:
    if rdtype == "TXT":
        return "".join(value if isinstance(value, list) else [value]).encode()
    return f"{value[0]} {value[1]}." if rdtype == "MX" else str(value)


def _file() -> Path | None:
    named = os.environ.get("DARBAN_SPF_SUITE")
    corpora = corpora_folder()
    place = Path(named) if named else corpora.parent / "suites" / "rfc7208-tests.yml" if corpora else None
    return place if place and place.is_file() else None


def _scenarios(file: Path) -> Iterator[dict[str, Any]]:
    if file.suffix == ".json":
        yield from json.loads(file.read_text("utf-8"))
        return
    yaml = pytest.importorskip("yaml", reason="PyYAML reads the suite's file, kept beside the corpora")
    yield from (one for one in yaml.safe_load_all(file.read_text("utf-8")) if one)


async def test_the_suite_passes_whole() -> None:
    file = _file()
    if file is None:
        pytest.skip("the RFC 7208 suite is not beside the corpora; DARBAN_SPF_SUITE names its file")
    cases, explained, wrong = 0, 0, []
    for scenario in _scenarios(file):
        for name, case in scenario["tests"].items():
            cases += 1
            where = envelope(
                reverse_path=case["mailfrom"].strip("<>"),
                client=Client(str(case["host"]), helo=case["helo"]),
                hostname=case.get("receiver", "unknown"),
            )
            found = await spf.evaluate(where, SuiteResolver(scenario["zonedata"]))
            allowed = case["result"] if isinstance(case["result"], list) else [case["result"]]
            if found.result not in allowed:
                wrong.append(f"{name}: {found.result} ({found.reason}), not {allowed}")
            if "explanation" in case and found.result == "fail":
                explained += 1
                says = found.reason.partition(' says: "')[2].removesuffix('"') or "DEFAULT"
                if case["explanation"] != says:
                    wrong.append(f"{name}: explained {says!r}, not {case['explanation']!r}")
    print(f"{cases} cases, {explained} of them with an explanation")
    assert wrong == []
    assert cases >= CASES
