"""The list in a real browser over the real stores: keys, bulk acts, folding, what others did; both languages and sizes."""

from __future__ import annotations

import asyncio
import os
import threading
import time
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import pytest
import uvicorn
from playwright.sync_api import Browser, ConsoleMessage, Page, expect

from gateway.errors import ScorerError
from gateway.scan.explain import verdict_json
from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import migrate
from gateway.stores.quarantine import SqlQuarantine
from gateway.types import Disposition, HeldMessage, Hit, Summary
from tests.builders import recipient, verdict
from tests.bulk_victim import review_of
from tests.contract.test_stores import CONTENT, held
from tests.e2e.peers import free_port
from tests.web_app import make_web_app

pytestmark = pytest.mark.e2e
PATIENCE_S = 60.0
HITS = (Hit("MONEY_WON", 6.0, "Tells the reader that he has won"), Hit("CLASSIFIER", 4.0, "The classifier's opinion"))
Open = Callable[..., tuple[Page, list[str]]]


class Review(NamedTuple):
    """The running pages."""

    port: int
    quarantine: SqlQuarantine
    accounts: SqlAccounts

    def hold(self, number: int, subject: str, **changes: object) -> None:
        author = "Lottery <prize@example.org>"
        told = verdict_json(verdict(10.0, hits=HITS), Disposition(recipient(), "quarantine", "score", 5.0))
        values: dict = {"received_at": time.time() - 1000 + number, "verdict_json": told, "score": 10.0}
        values["summary"] = Summary(f"{number}@example.org", subject, author, 4321 * number + 900)
        self.quarantine.hold([replace(held(number), **(values | changes))], CONTENT)


@pytest.fixture(scope="module")
def review(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Review]:
    folder = tmp_path_factory.mktemp("review")
    migrate(f"sqlite:///{folder}/darban.db")
    web = make_web_app(
        folder, review=review_of(folder), translations={"fa": {"MONEY_WON": "به خواننده می‌گوید برنده شده است"}}
    )
    running = Review(free_port(), web.quarantine, web.accounts)
    for number in range(1, 6):
        running.hold(number, f"Draw number {number}", campaign="c" * 16, kind="phishing", attachments=1)
    for number, word in enumerate(("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta"), 10):
        running.hold(number, f"Single {word}")
    running.hold(30, "خبر جایزهٔ شما", recipient="sara@darban.test", kind="malware")
    server = uvicorn.Server(uvicorn.Config(web.app, port=running.port, log_level="warning"))

    async def serve() -> None:
        work = asyncio.create_task(web.bulk.run())
        await server.serve()
        work.cancel()

    thread = threading.Thread(target=asyncio.run, args=(serve(),))
    thread.start()
    yield running
    server.should_exit = True
    thread.join()
    web.engine.dispose()


