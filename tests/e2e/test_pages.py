"""The review pages in a real browser: both languages, phone and desktop, with script and without."""

from __future__ import annotations

import re
from collections.abc import Iterator
from pathlib import Path

import pytest
from playwright.sync_api import Browser, Locator, Page, expect

from gateway.cli.demo import samples
from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import arrived, eventually

pytestmark = pytest.mark.e2e
SAMPLES = dict(samples())
PASSWORD = "a long password of the tests"
SPAM = "Dear friend, you have won US$1,500,000.00 in the international lottery. Click here.\r\n"
HTML = "<h1>You have won US$1,500,000.00</h1><script>document.title='owned'</script><a href='http://bank.example/'>Click here</a>\r\n"
LABELS = {"en": ("Release", "Quarantine", "ltr"), "fa": ("آزاد کن", "قرنطینه", "rtl")}


@pytest.fixture(scope="module")
def review(door: peers.Gateway) -> peers.Gateway:
    """The gateway with an admin and some held messages."""
    eventually(lambda: "/setup/" in door.log())
    (door.folder / "setup-link").write_text(re.findall(r"http://127[^ ]+/setup/[^ \n]+", door.log())[0])
    for number in range(6):
        assert peers.send(door.smtp_port, message_bytes(SPAM, Subject=f"Held for the browser {number}"))[0] == 250
    persian = message_bytes(SPAM, Subject="خبر جایزهٔ شما")
    assert peers.send(door.smtp_port, persian)[0] == 250
    assert peers.send(door.smtp_port, message_bytes(SPAM, Subject="Prize for the browser"))[0] == 250
    html = message_bytes(HTML, Subject="Held HTML", Content_Type="text/html; charset=utf-8")
    assert peers.send(door.smtp_port, html)[0] == 250
    return door


@pytest.fixture(scope="module")
def signed_in(browser: Browser, review: peers.Gateway) -> Path:
    """The state of a browser in which the first admin was made by the printed link."""
    context = browser.new_context()
    page = context.new_page()
    page.goto((review.folder / "setup-link").read_text())
    page.fill("input[name=name]", "sara")
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_selector("table.messages")
    state = review.folder / "browser-state.json"
    context.storage_state(path=state)
    context.close()
    return state


@pytest.fixture
def open_page(browser: Browser, signed_in: Path, review: peers.Gateway) -> Iterator[object]:
    """open_page(language, width) -> (page, the errors its console showed)."""
    contexts = []

    def make(language: str = "en", width: int = 1280, *, script: bool = True) -> tuple[Page, list[str]]:
        context = browser.new_context(
            storage_state=signed_in, locale=language, viewport={"width": width, "height": 850}, java_script_enabled=script,
            base_url=f"http://127.0.0.1:{review.web_port}",
        )  # fmt: skip
        contexts.append(context)
        page, errors = context.new_page(), []
        page.on("console", lambda said: errors.append(said.text) if said.type in ("error", "warning") else None)
        page.on("pageerror", lambda error: errors.append(str(error)))
        return page, errors

    yield make
    for context in contexts:
        context.close()


@pytest.mark.parametrize("width", [390, 1280])
@pytest.mark.parametrize("language", ["en", "fa"])
def test_pages_fit_and_speak_the_language(open_page, language: str, width: int) -> None:
    page, errors = open_page(language, width)
    release, heading, direction = LABELS[language]
    page.goto("/")
    assert page.get_attribute("html", "dir") == direction
    assert page.inner_text("h1") == heading
    assert page.locator("tbody tr").count() >= 8
    assert page.locator("tbody tr button").first.inner_text() == release
    for path in ("/", "/log", page.get_attribute("tbody tr a", "href"), "/learning", "/learning/revoke?trainer=sara"):
        page.goto(path)
        assert page.evaluate("document.documentElement.scrollWidth") <= width, path
        assert page.get_attribute("html", "dir") == direction
    assert errors == []


def test_search_as_you_type(open_page) -> None:
    page, errors = open_page()
    page.goto("/")
    page.type("input[name=q]", "browser 3")
    page.wait_for_url("**q=browser*3*")
    expect(page.locator("tbody tr")).to_have_count(1)
    assert errors == []


def test_the_view_runs_nothing(open_page) -> None:
    page, _ = open_page()
    page.goto("/?q=Held+HTML")
    page.click("tbody tr a")
    frame = page.frame_locator("iframe.view")
    assert re.sub(r"\[\d+\]", "", frame.locator("h1").inner_text()) == "You have won US$1,500,000.00"
    assert frame.locator("h1 mark").count() > 0 and frame.locator(".notes li").count() > 0
    assert frame.locator("script").count() == 0
    assert frame.locator("a[href]").count() == 0
    assert "owned" not in page.title()
    assert page.locator("details code", has_text="http://bank.example/").count() == 1


