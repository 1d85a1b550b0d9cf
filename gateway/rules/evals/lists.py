"""Allow and block lists, freemail providers, hosts of links.

Plugin::WLBLEval, ::WelcomeListSubject, ::FreeMail, ::VBounce.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from ipaddress import ip_address

from gateway.auth.organisation import organisational_domain
from gateway.mail.link import host_of
from gateway.rules.evals.facts import AddressPatterns, Facts, Relay, matches
from gateway.rules.setting import name_of_today, parse_network

Function = Callable[..., bool]
_MAX_LABELS = 10
_MAILBOX = re.compile(r"(?<![\w.+-])[\w.+-]{1,64}@(?:[a-z0-9-]{1,61}\.){1,4}[a-z]{2,20}\b", re.IGNORECASE | re.ASCII)
_URL = re.compile(r"https?://\S{0,500}", re.IGNORECASE)
_QUOTED = re.compile(  # <a@example.org>, and "a@example.org wrote:"
    r"<[^<>\s@]{1,64}@[^<>\s@]{1,255}>|[\w.+-]{1,64}@[\w.-]{1,255}\s{1,10}"
    r"(?!(?:fa(?:x|csi)|tel|phone|e?-?mail))[a-z]{2,11}:",
    re.IGNORECASE,
)
_ROLE = re.compile(
    r"(?:abuse|support|sales|info|helpdesk|contact|kontakt|(?:post|host|domain)master|undisclosed.*|bounced?-"
    r"|request-[a-f0-9]{16}|[^=]+=[^=]+=.+)@",
    re.IGNORECASE,
)
_BULK = re.compile(
    r"(?:^(?:post|host|domain)master|^double-bounce|^(?:sentto|owner|return|(?:gr)?bounced?)-.+"
    r"|-(?:request|bounces?|admin|owner)|\b(?:do[._t-]?)?no[._t-]?repl(?:y|ies)|[^=]+=.+)@",
    re.IGNORECASE,
)
_MAX_BODY_EMAILS, _MAX_BODY_FREEMAILS, _MOST_LOOKED_AT = 5, 3, 40
_RECEIVED = re.compile(r"^[> ]*Received:(.*(?:\n[> ]*[ \t].*){0,5})", re.IGNORECASE | re.MULTILINE)
_HOST = re.compile(r"\s\(?([\w-]+(?:\.[\w-]+)+)\)?(?=\s)", re.ASCII)
_MAX_TEXT = 1 << 18


# --- addresses ------------------------------------------------------------------------------------------------------


def _sender_in(name: str) -> Function:
    def check(facts: Facts) -> bool:
        patterns = facts.knowledge.addresses(name)
        return bool(patterns) and any(patterns.has(one) for one in facts.senders())

    check.__doc__ = f"A sender is on {name}."
    return check


def _recipient_in(name: str) -> Function:
    def check(facts: Facts) -> bool:
        patterns = facts.knowledge.addresses(name)
        return bool(patterns) and any(patterns.has(one) for one in facts.recipients())

    check.__doc__ = f"A recipient is on {name}."
    return check


def sender_in_named(facts: Facts, name: str) -> bool:
    """A sender is on the list of this name."""
    return _sender_in(name_of_today(name))(facts)


def recipient_in_named(facts: Facts, name: str) -> bool:
    """A recipient is."""
    return _recipient_in(name_of_today(name))(facts)


def reply_in_named(facts: Facts, name: str) -> bool:
    """A Reply-To address is."""
    patterns = facts.knowledge.addresses(name_of_today(name))
    return bool(patterns) and any(patterns.has(one) for one in facts.addresses("Reply-To")[:1])


def welcome(facts: Facts) -> bool:
    """welcomelist_from, or welcomelist_from_rcvd with the right relay."""
    return _sender_in("welcomelist_from")(facts) or _via(facts, "welcomelist_from_rcvd") > 0


def _via(facts: Facts, name: str) -> int:
    """1: a sender on the list came through its relay; -1: through another one; 0: none is on the list."""
    found = 0
    patterns = facts.knowledge.addresses(name)
    for sender in facts.senders() if patterns else ():
        conditions = patterns.conditions(sender)
        relays = _handing_over(facts)
        if any(_is_relay(relay, condition) for condition in conditions for relay in relays):
            return 1
        if conditions and relays and not facts.knowledge.addresses("welcomelist_allows_relays").has(sender):
            found = -1
    return found


def _handing_over(facts: Facts) -> list[Relay]:
    """The relay at our door, or the trusted ones when all are."""
    untrusted = facts.hops("Untrusted")
    return list(untrusted[:1]) or list(facts.hops("Trusted"))


def _is_relay(relay: Relay, condition: str) -> bool:
    if not condition.startswith("["):
        return relay.rdns == condition or relay.rdns.endswith(f".{condition}")
    try:
        network, _ = parse_network(condition)
        return ip_address(relay.ip) in network
    except ValueError:
        return False


def sender_is_relay(facts: Facts) -> bool:
    """The reverse-path's registered domain is that of the relay at our door."""
    sender = facts.mail.envelope.reverse_path.rpartition("@")[2].lower()
    names = [relay.rdns for relay in _handing_over(facts) if relay.rdns]
    return "." in sender and any(organisational_domain(name) == organisational_domain(sender) for name in names)


