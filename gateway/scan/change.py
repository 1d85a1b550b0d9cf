"""Changes of a message that a person could imagine, and the message with one of them made.

A change takes away or puts right something that is there. It is made in the bytes as they came, in the envelope, or in
what the network had said; whoever judges the result judges what the change names and nothing else (tests hold it to
that, with real signatures and a DNS that answers otherwise).
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from email.utils import formatdate
from itertools import chain, islice
from typing import NamedTuple

from gateway.auth.organisation import organisational_domain
from gateway.mail import parse, rewrite
from gateway.mail.domain import to_u_label
from gateway.mail.edit import edit_header, format_field
from gateway.mail.link import host_of
from gateway.types import AuthResult, Contribution, Envelope, Finding, MailObject, Message, Part, Verdict

_MAX_LINKS, _MAX_PARTS, _MAX_PASSAGES = 8, 4, 8
_PASSAGES_LOOKED_AT = 1000
_SHORTEST_PASSAGE, _LONGEST_PASSAGE = 8, 4000  # letters
_LARGEST_SHARE = 0.6  # of all letters: without more than that it would be another message
_PLAIN_SUBJECT = "Message"

# How much another message it would be; of two that would have been enough, the smaller one is told
SIZES: Mapping[str, int] = {
    "dkim": 2,
    "spf": 3,
    "reply_to": 2,
    "link": 2,
    "hidden": 2,
    "attachment": 3,
    "author_name": 3,
    "iprev": 3,
    "unlisted": 3,
    "date": 3,
    "message_id": 3,
    "subject": 4,
    "passage": 5,
}


class Change(NamedTuple):
    """One change; scan/wording.py has the words for it."""

    kind: str  # of SIZES
    value: str  # the link's domain, the attachment's name, the passage ...; "" where the kind says it all


@dataclass(frozen=True, slots=True)
class Case:
    """What is judged: a message, and what the network had said about it."""

    envelope: Envelope
    content: bytes
    auth: tuple[AuthResult, ...]
    findings: tuple[Finding, ...]  # of checks that asked the network, or a memory

    def mail(self) -> MailObject:
        """Parsed."""
        return MailObject(self.envelope, parse(self.content), self.auth)


def possible(case: Case, verdict: Verdict) -> list[Change]:
    """What there is to change, the most telling of each kind first."""
    mail = case.mail()
    message = mail.message
    return [
        *_of_authentication(mail, case.findings),
        *(Change("reply_to", "") for _ in message.by_name.get("reply-to", ())[:1]),
        *(Change("link", domain) for domain in _link_domains(message)[:_MAX_LINKS]),
        *([Change("hidden", "")] if message.hidden_text.strip() else []),
        *(Change("attachment", _attachment(part)) for part in _attachments(message)[:_MAX_PARTS]),
        *(Change("author_name", one.display_name) for one in message.author[:1] if one.display_name and one.address),
        *_of_header(verdict),
        *([Change("subject", "")] if message.subject else []),
        *(Change("passage", text) for text in _telling_passages(message, verdict)),
    ]


def make(case: Case, change: Change) -> Case | None:
    """The case with this change made; None where it cannot be made, or changes nothing."""
    made = _MAKE[change.kind](case, change.value)
    return None if made is None or made == case else made


# --- what there is --------------------------------------------------------------------------------------------------


def _of_authentication(mail: MailObject, findings: Sequence[Finding]) -> Iterator[Change]:
    domain = _author_domain(mail.message)
    passed = {one.method for one in mail.auth if one.result == "pass" and (one.is_aligned or one.method != "dkim")}
    asked = {one.method for one in mail.auth}
    if domain and mail.auth and "dkim" not in passed:
        yield Change("dkim", domain)
    sender = next((one for one in mail.auth if one.method == "spf"), None)
    if sender is not None and sender.domain and sender.result != "pass":
        yield Change("spf", sender.domain)
    if "iprev" in asked - passed and mail.envelope.client.ip:
        yield Change("iprev", mail.envelope.client.ip)
    listed = _about_client(mail.envelope.client.ip)
    if any(listed(line) for one in findings for line in one.evidence):
        yield Change("unlisted", mail.envelope.client.ip)


def _of_header(verdict: Verdict) -> Iterator[Change]:
    against = [hit.name for hit in verdict.hits if hit.score > 0]
    if any(name.startswith("DATE_") for name in against):
        yield Change("date", "")
    if any(name.startswith("MESSAGE_ID_") for name in against):
        yield Change("message_id", "")


def _author_domain(message: Message) -> str:
    """Of a single author."""
    return message.author[0].domain if len(message.author) == 1 else ""


def _domain_of_link(url: str) -> str:
    host = host_of(url)
    return host if host.replace(".", "").isdigit() else to_u_label(organisational_domain(host))


def _link_domains(message: Message) -> list[str]:
    return [domain for domain in {_domain_of_link(link.url): None for link in message.links} if domain]


def _attachments(message: Message) -> list[Part]:
    return [
        part
        for part in message.parts
        if part.depth and part.raw and part.text is None and not part.content_type.startswith("multipart/")
    ]


def _attachment(part: Part) -> str:
    return part.filename or part.content_type


def _telling_passages(message: Message, verdict: Verdict) -> list[str]:
    """Those that the loudest words and the rules' evidence stand in."""
    prediction = verdict.prediction
    loud = [(one.value, one.weight) for one in (prediction.contributions if prediction else ()) if _is_word(one)]
    loud += [(line, hit.score) for hit in verdict.hits if hit.score > 0 for line in hit.evidence]
    weighed = [(rewrite.key(words), weight) for words, weight in loud if len(words) < 200]
    weighed = [(letters, weight) for letters, weight in weighed if len(letters) > 2 and weight > 0]
    whole = len(rewrite.key(message.text)) or 1
    found: dict[str, tuple[float, str]] = {}
    every = chain.from_iterable(rewrite.passages(part) for part in message.parts if part.text is not None)
    for passage in islice(every, _PASSAGES_LOOKED_AT):
        letters = rewrite.key(passage.text)
        if _SHORTEST_PASSAGE <= len(letters) < _LONGEST_PASSAGE and len(letters) <= _LARGEST_SHARE * whole:
            said = sum(weight for words, weight in weighed if words in letters)
            found.setdefault(letters, (said, passage.text))
    telling = sorted((one for one in found.values() if one[0] > 0), key=lambda one: (-one[0], len(one[1])))
    return [text for _, text in telling[:_MAX_PASSAGES]]


