"""How much there is to read."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import islice

from gateway.mail.link import host_of
from gateway.types import Finding, MailObject

_FEW = 3  # links


class Body:
    """See the module."""

    name = "body"
    findings = ("BODY_EMPTY", "BODY_LINK_ONLY")

    def check(self, mail: MailObject) -> Iterator[Finding]:
        """Attachments count as something to read."""
        message = mail.message
        has_attachment = any(
            part.text is None and not part.content_type.startswith("multipart/") for part in message.parts
        )
        text = message.text.strip()
        if not text and not has_attachment and not any(part.html and part.html.image_count for part in message.parts):
            yield Finding("BODY_EMPTY", ("there is nothing to read",))
        # neither a tracking pixel nor a mail address is a link to follow
        followed = (link for link in message.links if link.source != "image" and host_of(link.url))
        links = [] if has_attachment else list(islice(followed, _FEW + 1))
        if 0 < len(links) <= _FEW:
            rest = text
            for link in links:
                rest = rest.replace(link.url, "").replace(link.text or link.url, "", 1)
            if len(rest.strip()) < 40:
                yield Finding("BODY_LINK_ONLY", (f"a link and {len(rest.strip())} characters beside it",))
