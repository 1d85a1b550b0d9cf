"""The list in a real browser: keys, bulk acts, folding, what others did; both languages, phone and desktop."""

from __future__ import annotations

import os
import re
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.e2e.test_pages import SPAM, browser, open_page, signed_in  # noqa: F401  fixtures

# ruff: noqa: F811
pytestmark = pytest.mark.e2e
CAMPAIGN = SPAM + "We have the honour to inform you that your address was drawn in the second category of our draw.\r\n"


@pytest.fixture(scope="module")
def review(door: peers.Gateway) -> peers.Gateway:
    """The gateway with some held messages, a campaign among them."""
    eventually(lambda: "/setup/" in door.log())
    (door.folder / "setup-link").write_text(re.findall(r"http://127[^ ]+/setup/[^ \n]+", door.log())[0])
    for number in range(5):
        body = CAMPAIGN.replace("1,500,000", f"1,500,00{number}")
        assert peers.send(door.smtp_port, message_bytes(body, Subject=f"Draw number {number}"))[0] == 250
    for number, word in enumerate(("alpha", "beta", "gamma", "delta", "epsilon", "zeta", "eta", "theta")):
        body = f"{word} " * 30 + "\r\n" + SPAM
        assert peers.send(door.smtp_port, message_bytes(body, Subject=f"Single {word} {number}"))[0] == 250
    assert peers.send(door.smtp_port, message_bytes(SPAM, Subject="خبر جایزهٔ شما"))[0] == 250
    return door


def picture(page, name: str) -> None:
    """Kept where somebody wants to look at it."""
    if folder := os.environ.get("DARBAN_PICTURES"):
        page.screenshot(path=Path(folder) / f"{name}.png", full_page=True)


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("language", ["en", "fa"])
def test_pages_fit(open_page, language: str, width: int) -> None:
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
    assert errors == []


@pytest.mark.parametrize("language", ["en", "fa"])
def test_keys_alone_are_enough(open_page, language: str) -> None:
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
    assert page.input_value("input[type=search]").endswith("jxd")
    page.goto("/?q=Single")
    page.keyboard.press("j")
    page.keyboard.press("o")
    page.wait_for_url("**/held/*")
    assert errors == []


def test_a_campaign_is_deleted_as_a_whole(open_page) -> None:
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


def test_selected_messages_without_a_script(open_page) -> None:
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


def test_another_reviewers_act_and_new_mail_are_told(browser: Browser, open_page, review: peers.Gateway) -> None:
    page, errors = open_page()
    page.goto("/?q=Single")
    first = page.locator("tbody tr").first
    first_id = first.get_attribute("id")
    other = browser.new_context(base_url=f"http://127.0.0.1:{review.web_port}").new_page()
    SqlAccounts(make_engine(f"sqlite:///{review.folder}/var/darban.db")).create("reza", "a long password of reza")
    other.goto("/sign-in")
    other.fill("input[name=name]", "reza")
    other.fill("input[name=password]", "a long password of reza")
    other.click("main button")
    other.on("dialog", lambda dialog: dialog.accept())
    other.goto("/?q=Single")
    other.locator(f"#{first_id} button.quiet").click()
    other.wait_for_selector("strong.deleted")
    assert peers.send(review.smtp_port, message_bytes(f"{'omega ' * 30}\r\n{SPAM}", Subject="Single omega"))[0] == 250
    expect(first).to_contain_text("by reza", timeout=40_000)
    expect(page.locator("#news")).to_contain_text("1 new message", timeout=40_000)
    assert page.locator("tbody tr").first.get_attribute("id") == first_id, "nothing moved"
    page.click("#news a")
    expect(page.locator("tbody tr").first).to_contain_text("Single omega")
    assert errors == []
