"""Every page of the product under axe-core: no violation of WCAG 2.2 A and AA, nor of axe's good practice, in both
languages, light on a desktop and dark on a phone; in Persian, whose colours are the same, on a phone."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest
from axe_playwright_python.sync_playwright import Axe
from fastapi.routing import iter_route_contexts
from playwright.sync_api import Browser, Locator, Page

from gateway.policy import totp
from gateway.stores.accounts import SqlAccounts
from gateway.stores.engine import make_engine
from gateway.types import Account
from tests.e2e import day_mail as mail
from tests.e2e.day_mail import Office
from tests.web_app import form_token, make_web_app

pytestmark = pytest.mark.e2e
PASSWORD = "a doorkeeper who reads at night"
WCAG = ["wcag2a", "wcag2aa", "wcag21a", "wcag21aa", "wcag22aa"]
GOOD_PRACTICE = "best-practice"  # of whole pages: a letter, and a message in its frame, have no landmarks
DESKTOP, PHONE = (1280, 850), (390, 850)
SCREENS = {"en": {"light": DESKTOP, "dark": PHONE}, "fa": {"light": PHONE}}  # colours are the same in every language
OWNER, WITH_CODE = "sara", "mina"

# Every route that answers a GET -> addresses that show what can stand there. Names in braces: `Known`.
PAGES: dict[str, tuple[str, ...]] = {
    "/": ("/", "/?state=", "/?state=&fold=yes&sender=example&kind=spam&score_from=1&day_from=2026-01-01", "/?q=nothing+at+all"),
    "/bulk": ("/bulk?act=delete&all=yes&filter=state%3Dheld", "/bulk?act=release&all=yes&filter=state%3Dheld", "/bulk?act=spam&id={held}"),
    "/jobs": ("/jobs",),
    "/jobs/{job_id}": ("/jobs/{job}",),
    "/held/{held_id}": ("/held/{held}", *(f"/held/{{held}}?show={one}" for one in ("text", "fields", "parts", "source")), "/held/{malware}?show=parts", "/held/{released}"),
    "/held/{held_id}/print": ("/held/{held}/print",),
    "/held/{held_id}/view": ("/held/{held}/view", "/held/{malware}/view"),
    "/held/{held_id}/why": ("/held/{held}/why",),
    "/held/{held_id}/copies": ("/held/{held}/copies",),
    "/held/{held_id}/notes": ("/held/{held}/notes",),
    "/log": ("/log", "/log?finding=SPF_FAIL&since=2026-01-01", "/log?q=nothing+at+all"),
    "/log/row/{number}": ("/log/row/{number}",),
    "/log/{queue_id}": ("/log/{queue_id}", "/log/none"),
    "/senders": ("/senders", "/senders?ended=yes&q=example"),
    "/senders/new": ("/senders/new?act=allow", "/senders/new?act=block&held={held}", "/senders/new?act=block&pattern=x%20y&days=30"),
    "/senders/{number}": ("/senders/1",),
    "/learning": ("/learning", f"/learning?trainer={OWNER}"),
    "/learning/revoke": (f"/learning/revoke?trainer={OWNER}",),
    "/accounts": ("/accounts", "/accounts?q=nobody"),
    "/accounts/new": ("/accounts/new",),
    "/accounts/edit": (f"/accounts/edit?name={WITH_CODE}", f"/accounts/edit?name={OWNER}"),
    "/audit": ("/audit", "/audit?act=release&since=2026-01-01"),
    "/privacy": ("/privacy", f"/privacy?address={mail.SARA}", "/privacy?address=x@elsewhere.example"),
    "/account": ("/account",),
    "/account/code": ("/account/code",),
    "/account/tokens": ("/account/tokens",),
    "/api": ("/api",),
    "/sign-in": ("/sign-in",),
    "/sign-in/link": ("/sign-in/link",),
    "/link/{token}": ("/link/{link}", "/link/none"),
    "/setup/{token}": ("/setup/{setup}",),
    "/reset/{token}": ("/reset/{reset}",),
    "/digest/{text}": ("/digest/{release}", "/digest/{spam}", "/digest/{look}", "/digest/{stop}", "/digest/none"),
}  # fmt: skip
NO_PAGES = {  # what they answer instead
    "/news": "a part of the list",
    "/held/{held_id}/part/{path}": "a download; its warning is a page: see ACTS",
    "/held/{held_id}/source": "a download",
    "/log/export.csv": "a table",
    "/senders/export.csv": "a table",
    "/api/openapi.json": "JSON",
    "/sign-in/oidc": "leads to the issuer",
    "/sign-in/oidc/back": "comes from the issuer",
    "/language/{code}": "leads back",
    "/favicon.ico": "the icon",
}
Known = dict[str, str]
AXE = Axe()


def test_every_page_has_a_row(tmp_path: Path) -> None:
    web = make_web_app(tmp_path)
    asked = {one.path for one in iter_route_contexts(web.app.routes) if "GET" in (getattr(one, "methods", None) or ())}
    web.engine.dispose()
    assert len(asked) > 30
    assert asked == {*PAGES, *NO_PAGES}


@pytest.fixture(scope="module")
def office(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Office]:
    """In which something stands on every page."""
    with mail.office(tmp_path_factory.mktemp("gateway")) as running:
        for one in mail.MORNING:
            running.send(one)
        command = running.gateway.cli
        for address in (mail.SARA, mail.REZA):
            assert command("digest", "send", "--address", address).returncode == 0
        assert (
            command("senders", "add", "block", mail.NEWSLETTER.address, "--note", "did not subscribe").returncode == 0
        )
        yield running


@pytest.fixture(scope="module")
def accounts(office: Office) -> Iterator[SqlAccounts]:
    """The running gateway's own."""
    engine = make_engine(f"sqlite:///{office.gateway.folder}/var/darban.db")
    made = SqlAccounts(engine)
    made.create(OWNER, PASSWORD)
    made.create(WITH_CODE, PASSWORD, "reviewer", (mail.COMPANY,))
    yield made
    engine.dispose()