@pytest.fixture
def open_page(browser: Browser, review: Review) -> Iterator[Open]:
    """open_page(language, width, script, name) -> (page, the errors its console showed)."""
    contexts = []

    def make(
        language: str = "en", width: int = 1280, *, script: bool = True, name: str = "sara"
    ) -> tuple[Page, list[str]]:
        here = f"http://127.0.0.1:{review.port}"
        viewport = {"width": width, "height": 850}
        context = browser.new_context(locale=language, viewport=viewport, java_script_enabled=script, base_url=here)
        who = review.accounts.create(name, "a long password of the tests")
        context.add_cookies([{"name": "darban_session", "value": review.accounts.new_session(who), "url": here}])
        context.set_default_timeout(PATIENCE_S * 1000)
        contexts.append(context)
        page, errors = context.new_page(), []
        page.on("console", lambda said: errors.append(said.text) if _is_trouble(said) else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page, errors

    expect.set_options(timeout=PATIENCE_S * 1000)
    yield make
    for context in contexts:
        context.close()


async def _no_scorer(_held: HeldMessage, _content: bytes) -> dict:
    raise ScorerError("none runs here")


def _is_trouble(said: ConsoleMessage) -> bool:
    return said.type in ("error", "warning")


def picture(page: Page, name: str) -> None:
    """Kept where somebody wants to look at it."""
    if folder := os.environ.get("DARBAN_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("language", ["en", "fa"])
def test_pages_fit(open_page: Open, language: str, width: int) -> None:
    page, errors = open_page(language, width)
    for scheme in ("light", "dark"):
        page.emulate_media(color_scheme=scheme)
        for name, path in (
            ("list", "/"),
            ("folded", "/?fold=yes&kind=spam"),
            ("bulk", "/bulk?all=yes&filter="),
            ("jobs", "/jobs"),
        ):
            page.goto(path)
            assert page.evaluate("document.documentElement.scrollWidth") <= width, path
            picture(page, f"{name}-{language}-{width}-{scheme}")
    page.goto("/")
    page.goto(page.get_attribute("tbody tr td a", "href") + "/copies")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    picture(page, f"copies-{language}-{width}")
    page.goto(page.get_attribute("p a", "href") + "/notes")
    assert page.evaluate("document.documentElement.scrollWidth") <= width
    assert errors == []


@pytest.mark.parametrize("language", ["en", "fa"])
def test_keys_alone_are_enough(open_page: Open, language: str) -> None:
    page, errors = open_page(language)
    page.goto("/?q=Single")
    rows = page.locator("tbody tr")
    page.keyboard.press("j")
    expect(rows.nth(0)).to_be_focused()
    page.keyboard.press("j")
    page.keyboard.press("j")
    expect(rows.nth(2)).to_be_focused()
    page.keyboard.press("k")
    expect(rows.nth(1)).to_be_focused()
    page.keyboard.press("x")
    expect(rows.nth(1).locator("input")).to_be_checked()
    page.on("dialog", lambda dialog: dialog.accept())
    subject = rows.nth(1).get_attribute("aria-label")
    page.keyboard.press("d")
    page.wait_for_selector("strong.deleted")
    expect(rows.nth(1)).to_be_focused()  # the row made anew
    assert rows.nth(1).get_attribute("aria-label") == subject
    page.keyboard.press("?")
    expect(page.locator("dialog")).to_be_visible()
    picture(page, f"keys-{language}")
    page.uncheck("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("j")
    expect(rows.nth(1)).to_be_focused()  # switched off
    page.keyboard.press("?")
    page.check("#keys-on")
    page.keyboard.press("Escape")
    page.keyboard.press("/")
    page.keyboard.type("jxd")
    assert page.input_value("input[type=search]") == "jxd"
    page.goto("/?q=Single")
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url("**/held/*")
    assert errors == []


def test_a_campaign_is_deleted_as_a_whole(open_page: Open) -> None:
    page, _ = open_page()
    page.goto("/?q=Draw&fold=yes")
    expect(page.locator("tbody tr")).to_have_count(1)
    page.click("text=and 4 alike")
    expect(page.locator("tbody tr")).to_have_count(5)
    page.go_back()
    page.click("text=act on all 5")
    expect(page.locator("h1")).to_have_text("5 held messages")
    page.click("text=Delete all 5 for ever")
    page.wait_for_url("**/jobs/*")
    page.wait_for_selector("text=Finished.")
    assert "5 deleted" in page.inner_text("main")
    page.goto("/?q=Draw")
    expect(page.locator("tbody tr")).to_have_count(0)


def test_selected_messages_without_a_script(open_page: Open) -> None:
    page, _ = open_page(script=False)
    page.goto("/?q=Single")
    page.locator("tbody input").nth(0).check()
    page.locator("tbody input").nth(1).check()
    page.click("#bulk button[value=delete]")
    expect(page.locator("h1")).to_have_text("2 held messages")
    page.click("text=Delete all 2 for ever")
    page.wait_for_url("**/jobs/*")
    for _ in range(50):
        if "Finished." in page.inner_text("main"):
            break
        page.reload()
    assert "2 deleted" in page.inner_text("main")


def test_another_reviewers_act_and_new_mail_are_told(open_page: Open, review: Review) -> None:
    page, errors = open_page()
    page.goto("/?q=Single")
    first = page.locator("tbody tr").first
    first_id = first.get_attribute("id")
    other, _ = open_page(name="reza")
    other.on("dialog", lambda dialog: dialog.accept())
    other.goto("/?q=Single")
    other.locator(f"#{first_id} button[formaction$='/delete']").click()
    other.wait_for_selector("strong.deleted")
    review.hold(40, "Single omega", received_at=time.time())
    expect(first).to_contain_text("by reza")
    expect(page.locator("#news")).to_contain_text("1 new message")
    assert page.locator("tbody tr").first.get_attribute("id") == first_id, "nothing moved"
    page.click("#news a")
    expect(page.locator("tbody tr").first).to_contain_text("Single omega")
    assert errors == []
