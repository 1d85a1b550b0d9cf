"""Facts of a message that are not words of its text, as short keys: structure, links, relations between identities."""

from __future__ import annotations

from collections.abc import Iterator

from gateway.auth.organisation import organisational_domain
from gateway.classify.normalise import MAX_CHARACTERS, Text
from gateway.mail.domain import to_u_label
from gateway.mail.encoding import ENCODINGS
from gateway.mail.link import host_of
from gateway.types import Html, MailObject

_MAX_LINKS, _MAX_PARTS = 50, 30
_TAGS = ("form", "script", "iframe", "input", "marquee", "map")
_MANY_WORDS = 4  # of a name, or more
_FEW = ("0", "1", "2-3", "4+")  # by the bits of a count
# Findings that are features. Not here: what tells a collector or a list (a reverse-path of another domain, fields that
# are missing, dates), what needs the network, a memory or the configuration.
OF_BODY = frozenset(
    """BODY_LINK_ONLY HTML_BASE64 HTML_FORM HTML_FRAME HTML_HIDDEN_TEXT HTML_IMAGE_ONLY HTML_ONLY HTML_SCRIPT
    SUBJECT_ALL_CAPS SUBJECT_EMPTY SUBJECT_FALSE_REPLY SUBJECT_MARKS SUBJECT_PICTURES TEXT_FANCY_LETTERS
    TEXT_INVISIBLE_IN_WORDS TEXT_MIXED_SCRIPT_WORDS URL_IP_HOST URL_MANY_LABELS URL_ODD_PORT URL_TEXT_MISMATCH
    URL_USERINFO""".split()
)
OF_RELATIONS = frozenset(
    """AUTHOR_NO_ADDRESS BOUNCE_UNLIKELY HELO_BARE_IP HELO_NO_DOMAIN MESSAGE_ID_INVALID MESSAGE_ID_NO_DOMAIN
    TO_IS_AUTHOR TO_UNDISCLOSED""".split()
)
_VOICES = 3
# Facts and findings that say the same, as either is told: the words must be true of both.
_TOLD_AS = {
    "finding:HTML_FORM": "tag:form",
    "finding:HTML_HIDDEN_TEXT": "hidden",
    "finding:SUBJECT_ALL_CAPS": "subject_capitals",
    "finding:TEXT_INVISIBLE_IN_WORDS": "invisible",
    "finding:TEXT_MIXED_SCRIPT_WORDS": "twins",
    "finding:URL_IP_HOST": "link_address",
    "tag:iframe": "finding:HTML_FRAME",
    "tag:script": "finding:HTML_SCRIPT",
}


def describe(key: str) -> tuple[str, str]:
    """Kind and value of the fact, as scan/wording.py knows them; the same of those that say the same."""
    voiceless = key.rstrip("~") if key.startswith("finding:") else key
    kind, _, detail = _TOLD_AS.get(voiceless, voiceless).partition(":")
    if kind == "finding":
        return detail.lower(), ""
    if kind in ("links", "length"):
        least, most = (1 << int(detail)) >> 1, (1 << int(detail)) - 1
        detail = f"{least}-{most}" if least < most else str(most)
    elif kind in ("exclamations", "dollars"):
        detail = _FEW[int(detail)]
    elif kind == "name_words" and int(detail) == _MANY_WORDS:
        detail = f"{detail}+"
    elif kind in ("link", "tld"):
        detail = to_u_label(detail)
    return kind, detail


def facts(mail: MailObject, text: Text, *, relations: bool = True) -> Iterator[str]:
    """Of body and subject; how the links stand to the author only with relations."""
    yield from _structure(mail)
    yield from _letters(mail, text)
    yield from _links(mail, relations=relations)


def _structure(mail: MailObject) -> Iterator[str]:
    for part in mail.message.parts[:_MAX_PARTS]:
        if part.text is not None and part.encoding in ENCODINGS:
            yield f"encoding:{part.encoding}"
        if part.html is not None:
            yield from _html(part.html)
        elif part.text is None and not part.content_type.startswith("multipart/"):
            yield f"part:{part.content_type[:60]}"
            extension = part.filename.rpartition(".")[2].lower()
            if 0 < len(extension) <= 8:
                yield f"extension:{extension}"


def _html(html: Html) -> Iterator[str]:
    for tag in _TAGS:
        if tag in html.tags:
            yield f"tag:{tag}"
    if len(html.hidden_text) > 100:
        yield "hidden"


def _letters(mail: MailObject, text: Text) -> Iterator[str]:
    message = mail.message
    yield f"length:{len(message.text).bit_length()}"
    for kind, sign in (("exclamations", "!"), ("dollars", "$")):
        yield f"{kind}:{min(message.text.count(sign, 0, MAX_CHARACTERS), 7).bit_length()}"
    if text.invisible:
        yield "invisible"
    if text.twins:
        yield "twins"
    if len(message.subject) > 8 and message.subject[:MAX_CHARACTERS].isupper():
        yield "subject_capitals"


def _links(mail: MailObject, *, relations: bool) -> Iterator[str]:
    links = mail.message.links[:_MAX_LINKS]
    yield f"links:{len(links).bit_length()}"
    author = {organisational_domain(box.domain) for box in mail.message.author if box.domain}
    domains = set()
    for host in {host_of(link.url): None for link in links}:
        if not host:
            continue
        domain = organisational_domain(host) or host
        domains.add(domain)
        yield f"link:{domain}"
        yield f"tld:{host.rpartition('.')[2]}"
        if host.replace(".", "").isdigit():
            yield "link_address"
    if relations and domains and author:
        yield "own_links" if domains & author else "foreign_links"


def findings(mail: MailObject, *, body: bool = True, relations: bool = True) -> Iterator[str]:
    """What the checks saw. Each is several features: a sign that a check was written for outweighs a word."""
    for finding in mail.findings:
        name = finding.name
        if (body and name in OF_BODY) or (relations and name in OF_RELATIONS):
            for voice in range(_VOICES):
                yield f"finding:{name}{'~' * voice}"


def relations(mail: MailObject) -> Iterator[str]:
    """How the identities agree, and what authentication said; absent is a value of its own, learned as neutral."""
    author = next((organisational_domain(box.domain) for box in mail.message.author if box.domain), "")
    words = len(mail.message.author[0].display_name.split()) if mail.message.author else 0
    yield f"name_words:{min(words, _MANY_WORDS)}"
    reply_to = next((organisational_domain(box.domain) for box in mail.message.reply_to if box.domain), "")
    if reply_to and author and reply_to != author:
        yield "reply_to_elsewhere"
    for result in mail.auth:
        if result.identity == "helo" and mail.envelope.reverse_path:
            continue  # no part of what the model has learned
        if result.method in ("spf", "dmarc") and result.result in ("pass", "fail", "softfail"):
            yield f"{result.method}:{result.result}"