def _is_word(one: Contribution) -> bool:
    return one.kind == "words"


# --- making it ------------------------------------------------------------------------------------------------------


def _without_link(case: Case, domain: str) -> Case | None:
    message = parse(case.content)

    def is_gone(url: str) -> bool:
        return _domain_of_link(url) == domain

    content = rewrite.edit_texts(message, lambda part, text: rewrite.without_links(part, text, is_gone))
    if content is None or domain in _link_domains(parse(content)):
        return None
    hosts = {organisational_domain(host_of(link.url)) for link in message.links if is_gone(link.url)}
    left = _without_lines(
        case.findings,
        lambda line: any(f"link's domain {one} " in line or line.startswith(f"link to {one}, ") for one in hosts),
    )
    return replace(case, content=content, findings=left)


def _without_attachment(case: Case, name: str) -> Case | None:
    message = parse(case.content)
    path = next((part.path for part in _attachments(message) if _attachment(part) == name), "")
    content = rewrite.without_part(message, path) if path else None
    return None if content is None else replace(case, content=content)


def _without_hidden(case: Case, _: str) -> Case | None:
    message = parse(case.content)
    content = rewrite.edit_texts(message, rewrite.without_hidden)
    if content is None or len(parse(content).hidden_text) * 4 > len(message.hidden_text):
        return None
    return replace(case, content=content)


