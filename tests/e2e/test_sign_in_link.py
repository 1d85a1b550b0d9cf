"""A recipient asks for a link at the door, finds it in his mailbox, and sees his held mail; nobody else does."""

from __future__ import annotations

import email
import re
from email import policy as email_policy
from pathlib import Path

import pytest
from playwright.sync_api import Browser, expect

from tests.builders import message_bytes
from tests.e2e import peers
from tests.e2e.test_gateway import eventually
from tests.e2e.test_pages import SPAM

pytestmark = pytest.mark.e2e
YOU = "you@darban.test"


@pytest.mark.parametrize("language", ["en", "fa"])
def test_a_recipient_signs_in_by_a_mailed_link(tmp_path: Path, browser: Browser, language: str) -> None:
    extra = '[digest]\naddress = "quarantine@darban.test"\n[sign_in]\nmail_links = true\n'
    with (
        peers.dovecot((YOU, "reza@darban.test")) as behind,
        peers.gateway(tmp_path / "gateway", f"lmtp+unix:{behind.socket}", extra=extra) as door,
    ):
        for user in (YOU, "reza@darban.test"):
            content = message_bytes(SPAM, Subject=f"Prize for {user.partition('@')[0]}")
            assert peers.send(door.smtp_port, content, rcpt_to=[user])[0] == 250
        context = browser.new_context(locale=language, viewport={"width": 390, "height": 850})
        page = context.new_page()
        said = []
        for address in ("nobody@darban.test", YOU):
            page.goto(f"http://127.0.0.1:{door.web_port}/sign-in")
            page.locator("a[href='/sign-in/link']").click()
            page.locator("input[name=address]").fill(address)
            page.locator("main button").click()
            said.append(page.locator("[role=status]:not(#message)").inner_text().replace(address, ""))
        assert said[0] == said[1]
        eventually(lambda: len(behind.messages(YOU)) == 1)
        letter = email.message_from_bytes(behind.messages(YOU)[0], policy=email_policy.default)
        assert letter["Content-Language"] == language
        text = letter.get_body(("plain",)).get_content()  # type: ignore[attr-defined]
        url = re.search(r"http://127\.0\.0\.1:\d+/link/[\w-]+", text)[0]  # type: ignore[index]
        page.goto(url)
        page.goto(url)  # looking spends nothing
        page.locator("main button").click()
        expect(page.get_by_text("Prize for you")).to_be_visible()
        assert "Prize for reza" not in page.content()
        assert page.goto(url).status == 404  # type: ignore[union-attr]
        context.close()
        assert "sign-in-link" in door.cli("audit", "export").stdout
