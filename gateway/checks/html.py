"""What the HTML hides and does."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.types import Finding, Html, MailObject

_HIDDEN_CHARACTERS, _HIDDEN_SHARE = 300, 0.5
_MAX = 100_000  # characters that words are counted in


class HtmlTricks:
    """See the module."""

    name = "html"
    findings = (
        "HTML_HIDDEN_TEXT",
        "HTML_SCRIPT",
        "HTML_FORM",
        "HTML_IMAGE_ONLY",
        "HTML_ONLY",
        "HTML_FRAME",
        "HTML_BASE64",
    )

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """All HTML parts as one."""
        pages = [part.html for part in mail.message.parts if part.html is not None]
        if not pages:
            return
        yield from _hidden(pages)
        if any(page.has_script for page in pages):
            yield Finding("HTML_SCRIPT", ("the page holds a script",))
        if any(page.has_form for page in pages):
            yield Finding("HTML_FORM", ("the page holds a form to fill in",))
        if any(page.tags.get(tag) for page in pages for tag in ("iframe", "frame", "object", "embed", "applet")):
            yield Finding("HTML_FRAME", ("the page embeds another one",))
        text = sum(len(page.text) for page in pages)
        if sum(page.image_count for page in pages) and text < 60:
            yield Finding("HTML_IMAGE_ONLY", (f"pictures and only {text} characters of text",))
        if any(part.html is not None and part.encoding == "base64" for part in mail.message.parts):
            yield Finding("HTML_BASE64", ("the page is encoded in base64",))
        if all(part.html is not None for part in mail.message.parts if part.text is not None):
            yield Finding("HTML_ONLY", ("there is no plain text beside the HTML",))


def _hidden(pages: list[Html]) -> Iterator[Finding]:
    hidden = " ".join(page.hidden_text for page in pages).strip()
    if len(hidden) <= _HIDDEN_CHARACTERS:
        return
    words = sum(1 for word in hidden[:_MAX].split() if word.isalpha())
    shown = sum(len(page.text) for page in pages)
    if words > 40 and len(hidden) > _HIDDEN_SHARE * shown:
        yield Finding("HTML_HIDDEN_TEXT", (f"{len(hidden)} characters are hidden from the reader: “{hidden[:60]}…”",))