def _without_passage(case: Case, text: str) -> Case | None:
    letters = rewrite.key(text)

    def edit(part: Part, source: str) -> str:
        return rewrite.without_passages(part, source, lambda passage: rewrite.key(passage.text) == letters)

    content = rewrite.edit_texts(parse(case.content), edit)
    return None if content is None else replace(case, content=content)


def _without_reply_to(case: Case, _: str) -> Case:
    return _with_field(case, "reply-to", None)


def _plain_subject(case: Case, _: str) -> Case:
    return _with_field(case, "subject", _PLAIN_SUBJECT)


def _without_author_name(case: Case, _: str) -> Case:
    return _with_field(case, "from", parse(case.content).author[0].address)


def _with_date(case: Case, _: str) -> Case:
    return _with_field(case, "date", formatdate(case.envelope.received_at))


def _with_message_id(case: Case, _: str) -> Case:
    domain = _author_domain(parse(case.content)) or case.envelope.client.helo
    return _with_field(case, "message-id", f"<{case.envelope.queue_id}@{domain}>")


def _with_field(case: Case, name: str, value: str | None) -> Case:
    """One field of this name, or none."""
    made = [] if value is None else [format_field(name.title().replace("-Id", "-ID"), value)]
    return replace(case, content=edit_header(case.content, lambda other, _: other.lower() == name, made))


def _signed(case: Case, domain: str) -> Case:
    signature = AuthResult("dkim", "pass", domain, "selector", reason="signed", is_aligned=True)
    others = [one for one in case.auth if one.method != "dkim" or one.result == "pass"]
    return replace(case, auth=_authenticated((*others[:-1], signature, *others[-1:])))


def _permitted(case: Case, domain: str) -> Case:
    author = _author_domain(parse(case.content))
    main = next(one for one in case.auth if one.method == "spf")
    better = main._replace(result="pass", reason="permitted", is_aligned=domain == author)
    auth = tuple([better if one is main else one for one in case.auth])
    return replace(case, auth=_authenticated(auth) if better.is_aligned else auth)


def _authenticated(auth: Sequence[AuthResult]) -> tuple[AuthResult, ...]:
    """DMARC passes by one aligned pass, where the domain has a policy."""
    return tuple(
        [
            one._replace(result="pass", reason="aligned", override="") if one.method == "dmarc" and one.policy else one
            for one in auth
        ]
    )


def _named(case: Case, ip: str) -> Case:
    name = case.envelope.client.helo or ip
    auth = [one._replace(result="pass", domain=name) if one.method == "iprev" else one for one in case.auth]
    return replace(case, auth=tuple(auth))


def _unlisted(case: Case, ip: str) -> Case:
    return replace(case, findings=_without_lines(case.findings, _about_client(ip)))


def _about_client(ip: str) -> Callable[[str], bool]:
    return lambda line: f"client {ip} " in line or "client's network" in line


def _without_lines(findings: Sequence[Finding], is_gone: Callable[[str], bool]) -> tuple[Finding, ...]:
    """Findings that still have evidence, or never had."""
    left = [(one, tuple([line for line in one.evidence if not is_gone(line)])) for one in findings]
    return tuple([one._replace(evidence=lines) for one, lines in left if lines or not one.evidence])


_MAKE: Mapping[str, Callable[[Case, str], Case | None]] = {
    "dkim": _signed,
    "spf": _permitted,
    "iprev": _named,
    "unlisted": _unlisted,
    "reply_to": _without_reply_to,
    "link": _without_link,
    "hidden": _without_hidden,
    "attachment": _without_attachment,
    "author_name": _without_author_name,
    "date": _with_date,
    "message_id": _with_message_id,
    "subject": _plain_subject,
    "passage": _without_passage,
}