# --- subject, links, bounces ----------------------------------------------------------------------------------------


def _subject_in(name: str) -> Function:
    def check(facts: Facts) -> bool:
        entries = facts.knowledge.lists.words.get(name)
        if not entries:
            return False
        subject = facts.mail.message.subject
        patterns = facts.once(name, lambda _: AddressPatterns({f"*{one}*": () for one in entries}))
        return bool(subject) and patterns.has(subject)

    check.__doc__ = f"A text on {name} stands in the subject."
    return check


def _hosts_in(name: str) -> Function:
    def check(facts: Facts) -> bool:
        return link_in_named(facts, name)

    check.__doc__ = f"The host of a link is on the list {name}."
    return check


def link_in_named(facts: Facts, name: str) -> bool:
    """A link's host, or a domain above it, is on the list; the closest entry decides."""
    listed = facts.knowledge.lists.uri_hosts.get(name, {})
    return bool(listed) and any(_is_listed(host, listed) for host in facts.once("hosts", _hosts))


def _hosts(facts: Facts) -> list[str]:
    found = [host_of(uri.decode("utf-8", "replace")) for uri in facts.uris()]
    return list(dict.fromkeys(host for host in found if host))


def _is_listed(host: str, listed: Mapping[str, bool]) -> bool:
    if host.startswith("["):
        return listed.get(host.strip("[]"), False)
    labels = host.split(".")
    for index in range(max(0, len(labels) - _MAX_LABELS), len(labels)):
        verdict = listed.get(".".join(labels[index:]))
        if verdict is not None:
            return verdict
    return False


def has_bounce_relays(facts: Facts) -> bool:
    """welcomelist_bounce_relays names our own."""
    return bool(facts.knowledge.lists.words.get("welcomelist_bounce_relays"))


def bounced_through_us(facts: Facts) -> bool:
    """A Received field quoted in the body names one of our relays."""
    names = facts.knowledge.lists.words.get("welcomelist_bounce_relays", set())
    if not names:
        return False
    patterns = facts.once("bounce relays", lambda _: AddressPatterns(dict.fromkeys(names, ())))
    message = facts.mail.message
    body = message.raw[message.body_offset : message.body_offset + _MAX_TEXT].decode("latin-1")
    fields = [match[1] for match in _RECEIVED.finditer(body.replace("\r\n", "\n"))]
    return any(patterns.has(host) for one in fields for host in _HOST.findall(f" {one} "))


# --- freemail -------------------------------------------------------------------------------------------------------


def is_freemail(facts: Facts, address: str) -> bool:
    """The address is somebody's at a provider where anybody gets one."""
    address = address.lower()
    domain = address.rpartition("@")[2]
    if not domain or not facts.knowledge.is_freemail_domain(domain):
        return False
    exempt = facts.knowledge.lists.words.get("freemail_welcomelist", set())
    return address not in exempt and domain not in exempt and not _ROLE.match(address)


def _is_matched(address: str, pattern: str) -> bool:
    return not pattern or matches(pattern, address.lower())


def freemail_from(facts: Facts, pattern: str = "") -> bool:
    """A sender is a freemail address."""
    return any(is_freemail(facts, one) and _is_matched(one, pattern) for one in facts.senders())


