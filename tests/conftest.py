"""Shared by all tests: hypothesis profiles, the corpora's folder, and the ban on skips where CI asks for it."""

from __future__ import annotations

import os
import sys
from functools import partial
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings

settings.register_profile(
    "quick", max_examples=60, deadline=None, suppress_health_check=[HealthCheck.too_slow], derandomize=True
)
settings.register_profile("long", max_examples=5000, deadline=None, suppress_health_check=[HealthCheck.too_slow])
settings.load_profile(os.environ.get("HYPOTHESIS_PROFILE", "quick"))

ROOT = Path(__file__).parent.parent


def corpora_folder() -> Path | None:
    """The labelled corpora: DARBAN_CORPORA, else beside the checkout; None where they are absent."""
    named = os.environ.get("DARBAN_CORPORA")
    for place in [Path(named)] if named else [ROOT.parent / "shared" / "corpora"]:
        if (place / "spamassassin.tar.xz").exists():
            return place
    return None


@pytest.fixture(scope="session")
def corpora() -> Path:
    """The corpora's folder; the test is left out where they are absent."""
    place = corpora_folder()
    if place is None:
        pytest.skip("the labelled corpora are not on this machine; DARBAN_CORPORA names their folder")
    return place


@pytest.fixture(autouse=True)
def passwords_are_cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    """A password's hash takes a quarter of a second of CPU, which is its purpose, and no test's."""
    accounts = sys.modules.get("gateway.stores.accounts")
    if accounts is not None:
        monkeypatch.setattr(accounts, "PasswordHasher", partial(accounts.PasswordHasher, 1, 64, 1))


@pytest.hookimpl(hookwrapper=True)
def pytest_runtest_makereport(item: pytest.Item, call: pytest.CallInfo[None]):
    """A skip is a failure where DARBAN_NO_SKIPS is set, but for the corpora and what stands beside them: not ours to ship."""
    outcome = yield
    report = outcome.get_result()
    if report.skipped and os.environ.get("DARBAN_NO_SKIPS") and not hasattr(report, "wasxfail"):
        reason = str(report.longrepr)
        if "corpora" not in reason:
            report.outcome = "failed"
            report.longrepr = f"skipped, where no skips are allowed: {reason}"