@pytest.fixture(scope="module")
def known(office: Office, accounts: SqlAccounts) -> Known:
    """What addresses name."""
    command = office.gateway.cli
    rows = [json.loads(line) for line in command("quarantine", "list", "--json", "--state", "any").stdout.splitlines()]
    ids = {one["subject"]: one["id"] for one in rows}
    released = ids[mail.QUOTATION.subject]
    assert command("quarantine", "release", released).returncode == 0
    logged = json.loads(command("trace", mail.MINUTES.subject, "--json").stdout)
    with httpx.Client(
        base_url=office.url, cookies={"darban_session": accounts.new_session(Account(OWNER, "owner"))}
    ) as client:
        csrf = {"csrf": form_token(client.get("/account").text)}
        client.post(
            f"/held/{ids[mail.MAILBOX.subject]}/notes", data=csrf | {"text": "Asked the help desk: it is not theirs."}
        )
        client.post("/filters", data=csrf | {"name": "Fraud", "filter": "kind%3Dphishing", "shared": "yes"})
        client.post("/account/tokens", data=csrf | {"name": "monitoring", "act": "list", "days": "30"})
        client.post(f"/held/{ids[mail.HERITAGE.subject]}/spam", data=csrf | {"sure": "yes"})
        chosen = [ids[mail.PILLS.subject], ids[mail.LOAN.subject]]
        job = client.post("/jobs", data=csrf | {"act": "delete", "id": chosen}).headers["location"]
    return {
        "job": job.rpartition("/")[2], "held": ids[mail.MAILBOX.subject], "malware": ids[mail.JUDICIARY.subject], "released": released,
        "number": str(logged["number"]), "queue_id": json.loads(command("trace", mail.QUOTATION.subject, "--json").stdout)["queue_id"],
        "link": accounts.new_token("link", 600.0, subject=mail.SARA), "setup": accounts.new_setup_token(),
        "reset": accounts.new_token("reset", 600.0, account=WITH_CODE),
    }  # fmt: skip


@pytest.fixture(params=SCREENS)
def reader(request: pytest.FixtureRequest, browser: Browser, office: Office, accounts: SqlAccounts) -> Iterator[Reader]:
    context = browser.new_context(base_url=office.url, bypass_csp=True)  # axe is put into the page as a script
    session = accounts.new_session(Account(OWNER, "owner"))
    for name, value in (("darban_language", request.param), ("darban_session", session)):
        context.add_cookies([{"name": name, "value": value, "url": office.url}])
    page = context.new_page()
    page.on("dialog", lambda dialog: dialog.accept())
    yield Reader(page, request.param)
    context.close()