def freemail_field(facts: Facts, name: str, pattern: str = "") -> bool:
    """An address in this field is."""
    name = name.partition(":")[0]
    found = [facts.mail.envelope.reverse_path] if name == "EnvelopeFrom" else facts.addresses(name)
    return any(is_freemail(facts, one) and _is_matched(one, pattern) for one in found)


def freemail_body(facts: Facts, pattern: str = "") -> bool:
    """An address in the text is."""
    return any(_is_matched(one, pattern) for one in facts.once("freemails", _freemails))


def freemail_reply(facts: Facts, what: str = "replyto") -> bool:
    """Answers would go to another freemail address than the author's, by Reply-To or by one in the text."""
    author = [box.address.lower() for box in facts.mail.message.author if box.address]
    reply = [one.lower() for one in facts.addresses("Reply-To")]
    is_author, is_reply = (any(is_freemail(facts, one) for one in some) for some in (author, reply))
    if not is_reply and (what == "replyto" or reply or not is_author):
        return False
    sender = facts.mail.envelope.reverse_path
    if facts.knowledge.settings.get("freemail_skip_bulk_envfrom", "1") != "0" and _BULK.search(sender):
        return False
    if is_author and is_reply and not set(author) & set(reply):
        return True
    answered = reply if is_reply else author
    return any(one not in answered for one in facts.once("freemails", _freemails))


def _freemails(facts: Facts) -> frozenset[str]:
    """Freemail addresses in the text; none when there are so many that it is a list of addresses."""
    links = facts.mail.message.links
    linked = [link.url[7:] for link in links if link.source == "anchor" and link.url[:7].lower() == "mailto:"]
    shown = b"".join(facts.paragraphs()).decode("utf-8", "replace")
    hidden = (url for url in linked[:_MOST_LOOKED_AT] if url not in shown)  # what is shown is judged as text
    found = [url.partition("?")[0] for url in hidden]
    for paragraph in shown.split("\n") if "@" in shown else ():
        if len(found) > _MOST_LOOKED_AT:
            break
        if "@" in paragraph:
            found += _MAILBOX.findall(_QUOTED.sub(" ", _URL.sub(" ", paragraph)))
    every = dict.fromkeys(one.lower() for one in found[:_MOST_LOOKED_AT])
    free = frozenset(one for one in every if is_freemail(facts, one))
    settings = facts.knowledge.settings
    most = float(settings.get("freemail_max_body_emails", _MAX_BODY_EMAILS))
    most_free = float(settings.get("freemail_max_body_freemails", _MAX_BODY_FREEMAILS))
    is_list = len(every) >= most or len(free) >= most_free
    return frozenset() if is_list and settings.get("freemail_skip_when_over_max", "1") != "0" else free


FUNCTIONS: Mapping[str, Function] = {
    "check_from_in_list": sender_in_named,
    "check_to_in_list": recipient_in_named,
    "check_replyto_in_list": reply_in_named,
    "check_from_in_welcomelist": welcome,
    "check_from_in_default_welcomelist": lambda facts: _via(facts, "def_welcomelist_from_rcvd") > 0,
    "check_forged_in_welcomelist": lambda facts: _via(facts, "welcomelist_from_rcvd") < 0 and not welcome(facts),
    "check_forged_in_default_welcomelist": lambda facts: (
        _via(facts, "def_welcomelist_from_rcvd") < 0 and not welcome(facts)
    ),
    "check_from_in_blocklist": _sender_in("blocklist_from"),
    "check_to_in_blocklist": _recipient_in("blocklist_to"),
    "check_to_in_welcomelist": _recipient_in("welcomelist_to"),
    "check_to_in_more_spam": _recipient_in("more_spam_to"),
    "check_to_in_all_spam": _recipient_in("all_spam_to"),
    "check_mailfrom_matches_rcvd": sender_is_relay,
    "check_subject_in_welcomelist": _subject_in("welcomelist_subject"),
    "check_subject_in_blocklist": _subject_in("blocklist_subject"),
    "check_uri_host_listed": link_in_named,
    "check_uri_host_in_blocklist": _hosts_in("BLOCK"),
    "check_uri_host_in_welcomelist": _hosts_in("WELCOME"),
    "have_any_bounce_relays": has_bounce_relays,
    "check_welcomelist_bounce_relays": bounced_through_us,
    "check_freemail_from": freemail_from,
    "check_freemail_header": freemail_field,
    "check_freemail_body": freemail_body,
    "check_freemail_replyto": freemail_reply,
}
