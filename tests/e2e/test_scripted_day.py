"""A day at the gateway in real Chromium, in each language: the first admin, the review of the morning's mail, a domain's
admin who sees nothing of his neighbour, a recipient with his digest, and the log of all of it.

`make screenshots` has it take the pictures of the documentation on its way.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from pathlib import Path

import pytest
from playwright.sync_api import Browser, BrowserContext, Locator, Page, expect

from gateway.web.language import languages
from tests.e2e import day_mail as mail
from tests.e2e.camera import PHONE, Camera
from tests.e2e.day_mail import Letter, Office
from tests.e2e.test_gateway import eventually

pytestmark = pytest.mark.e2e
PASSWORD = "a doorkeeper who reads at night"
FOLLOWS_S = 3  # listeners ask every two seconds which entries on senders there are
BLOCK_DAYS = "30"


@pytest.mark.parametrize("language", ["en", "fa"])
def test_a_day(browser: Browser, tmp_path: Path, language: str) -> None:
    with mail.office(tmp_path / "gateway") as office:
        day = Day(browser, office, language)
        day.the_first_admin_comes_in()
        day.the_morning_s_mail_comes()
        day.the_list_is_filtered()
        day.a_message_says_why()
        day.what_was_wanted_is_released()
        day.spam_is_reported()
        day.a_sender_is_blocked_for_some_days()
        day.several_are_deleted()
        name = day.an_account_for_the_neighbour_s_admin()
        day.the_neighbour_sees_no_foreign_row(name)
        day.a_recipient_releases_from_his_digest()
        day.the_log_of_it_all_is_whole()
        assert day.errors == []
        day.close()


class Day:
    """The owner's browser and what was seen so far. Methods are the day's events, in their order."""

    def __init__(self, browser: Browser, office: Office, language: str) -> None:
        self.browser, self.office, self.language = browser, office, language
        known = languages()[language]
        self.say: Callable[[str], str] = known.translations.gettext
        self.number = known.number
        self.camera = Camera(language)
        self.contexts: list[BrowserContext] = []
        self.errors: list[str] = []
        self.page = self.new_page()
        self.held: dict[str, str] = {}  # subject -> path of its page

    def new_page(self) -> Page:
        """A person's own browser, who reads this language."""
        context = self.browser.new_context(
            base_url=self.office.url, viewport={"width": 1280, "height": 800}, color_scheme="light"
        )
        context.add_cookies([{"name": "darban_language", "value": self.language, "url": self.office.url}])
        self.contexts.append(context)
        page = context.new_page()
        page.on("pageerror", lambda error: self.errors.append(str(error)))
        return page

    def close(self) -> None:
        for one in self.contexts:
            one.close()

    def press(self, page: Page | Locator, msgid: str, **values: object) -> None:
        page.get_by_role("button", name=self.say(msgid) % values, exact=True).click()

    def rows(self, one: Letter) -> Locator:
        return self.page.locator("tbody tr", has_text=one.subject)

    def subjects(self, page: Page) -> set[str]:
        """Of the list that is shown; the page is loaded."""
        return set(page.locator("table.held tbody td:nth-child(4) > a").all_inner_texts())

    def sign_in(self, page: Page, name: str) -> None:
        expect(page).to_have_url(re.compile("/sign-in$"))
        page.fill("input[name=name]", name)
        page.fill("input[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(re.compile("/$"))

    # --- the owner ---------------------------------------------------------------------------------------------------

    def the_first_admin_comes_in(self) -> None:
        page = self.page
        eventually(lambda: "/setup/" in self.office.gateway.log())
        link = re.findall(r"http://127[^ ]+/setup/[^ \n]+", self.office.gateway.log())[0]
        page.goto(link)
        page.fill("input[name=name]", "sara")
        page.fill("input[name=password]", PASSWORD)
        page.click("main button")
        page.wait_for_url(re.compile("/$"))
        self.press(page.locator("header"), "Sign out")
        page.goto(link)
        assert self.say("This link was used already or is too old.") in page.inner_text("main")
        page.goto("/")
        self.sign_in(page, "sara")
        assert page.inner_text("h1") == self.say("Quarantine")

    def the_morning_s_mail_comes(self) -> None:
        for one in mail.MORNING:
            self.office.send(one)
        for one in mail.DELIVERED:
            assert len(self.office.arrived(one)) == 1, one.subject
        for one in mail.HELD:
            assert self.office.arrived(one) == [], one.subject
        page = self.page
        page.goto("/")
        links = page.locator("table.held tbody td:nth-child(4) > a")
        self.held = {one.inner_text(): (one.get_attribute("href") or "").partition("?")[0] for one in links.all()}
        assert set(self.held) == {one.subject for one in mail.HELD}
        self.camera.take(page, "quarantine")
        self.camera.take(page, "quarantine-phone", PHONE)

    def the_list_is_filtered(self) -> None:
        page = self.page
        page.type("input[name=q]", "inheritance")
        expect(page.locator("tbody tr")).to_have_count(1)
        expect(self.rows(mail.HERITAGE)).to_be_visible()
        page.goto(f"/?domain={mail.NEIGHBOUR}")
        assert self.subjects(page) == {mail.TRADE_SPAM.subject, mail.TRADE_PRIZE.subject}
        page.goto("/?kind=phishing")
        assert {mail.MAILBOX.subject, mail.BANK.subject} <= self.subjects(page)
        assert mail.PILLS.subject not in self.subjects(page)
        page.goto("/?kind=malware")
        assert self.subjects(page) == {mail.JUDICIARY.subject}

    def a_message_says_why(self) -> None:
        """The sentence, the evidence with its marks in the text, what would have had it delivered."""
        page, one = self.page, mail.JUDICIARY if self.language == "fa" else mail.MAILBOX
        page.goto("/")
        self.rows(one).get_by_role("link", name=one.subject).click()
        expect(page.locator("h1")).to_have_text(one.subject)
        before, _, after = self.say("Held mostly because of this: %(reasons)s.").partition("%(reasons)s")
        lead = page.inner_text(".lead")
        assert lead.startswith(before.strip()) and lead.endswith(after) and len(lead) > len(before + after) + 20
        assert page.locator("table.hits tr").count() > 5
        link = page.locator("table.hits tr").filter(has=page.locator("td.name", has_text="URL_TEXT_MISMATCH"))
        assert (one.html.partition('<a href="http://')[2].partition("/")[0]) in link.inner_text()
        sentence = page.locator("#why-not:not([hx-get])")
        expect(sentence).to_have_text(re.compile(r"\S.{20,}\."))
        assert page.frame_locator("iframe.view").locator("mark").count() > 0
        self.camera.take(page, "message", (1280, 1150))
        self.camera.take(page, "message-phone", PHONE)

    def what_was_wanted_is_released(self) -> None:
        page = self.page
        page.goto(self.held[mail.QUOTATION.subject])
        self.press(page.locator("main .acts").first, "Release")
        expect(page.locator("strong.released")).to_have_text(self.say("Released"))
        assert self.say("Learned: such mail is not spam.") in page.inner_text("main")
        assert len(self.office.arrived(mail.QUOTATION)) == 1  # said after the mailbox had it
        page.locator("a[href^='/log/']").click()
        expect(page.locator(".timeline li.release")).to_be_visible()
        assert "250 2" in page.inner_text(".timeline li.release")
        self.camera.take(page, "timeline", (1280, 840))
        page.goto("/log")
        for subject in (mail.MINUTES.subject, mail.QUOTATION.subject):
            expect(page.locator("tbody tr", has_text=subject)).to_have_count(1)
        self.camera.take(page, "log")

    def spam_is_reported(self) -> None:
        page = self.page
        page.goto("/")
        page.once("dialog", lambda dialog: dialog.accept())
        self.press(self.rows(mail.HERITAGE), "This is spam")
        expect(page.locator("strong.deleted")).to_have_text(self.say("Deleted"))
        assert self.say("Learned: such mail is spam.") in page.inner_text("table.held")
        page.goto("/learning")
        assert "sara" in page.inner_text("main")

    def a_sender_is_blocked_for_some_days(self) -> None:
        """What he sent before was delivered; what he sends now is held, and the reason names the entry and its end."""
        page, one = self.page, mail.NEWSLETTER
        page.goto("/senders")
        page.locator("main a[href='/senders/new?act=block']").click()
        page.fill("input[name=pattern]", one.address)
        page.fill("input[name=recipient]", one.to)
        page.select_option("select[name=days]", BLOCK_DAYS)
        page.fill("input[name=note]", "نمی‌خواهد" if self.language == "fa" else "did not subscribe")
        self.press(page, "See what it would have done")
        expect(page.locator("#would tbody tr")).to_have_count(1)
        expect(page.locator("#would tbody tr")).to_contain_text(one.subject)
        self.camera.take(page, "block")
        self.press(page, "Block")
        row = page.locator("table.senders tbody tr", has_text=one.address)
        expect(row).to_have_count(1)
        assert self.say("no end") not in row.inner_text()
        page.wait_for_timeout(FOLLOWS_S * 1000)
        self.office.send(mail.AGAIN)
        assert self.office.arrived(mail.AGAIN) == []
        page.goto(f"/?sender={one.address}")
        held = self.rows(mail.AGAIN)
        expect(held).to_have_count(1)
        assert "sara" in held.locator(".why").inner_text()

        def is_counted() -> bool:
            page.goto("/senders")
            return row.locator(".hits-count").inner_text().startswith(self.number("1"))

        eventually(is_counted)
        self.camera.take(page, "senders", (1280, 560))

    def several_are_deleted(self) -> None:
        """The page says of what; one of them is gone meanwhile, and the result says so."""
        page, chosen = self.page, (mail.PILLS, mail.LOAN, mail.LOTTERY)
        page.goto("/")
        for one in chosen:
            self.rows(one).locator("input[type=checkbox]").check()
        self.press(page.locator("#bulk"), "Delete …")
        assert page.locator("main ul li").all_inner_texts() != []
        for one in chosen:
            assert one.subject in page.inner_text("main ul")
        self.camera.take(page, "bulk", (1280, 560))
        gone = self.held[mail.LOAN.subject].rpartition("/")[2]
        assert self.office.gateway.cli("quarantine", "delete", gone).returncode == 0
        page.locator("main .acts button").last.click()
        page.wait_for_url(re.compile("/jobs/"))
        expect(page.locator("#job")).to_contain_text(self.say("Finished."), timeout=20_000)
        results = page.locator("#job tbody tr")
        for one, done in ((mail.PILLS, True), (mail.LOTTERY, True), (mail.LOAN, False)):
            row = results.filter(has_text=one.subject)
            expect(row.locator("strong.released")).to_have_count(int(done))
            assert (self.say("Nothing done:") in row.inner_text()) is not done
        self.camera.take(page, "job", (1280, 560))
        page.goto("/")
        assert not {one.subject for one in chosen} & self.subjects(page)

    # --- the neighbour -----------------------------------------------------------------------------------------------

    def an_account_for_the_neighbour_s_admin(self) -> str:
        """The owner makes it; its owner sets the password by the link that is shown once."""
        page, name = self.page, "kaveh"
        page.goto("/accounts")
        page.locator("main a[href='/accounts/new']").click()
        page.fill("main input[name=name]", name)
        page.select_option("select[name=role]", "domain_admin")
        page.fill("textarea[name=domains]", mail.NEIGHBOUR)
        page.locator("main form button").click()
        link = page.inner_text("main pre").strip()
        theirs = self.new_page()
        theirs.goto(link)
        theirs.fill("input[name=password]", PASSWORD)
        theirs.click("main button")
        self.sign_in(theirs, name)
        self.theirs = theirs
        return name

    def the_neighbour_sees_no_foreign_row(self, name: str) -> None:
        theirs = self.theirs
        foreign = [one for one in (*mail.MORNING, mail.AGAIN) if not one.to.endswith(mail.NEIGHBOUR)]
        for path in (
            "/", "/?state=", f"/?state=&domain={mail.COMPANY}", f"/?state=&recipient={mail.SARA}", "/?state=&q=US$850,000",
            "/?state=&fold=yes", "/log", f"/log?q={mail.COMPANY}", f"/log?recipient={mail.SARA}", "/log?q=Kashan",
            "/senders?ended=yes", "/audit", "/audit?q=noavaran", "/jobs", f"/accounts?q={mail.COMPANY}",
            "/bulk?act=delete&all=yes&filter=state%3Dheld", "/log/export.csv", "/senders/export.csv",
        ):  # fmt: skip
            told = theirs.request.get(path)
            assert told.status == 200, path
            shown = re.sub('value="[^"]*"', "", told.text())  # what he asked for stands in the form
            for one in foreign:
                assert one.subject not in shown and one.to not in shown, (path, one.subject)
        theirs.goto("/")
        assert self.subjects(theirs) == {mail.TRADE_SPAM.subject, mail.TRADE_PRIZE.subject}
        self.page.goto("/jobs")
        job = self.page.locator("main ul a").first.get_attribute("href")
        numbers = json.loads(self.office.gateway.cli("trace", "Kashan", "--json").stdout)
        paths = [job, f"/log/{numbers['queue_id']}", f"/log/row/{numbers['number']}", "/senders/1"]
        for subject, path in self.held.items():
            if subject in {one.subject for one in foreign}:
                paths += [path, *(f"{path}/{view}" for view in ("view", "source", "why", "print", "copies", "notes"))]
        assert len(paths) > 40
        for path in paths:
            assert theirs.request.get(path).status == 404, path
        own = theirs.request.get(self.held[mail.TRADE_SPAM.subject])
        assert own.status == 200
        assert f"<bdi>{name}</bdi>" in own.text()

    # --- a recipient -------------------------------------------------------------------------------------------------

    def a_recipient_releases_from_his_digest(self) -> None:
        """The letter is opened as a mail program shows it: a file, without a session."""
        reader, wanted = (mail.REZA, mail.BANK) if self.language == "fa" else (mail.SARA, mail.AGAIN)
        sent = self.office.gateway.cli("digest", "send", "--address", reader)
        assert sent.stdout.splitlines()[-1] == "digests sent: 1", sent
        file = self.office.gateway.folder / "digest.html"
        file.write_text(self.office.digest(reader))
        page = self.new_page()
        page.goto(f"file://{file}")
        expect(page.locator("html")).to_have_attribute("lang", self.language)
        self.camera.take(page, "digest", (720, 740))
        card = page.locator("table.card", has_text=wanted.subject)
        card.locator("td.act a").click()
        expect(page.locator("html")).to_have_attribute("lang", self.language)
        assert self.office.arrived(wanted) == []  # a link alone does nothing
        self.camera.take(page, "digest-ask", (720, 480))
        page.locator("main button").click()
        expect(page.locator(".said.released")).to_be_visible()
        assert len(self.office.arrived(wanted)) == 1
        self.reader = reader

    # --- the evening -------------------------------------------------------------------------------------------------

    def the_log_of_it_all_is_whole(self) -> None:
        page = self.page
        page.goto("/audit")
        names = page.locator("table.audit tbody tr").all_inner_texts()
        for who, act in (
            ("sara", "Signed in"), ("sara", "Released"), ("sara", "Called spam"), ("sara", "Sender blocked"),
            ("sara", "Deleted"), ("sara", "Account added"), ("kaveh", "Password set"), (self.reader, "Released"),
        ):  # fmt: skip
            assert any(who in row and self.say(act) in row for row in names), (who, act)
        self.camera.take(page, "audit", (1280, 900))
        page.goto("/audit?act=release")
        assert page.locator("table.audit tbody tr").count() == 2
        verified = self.office.gateway.cli("audit", "verify")
        assert verified.returncode == 0, verified
