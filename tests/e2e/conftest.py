"""Peers that several end-to-end tests share."""

from __future__ import annotations

from collections.abc import Iterator

import pytest
from playwright.sync_api import Browser, sync_playwright

from tests.e2e import peers

_FLAGS = ["--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--disable-background-networking",
          "--disable-component-update", "--disable-sync"]  # fmt: skip
_LAUNCH_MS = 240_000  # on a busy machine


@pytest.fixture(scope="module")
def browser() -> Iterator[Browser]:
    """Debian's Chromium, which asks nobody anything by itself."""
    with sync_playwright() as driver:
        running = driver.chromium.launch(executable_path="/usr/bin/chromium", args=_FLAGS, timeout=_LAUNCH_MS)
        yield running
        running.close()


@pytest.fixture(scope="session")
def postfix_behind() -> Iterator[peers.Postfix]:
    """A real Postfix as the next hop, with the mailboxes you@ and reza@darban.test."""
    with peers.postfix() as running:
        yield running


@pytest.fixture(scope="module")
def door(postfix_behind: peers.Postfix, tmp_path_factory: pytest.TempPathFactory) -> Iterator[peers.Gateway]:
    """The gateway in front of it, in which nobody's day of teaching ends."""
    hop, caps = f"smtp://127.0.0.1:{postfix_behind.port}", "[learning]\ntrainer_day_cap = 100.0\nday_cap = 100.0\n"
    with peers.gateway(tmp_path_factory.mktemp("gateway"), hop, extra=caps) as running:
        yield running