@pytest.mark.parametrize("script", [True, False])
@pytest.mark.parametrize(("language", "says"), [("en", "delivered"), ("fa", "تحویل")])
def test_what_would_have_had_it_delivered(open_page, language: str, says: str, script: bool) -> None:
    page, errors = open_page(language, 390, script=script)
    page.goto("/?q=browser+4")
    row_of(page, "Held for the browser 4").locator("a").first.click()
    if not script:
        page.click("#why-not a")
    sentence = page.locator("#why-not:not([hx-get])")
    sentence.wait_for()
    assert says in sentence.inner_text() and sentence.inner_text().strip().endswith(".")
    assert errors == []


def row_of(page: Page, subject: str) -> Locator:
    """A search finds each word anywhere, so more than the one."""
    return page.locator("tbody tr", has_text=subject)


@pytest.mark.parametrize(("script", "number"), [(True, 0), (False, 1)])
def test_release(open_page, postfix_behind: peers.Postfix, script: bool, number: int) -> None:
    page, _ = open_page(script=script)
    subject = f"Held for the browser {number}"
    page.goto(f"/?q=browser+{number}")
    row_of(page, subject).locator("button").first.click()
    page.wait_for_selector("strong.released")
    assert "queued as" in page.inner_text("main")
    assert "Learned: such mail is not spam." in page.inner_text("main")
    eventually(lambda: len(arrived(postfix_behind, subject)) == 1)


def test_delete_asks_first(open_page, review: peers.Gateway) -> None:
    page, _ = open_page()
    page.goto("/?q=browser+2")
    page.once("dialog", lambda dialog: dialog.dismiss())
    row_of(page, "Held for the browser 2").locator("button[formaction$=delete]").click()
    assert page.locator("strong.deleted").count() == 0
    page.once("dialog", lambda dialog: dialog.accept())
    row_of(page, "Held for the browser 2").locator("button[formaction$=delete]").click()
    page.wait_for_selector("strong.deleted")
    assert review.cli("quarantine", "list", "--json", "--search", "browser 2").stdout == ""


def test_delete_asks_first_on_the_page_of_a_message(open_page) -> None:
    page, _ = open_page()
    page.goto("/?q=browser+4")
    row_of(page, "Held for the browser 4").locator("a").first.click()
    page.wait_for_url("**/held/*")  # with its scripts, which ask
    page.once("dialog", lambda dialog: dialog.dismiss())
    page.click("main .acts form[action$=delete] button")
    assert page.locator("strong.deleted").count() == 0
    page.once("dialog", lambda dialog: dialog.accept())
    page.click("main .acts form[action$=delete] button")
    page.wait_for_selector("strong.deleted")


def test_spam_is_taught_and_taken_back(open_page, review: peers.Gateway) -> None:
    """On the page of a message, without a script; then on the page of lessons, with confirmation and undo."""
    page, errors = open_page(script=False)
    page.goto("/?q=prize+for+the+browser")
    page.click("tbody tr a")
    page.click("main .acts form[action$=spam] button")
    assert "learn that such mail is spam?" in page.inner_text("h1")
    page.click("main form.acts button")
    assert "Learned: such mail is spam." in page.inner_text("[role=status].said")
    assert page.locator("strong.deleted").count() == 1
    for act, expected in (("Take", True), ("Undo", False)):
        page.goto("/learning?trainer=sara")
        if act == "Take":
            page.locator("tr", has_text="spam, in the quarantine").get_by_role("link", name="Take back…").click()
            assert "Take 1 lesson back" in page.inner_text("main")
            page.click("main form button")
            page.wait_for_selector("form.said")
        else:
            page.go_back()
            page.click("form.said button")
        row = page.locator("tr", has_text="spam, in the quarantine")
        assert ("Taken back by sara" in row.inner_text()) is expected
    assert errors == []


def test_a_session_that_ended_leads_to_the_door(open_page) -> None:
    page, _ = open_page()
    page.goto("/?q=browser+5")
    page.context.clear_cookies()
    page.click("tbody tr button")
    page.wait_for_url("**/sign-in")


def test_the_language_can_be_chosen(open_page) -> None:
    page, _ = open_page()
    page.goto("/log")
    page.click("header a[hreflang=fa]")
    assert (page.get_attribute("html", "lang"), page.url.endswith("/log")) == ("fa", True)
    page.goto("/")
    assert page.inner_text("h1") == LABELS["fa"][1]


def test_signing_out_ends_the_session(browser: Browser, review: peers.Gateway, signed_in: Path) -> None:
    context = browser.new_context(base_url=f"http://127.0.0.1:{review.web_port}")
    page = context.new_page()
    page.goto("/")
    assert page.url.endswith("/sign-in")
    page.fill("input[name=name]", "sara")
    page.fill("input[name=password]", PASSWORD)
    page.click("main button")
    page.wait_for_selector("table.messages")
    cookie = context.cookies()
    page.click("header button")
    page.wait_for_url("**/sign-in")
    context.add_cookies(cookie)
    page.goto("/")
    assert page.url.endswith("/sign-in")
    context.close()