class Reader:
    """A browser in which the owner is signed in, and what axe found in it."""

    def __init__(self, page: Page, language: str) -> None:
        self.page, self.language, self.found = page, language, []

    def press(self, one: Locator) -> None:
        """Until the page it leads to is there: where a question is asked first, a click alone ends before that."""
        with self.page.expect_navigation():
            one.click()

    def look(self, where: str = "") -> None:
        """At the page that is there, on each screen."""
        is_page = not self.page.url.startswith("file:") and not self.page.url.endswith("/view")
        rules = [*WCAG, GOOD_PRACTICE] if is_page else WCAG
        if self.page.locator("[hx-trigger=load]").count():
            self.page.wait_for_load_state("networkidle")
        for scheme, (width, height) in SCREENS[self.language].items():
            self.page.emulate_media(color_scheme=scheme)
            self.page.set_viewport_size({"width": width, "height": height})
            told = AXE.run(self.page, options={"runOnly": rules, "resultTypes": ["violations"]}).response
            for one in told["violations"]:
                nodes = [
                    node["html"][:160] + " | " + node["failureSummary"].replace("\n", " ")[:300]
                    for node in one["nodes"]
                ]
                self.found.append(f"{where or self.page.url} {scheme}: {one['id']}: {nodes[:3]}")


def test_pages(reader: Reader, known: Known, office: Office) -> None:
    page = reader.page
    links = re.findall(r"/digest/([^\"]+)", office.digest(mail.REZA if reader.language == "fa" else mail.SARA))
    here = known | dict(zip(("release", "spam", "look"), links, strict=False))
    here["stop"] = links[-1]
    for address in [address.format_map(here) for addresses in PAGES.values() for address in addresses]:
        page.goto(address)
        assert page.get_attribute("html", "lang") == reader.language, address
        reader.look()
    file = office.gateway.folder / "digest.html"
    file.write_text(office.digest(mail.REZA if reader.language == "fa" else mail.SARA))
    page.goto(f"file://{file}")
    reader.look("the digest")
    assert not reader.found, "\n".join(reader.found)


def test_answers_to_forms(reader: Reader, known: Known, accounts: SqlAccounts) -> None:
    """Pages that no address has."""
    page = reader.page
    page.goto(f"/held/{known['malware']}?show=parts")
    reader.press(page.locator("a[href*='/part/']").last)
    reader.look("the warning before a part is downloaded")
    page.goto("/accounts/new")
    page.fill("main input[name=name]", f"new-{reader.language}")
    page.fill("textarea[name=addresses]", mail.SARA)
    page.select_option("select[name=role]", "recipient")
    reader.press(page.locator("main form button"))
    reader.look("the link of a new account")
    page.goto("/account/tokens")
    page.fill("main input[name=name]", "statistics")
    page.locator("input[name=act]").first.check()
    reader.press(page.locator("form.card button"))
    reader.look("a new token")
    page.goto("/senders")
    page.locator("details summary").first.click()
    page.fill("textarea[name=text]", "act,pattern\nblock,@")
    reader.press(page.locator("form[action='/senders/import'] button"))
    reader.look("an import that is refused")
    page.goto("/privacy?address=nobody@noavaran.example")
    page.locator("details summary").click()
    reader.press(page.locator("form[action='/privacy/erase'] button"))
    reader.look("a person erased")
    page.context.clear_cookies(name="darban_session")
    secret = totp.new_secret()
    accounts.set_code(WITH_CODE, secret, totp.new_recovery_codes())
    for password in ("a wrong one", PASSWORD):
        page.goto("/sign-in")
        page.fill("input[name=name]", WITH_CODE)
        page.fill("input[name=password]", password)
        reader.press(page.locator("main button"))
        reader.look("after a sign-in")
    page.fill("input[name=code]", totp.code_at(secret, int(time.time() // totp.PERIOD_S)))
    reader.press(page.locator("main button"))
    page.wait_for_url("**/")
    page.goto("/account")
    reader.look("an account with one-time codes")
    page.locator("form[action='/account/recovery'] input[type=password]").fill(PASSWORD)
    reader.press(page.locator("form[action='/account/recovery'] button").first)
    reader.look("recovery codes")
    page.goto("/accounts")
    reader.look("what an account may not do")
    assert not reader.found, "\n".join(reader.found)


def test_what_is_wrong_is_found(browser: Browser) -> None:
    page = browser.new_page()
    page.set_content(
        "<html lang='en'><title>x</title><main><h1>x</h1><p style='color:#bbb'>pale</p><input></main></html>"
    )
    reader = Reader(page, "en")
    reader.look()
    page.close()
    assert {one.split(": ")[1] for one in reader.found} == {"color-contrast", "label"}
