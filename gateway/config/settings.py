"""The configuration as frozen objects: what every option is called, its type, its default and its meaning.

The field descriptions are the reference (docs/configuration.md is generated from them). Unknown keys are refused in
load.py with the nearest known name.
"""

from __future__ import annotations

import ipaddress
import re
import socket
from typing import Annotated, Literal
from urllib.parse import urlsplit
from zoneinfo import ZoneInfo

from pydantic import AfterValidator, BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from gateway.types import Calendar, EventType, NextHopUrls, Role

ActionName = Literal["accept", "tag", "quarantine", "reject"]

_MAX_SOCKET_PATH = 100  # of the 107 bytes that Linux has for it; it is bound under a longer name first
_UNITS = {"": 1, "b": 1, "kib": 1 << 10, "mib": 1 << 20, "gib": 1 << 30, "kb": 1000, "mb": 10**6, "gb": 10**9}


def parse_size(value: object) -> object:
    """Bytes from 1048576, "50 MiB" or "10MB". Raises ValueError for anything else that is a string."""
    if not isinstance(value, str):
        return value
    match = re.fullmatch(r"\s*([0-9]+(?:\.[0-9]+)?)\s*([a-zA-Z]*)\s*", value)
    if match is None or match[2].lower() not in _UNITS:
        raise ValueError(f"{value!r} is not a size; write for example 50 MiB")
    return int(float(match[1]) * _UNITS[match[2].lower()])


def check_host_port(value: str) -> str:
    """Raises ValueError for what is not host:port."""
    host, _, port = value.rpartition(":")
    if not re.fullmatch(r"\[[0-9a-fA-F:.]+\]|[^:\s]+", host) or not port.isdecimal() or not 0 < int(port) < 65_536:
        raise ValueError(f"{value!r} is not host:port with a port from 1 to 65535; write for example 127.0.0.1:2525")
    return value


def check_endpoint(value: str) -> str:
    """Raises ValueError for what is neither empty, host:port, nor unix:/path."""
    if value.startswith("unix:"):
        path = value.removeprefix("unix:")
        if not path.startswith("/") or len(path.encode()) > _MAX_SOCKET_PATH:
            raise ValueError(f"{value!r} is not unix:/path; write an absolute path of {_MAX_SOCKET_PATH} bytes or less")
        return value
    return check_host_port(value) if value else value


def check_network(value: str) -> str:
    """Raises ValueError for what is no network."""
    try:
        return str(ipaddress.ip_network(value, strict=False))
    except ValueError:
        raise ValueError(f"{value!r} is not a network; write for example 192.0.2.0/24") from None


def check_address(value: str) -> str:
    """Raises ValueError for what is neither empty nor an address that can stand in any header field as it is."""
    if value and not re.fullmatch(r"[A-Za-z0-9!#$%&'*+/=?^_`{|}~.-]{1,64}@(?:[A-Za-z0-9-]+\.)+[A-Za-z0-9-]+", value):
        raise ValueError(f"{value!r} is not an address; write for example dmarc@example.org")
    return value


def check_relay(value: str) -> str:
    """Raises ValueError for what is neither empty nor smtp://host:port."""
    if value:
        scheme, _, rest = value.partition("://")
        if scheme != "smtp":
            raise ValueError(f"{value!r} is not smtp://host:port; write for example smtp://127.0.0.1:587")
        check_host_port(rest)
    return value


def check_next_hops(value: object) -> object:
    """One text or several; of several in a list a tuple. Raises ValueError for what is none, or of no known form."""
    urls = tuple(value) if isinstance(value, list | tuple) else (value,)
    each = [one.strip() for text in urls if isinstance(text, str) for one in text.split("|")]
    if not each or not all(map(_NEXT_HOP.fullmatch, each)) or not all(isinstance(one, str) for one in urls):
        raise ValueError(
            "write smtp://host:port, smtp+mx://domain, lmtp://host:port, lmtp+unix:/path or maildir:/path, or a list "
            "of them (docs/next-hops.md)"
        )
    if len(each) > 1 and any(one.startswith("maildir:") for one in each):
        raise ValueError("a maildir: has no others beside it; write it alone")
    return value if isinstance(value, str) else urls[0] if len(urls) == 1 else urls


def check_time(value: str) -> str:
    """Raises ValueError for what is no time of day."""
    if not re.fullmatch(r"([01][0-9]|2[0-3]):[0-5][0-9]", value):
        raise ValueError(f"{value!r} is not a time of day; write for example 08:00")
    return value


def check_time_zone(value: str) -> str:
    """Raises ValueError for what the system's table of time zones does not have."""
    try:
        ZoneInfo(value)
    except (KeyError, ValueError, OSError):
        raise ValueError(f"{value!r} is no time zone; write for example Asia/Tehran") from None
    return value


_NEXT_HOP = re.compile(r"(smtp://|smtp\+mx://|lmtp://|lmtp\+unix:/|maildir:).+")

Size = Annotated[int, BeforeValidator(parse_size), Field(gt=0)]
AnySize = Annotated[int, BeforeValidator(parse_size), Field(ge=0)]
HostPort = Annotated[str, AfterValidator(check_host_port)]
Network = Annotated[str, AfterValidator(check_network)]
NextHopSetting = Annotated[NextHopUrls, BeforeValidator(check_next_hops)]
OptionalHostPort = Annotated[str, AfterValidator(lambda value: check_host_port(value) if value else value)]
Endpoint = Annotated[str, AfterValidator(check_endpoint)]


class Section(BaseModel):
    """A table of the configuration file."""

    model_config = ConfigDict(frozen=True, extra="forbid")


class Smtp(Section):
    """[smtp]: the door."""

    listen: tuple[HostPort, ...] = Field(("127.0.0.1:2525",), description="Addresses to accept mail on.")
    max_message_size: Size = Field(50 << 20, description="Larger messages are refused at MAIL (RFC 1870) or DATA.")
    max_recipients: int = Field(
        100, ge=1, le=10_000, description="Recipients of one message; more are deferred with 452."
    )
    max_connections: int = Field(
        1000, ge=1, description="Connections of all listeners together; more are answered 421."
    )
    timeout_s: float = Field(
        300.0, gt=0, description="One command line, or silence within content, may take so long (RFC 5321 4.5.3.2.7)."
    )
    data_timeout_s: float = Field(600.0, gt=0, description="The whole content of a message may take so long.")
    min_data_rate: int = Field(
        500, ge=0, description="Octets a second; slower content may take timeout_s and no more. 0: not watched."
    )
    max_session_s: float = Field(
        3600.0, gt=0, description="A connection older than that is answered 421 at its next command."
    )
    max_errors: int = Field(20, ge=1, description="Commands of one connection that are refused; then 421.")
    max_idle_commands: int = Field(
        100, ge=1, description="Commands that bring no message on (NOOP, RSET, VRFY, EHLO ...) between two; then 421."
    )
    max_header_size: Size = Field(1 << 20, description="The header of a message; larger ones are refused.")
    max_header_fields: int = Field(1000, ge=10, le=10_000, description="Its fields; more are refused.")
    max_header_field_size: Size = Field(256 << 10, description="One of its fields; larger ones are refused.")
    bare_line_ends: Literal["normalise", "refuse"] = Field(
        "normalise", description="CR or LF alone in a message: made a line end, or the message is refused."
    )
    nul_bytes: Literal["remove", "refuse"] = Field(
        "remove", description="NUL in a message: taken out, or the message is refused."
    )
    too_early: Literal["refuse", "note"] = Field(
        "refuse",
        description="Clients that speak before the greeting, or do not wait where RFC 2920 says so (HELO, EHLO, DATA, "
        "in HELO sessions each command): 554 and closed, or a finding.",
    )
    chunking: bool = Field(True, description="Offer CHUNKING (BDAT, RFC 3030).")
    workers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="Listener processes; auto: one for every two cores, at least one."
    )
    memory: Literal["auto"] | Size = Field(
        "auto",
        description="What messages may take of it at all doors together; beyond, clients hear 421 or 452 (RFC 3463 "
        "X.3.1). auto: a quarter of the machine's, or of the container's.",
    )
    spool_above: Size = Field(
        256 << 10, description="A message larger than that is on disk while it comes in, and waits there for its turn."
    )
    spool: Size = Field(4 << 30, description="Disk that messages on their way in may take, at all doors together.")
    tls_certificate: str = Field(
        "", description="PEM file with the certificate chain; STARTTLS is offered when it is set."
    )
    tls_key: str = Field("", description="PEM file with the private key of tls_certificate.")
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Networks whose XCLIENT, XFORWARD and PROXY protocol are believed (docs/next-hops.md)."
    )
    proxy_protocol: bool = Field(
        False, description="Connections from trusted_proxies begin with a PROXY header; without one they are closed."
    )

    @model_validator(mode="after")
    def _has_proxies(self) -> Smtp:
        if self.proxy_protocol and not self.trusted_proxies:
            raise ValueError("proxy_protocol: nobody may send a PROXY header; name trusted_proxies")
        return self


class Route(Section):
    """[[domain.route]]: recipients of the domain whose mail goes elsewhere; the first that fits holds."""

    address: str = Field(
        min_length=1,
        description='A local part or an address; "*" stands for any characters: "sales-*". Case makes no difference.',
    )
    next_hop: NextHopSetting = Field(description="As the domain's.")


KeptName = Literal["spam", "phishing", "malware", "released", "rows"]
RefusalName = Literal["", "defer", "refuse"]


class Defence(Section):
    """[defence]: what one client may do to the door, counted by all listeners together (docs/smtp.md).

    Nothing of it is for [reputation] trusted_networks.
    """

    connections_per_client: int = Field(50, ge=0, description="Open ones of one address; more hear 421. 0: no limit.")
    connections_per_network: int = Field(200, ge=0, description="Open ones of a client network (/24, IPv6: /64).")
    connects_per_client: int = Field(120, ge=0, description="New ones of one address in a minute.")
    connects_per_network: int = Field(600, ge=0, description="New ones of a client network in a minute.")
    errors_per_network: int = Field(
        300, ge=0, description="Commands of a client network that are refused as wrong, in an hour; then 421."
    )
    max_refused_recipients: int = Field(
        10,
        ge=0,
        description="Recipients of one connection that are refused, where they outnumber the accepted ones; then 421. "
        "Half as many for its network with each time in the last hour.",
    )
    greeting_delay_s: float = Field(
        0.0, ge=0, le=60, description="Doubtful clients are greeted so late: those that speak before are too_early."
    )
    greeting_delay_for: Literal["doubtful", "all"] = Field(
        "doubtful",
        description="doubtful: without confirmed reverse DNS, or of a network that was stopped in the last hour.",
    )
    tarpit_s: float = Field(
        0.0, ge=0, le=60, description="A refusal for good (5xx) is said so late; for 100 connections at a time."
    )
    no_reverse_dns: RefusalName = Field(
        "", description="At RCPT, clients without a name in the DNS. DNS that fails never refuses anybody."
    )
    unconfirmed_reverse_dns: RefusalName = Field("", description="At RCPT, clients whose name does not lead back.")
    helo_no_domain: RefusalName = Field(
        "", description="At RCPT, clients whose HELO is no domain: one word, localhost, an address without brackets."
    )
    helo_ours: RefusalName = Field(
        "", description="At RCPT, clients whose HELO is our hostname or the recipient's domain."
    )


Weekday = Literal["monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"]


class DomainDigest(Section):
    """[[domain.digest]]: digests of the domain's mailboxes (docs/digests.md); the first that fits an address holds."""

    addresses: tuple[str, ...] = Field(
        ("*",), description='Whose: local parts or addresses, "*" stands for any characters.', min_length=1
    )
    at: tuple[Annotated[str, AfterValidator(check_time)], ...] = Field(
        ("08:00",), description="Times of day; none: these addresses get no digest."
    )
    days: tuple[Weekday, ...] = Field(
        ("monday", "tuesday", "wednesday", "thursday", "friday", "saturday", "sunday"),
        description="On these days.",
        min_length=1,
    )
    time_zone: Annotated[str, AfterValidator(check_time_zone)] = Field(
        "UTC", description="Of the times, and of the dates in the digest: Asia/Tehran."
    )
    language: Literal["en", "fa"] = Field("en", description="en or fa.")
    calendar: Calendar | Literal[""] = Field(
        "", description="gregorian or jalali; the language's own when empty: jalali for fa."
    )
    to: tuple[Annotated[str, AfterValidator(check_address)], ...] = Field(
        (), description="Who gets it instead of the mailbox, for shared ones; addresses of domains named here."
    )
    minimum: int = Field(1, ge=1, description="With fewer messages none is sent; they come in a later one.")


class Domain(Section):
    """[[domain]]: one recipient domain, where its mail goes and what its admin wants."""

    name: str = Field(description="The domain, in ASCII or Unicode.", min_length=1)
    next_hop: NextHopSetting = Field(
        description="smtp://host:port, smtp+mx://domain, lmtp://host:port, lmtp+unix:/path or maildir:/path; a list is "
        "tried in order, equal ones stand in one text with | between them. Options as in ?tls=verify: "
        "docs/next-hops.md.",
    )
    tag_at: float = Field(5.0, description="From this score on a message is delivered tagged.")
    quarantine_at: float = Field(8.0, description="From this score on a message is held.")
    reject_at: float = Field(15.0, description="From this score on a message is refused.")
    on_incomplete: ActionName = Field(
        "tag", description="The least that is done when a message could not be judged fully."
    )
    greylist: bool = Field(False, description="Defer doubtful first contacts once (docs/reputation.md).")
    greylist_at: float = Field(2.5, description="From this score on a first contact is doubtful.")
    route: tuple[Route, ...] = Field((), description="Recipients whose mail goes elsewhere.")
    digest: tuple[DomainDigest, ...] = Field((), description="Digests of what is held; none when empty.")
    keep_days: dict[KeptName, Annotated[float, Field(gt=0, le=36_500)]] = Field(
        {}, description="What differs from [retention], in days: { spam = 7, released = 3 }."
    )
    max_quarantine_size: AnySize = Field(
        0, description="The domain's contents in the quarantine at most, the oldest go first; 0: no limit of its own."
    )

    @model_validator(mode="after")
    def _ordered(self) -> Domain:
        if not self.tag_at <= self.quarantine_at <= self.reject_at:
            raise ValueError("tag_at <= quarantine_at <= reject_at must hold")
        if self.greylist and self.greylist_at >= self.quarantine_at:
            raise ValueError("greylist_at < quarantine_at must hold: what is held anyway is not deferred")
        return self


class Reputation(Section):
    """[reputation]: what is remembered of senders."""

    trusted_networks: tuple[Network, ...] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="Clients that carry others' mail (a backup MX): no rates, greylisting or memory of the network.",
    )
    greylist_wait_s: float = Field(300.0, gt=0, description="What comes again sooner is deferred again.")
    greylist_window_s: float = Field(86_400.0, gt=0, description="What comes again later is a first contact again.")
    domains_quiet_s: float = Field(
        7 * 86_400.0,
        gt=0,
        le=90 * 86_400.0,
        description="So long a new installation learns the domains of links before it says which are new.",
    )

    @model_validator(mode="after")
    def _ordered(self) -> Reputation:
        if self.greylist_wait_s >= self.greylist_window_s:
            raise ValueError("greylist_wait_s < greylist_window_s must hold")
        return self


class Rates(Section):
    """[rates]: what one sender may send in an hour before it is deferred; 0 is no limit."""

    messages: int = Field(6000, ge=0, description="Messages of a client network (/24, IPv6: /64).")
    recipients: int = Field(20_000, ge=0, description="Recipients of a client network.")
    unknown_recipients: int = Field(
        200,
        ge=0,
        description="Recipients the next hop does not know, of a client network, where they are the most.",
    )
    domain_messages: int = Field(
        20_000, ge=0, description="Messages of a reverse-path's domain; those for which SPF passed are counted."
    )


class Dns(Section):
    """[dns]: whom to ask."""

    nameservers: tuple[str, ...] = Field((), description="host:port of the resolvers; the system's when empty.")
    timeout_s: float = Field(2.0, gt=0, le=30, description="One query may take so long.")
    cache: bool = Field(True, description="Keep answers for their TTL.")
    unlisted: tuple[str, ...] = Field(
        (),
        description="Domains no DNS list is asked about, and never new; besides ours, partners', very common ones.",
    )
    max_queries: int = Field(
        400, ge=100, le=10_000, description="Look-ups for one message; more are left out, and named in the verdict."
    )


class Dmarc(Section):
    """[dmarc]: whose policy applies, and the reports that domains ask for (docs/dmarc-reports.md)."""

    organisational_domain: Literal["tree_walk", "public_suffix_list"] = Field(
        "tree_walk",
        description="What says which domains belong together: DMARC records up the tree (RFC 9989), or the public "
        "suffix list (RFC 7489).",
    )
    reports: bool = Field(False, description="Count what `darban dmarc report` tells the domains that ask for it.")
    keep_days: int = Field(30, ge=2, le=400, description="Days for which counts and the list of sent reports are kept.")
    report_from: Annotated[str, AfterValidator(check_address)] = Field(
        "",
        description="Address reports come from; its domain is the receiver they name. Needed to write or send any.",
    )
    report_organisation: str = Field(
        "", description="Name of the reporting organisation; report_from's domain if empty."
    )
    report_contact: str = Field("", description="How to reach you about reports, besides report_from: a page, a phone.")
    report_relay: Annotated[str, AfterValidator(check_relay)] = Field(
        "",
        description="smtp://host:port of the server that signs reports and carries them out; needed to send any.",
    )


class Arc(Section):
    """[arc]: forwarded mail (RFC 8617): whom to believe about it, and a seal of ours on what is relayed."""

    trusted_sealers: tuple[str, ...] = Field(
        (),
        description="Domains (d= of their ARC seals) that are believed when they found a forwarded message's author "
        "proven; its DMARC failure then does not count.",
    )
    seal: bool = Field(False, description="Put an ARC set on what is relayed; needs domain, selector and key.")
    domain: str = Field("", description="The domain that seals.")
    selector: str = Field("", description="The key is published at SELECTOR._domainkey.DOMAIN.")
    key: str = Field("", description="PEM file with the private key, RSA (2048 bits) or Ed25519.")


class DnsList(Section):
    """[[dns_list]]: a DNS list (RFC 5782) that is asked about each message. None is asked that does not stand here."""

    preset: str = Field("", description="A list that docs/dns.md names; what stands beside it overrides it.")
    name: str = Field("", description="Names the findings: DNSBL_NAME or DNSBL_NAME_LABEL; the preset's when empty.")
    zone: str = Field("", description="The list's domain, with your key where it wants one.")
    kind: Literal["ip", "domain", "url", "allow"] = Field(
        "ip", description="What it lists: addresses, senders' domains, domains of links; allow: addresses to trust."
    )
    asked: tuple[Literal["client", "received", "helo", "reverse_path", "author", "link"], ...] = Field(
        (),
        description="What it is asked about: client or received (addresses of the hops before) of ip and allow lists, "
        "helo, reverse_path, author or link of the others. Empty: client; author, reverse_path, helo; link for url.",
    )
    returns: dict[str, str] = Field(
        {},
        description='Answer = label of the finding: "127.0.0.2" = "SPAM", also 127.0.0.4-7, 127.0.*.3, 127.0.0.&8 (a '
        "bit). Other answers are no listing. Empty: every answer is one, without a label.",
    )
    refusals: tuple[str, ...] = Field(
        (), description="Answers that are an error besides 127.255.255.0/24, 127.0.0.1 and all outside 127.0.0.0/8."
    )
    has_ipv6: bool = Field(False, description="It lists IPv6 addresses too.")
    test_listed: str = Field("", description="A test entry that is listed; RFC 5782's when empty.")
    test_unlisted: str = Field("", description="A test entry that is not listed; RFC 5782's when empty.")
    timeout_s: float = Field(1.5, gt=0, le=10, description="Its answers to one message may take so long.")
    at_rcpt: RefusalName = Field(
        "",
        description="What a listed client hears at RCPT: defer (450) or refuse (554). For lists of kind ip. Clients on "
        "a list of kind allow are let in.",
    )


def _is_loopback(host: str) -> bool:
    return host == "localhost" or host.startswith(("127.", "[::1]", "::1"))


class Person(Section):
    """[[identity.person]]: somebody an impostor would play."""

    name: str = Field(
        description="The full name in Persian or Latin letters; the other, titles and other spellings are found too.",
        min_length=1,
    )
    address: str = Field(description="The address he or she writes from.", pattern=r"^[^@\s]+@[^@\s]+$")
    also: tuple[str, ...] = Field((), description='Further addresses, as a private one; "@domain" for all of a domain.')
    role: str = Field("", description="The office, told with the evidence.")


class Identity(Section):
    """[identity]: our own people, partners, and the kinds of domains that matter for imposture."""

    partners: tuple[str, ...] = Field(
        (), description="Domains of partners: watched for look-alikes, and never taken for look-alikes of ours."
    )
    freemail: tuple[str, ...] = Field((), description="Free-mail domains besides the list that ships.")
    shorteners: tuple[str, ...] = Field((), description="Link-shortener domains besides the list that ships.")
    person: tuple[Person, ...] = Field((), description="People and role accounts an impostor would play.")


class Rules(Section):
    """[rules]"""

    paths: tuple[str, ...] = Field(
        (), description="Rule folders or files, later ones override; the shipped rules when empty."
    )


class ClassifierSettings(Section):
    """[classifier]"""

    model: str = Field("", description="Model folder; the shipped default model when empty.")


class LearningImap(Section):
    """[[learning.imap]]: mailboxes in which moving a message into or out of Junk teaches."""

    server: HostPort = Field(description="host:port of the IMAP server.")
    tls: Literal["tls", "starttls", "none"] = Field(
        "tls", description="tls from the beginning, starttls, or none (only on this machine)."
    )
    ca: str = Field("", description="PEM file of the authority behind the server's certificate; the system's if empty.")
    users: tuple[str, ...] = Field(description="Mailboxes, by the name that signs in.", min_length=1)
    master: str = Field("", description="A user who may open them all (SASL PLAIN); else each has the same password.")
    password_file: str = Field(description="File with the password, which others must not read.", min_length=1)
    junk: str = Field("", description="The Junk folder; the one the server marks so (RFC 6154) when empty.")
    folders: tuple[str, ...] = Field(("INBOX",), description="Where what is moved out of Junk is looked for.")
    trainer: str = Field("", description="In whose name is taught, for the caps; each user's own name when empty.")
    every_s: float = Field(60.0, ge=1, description="Time between two looks.")

    @model_validator(mode="after")
    def _private(self) -> LearningImap:
        if self.tls == "none" and not _is_loopback(self.server.rpartition(":")[0]):
            raise ValueError('tls = "none" shows the password to the network; write "tls" or "starttls"')
        if self.junk in self.folders:
            raise ValueError("junk is one of the folders; what lies there cannot have been moved out of it")
        return self


class Learning(Section):
    """[learning]: what people teach the classifier (docs/learning.md). Caps are in log-odds: 0.7 doubles the odds."""

    enabled: bool = Field(
        True, description="Judge by what people taught; when false it is kept, and the shipped model judges alone."
    )
    lesson_cap: float = Field(1.0, gt=0, description="The most by which one lesson moves any message.")
    trainer_day_cap: float = Field(2.0, gt=0, description="The most by which one person's lessons of a day do.")
    trainer_cap: float = Field(100.0, gt=0, description="The most by which one person's lessons do in all.")
    day_cap: float = Field(4.0, gt=0, description="The most by which all lessons of a day do, whoever taught them.")
    daily_lessons: int = Field(500, ge=1, description="Lessons of one person and day; more are not taken.")
    imap: tuple[LearningImap, ...] = Field((), description="Mailboxes that are watched.")


class Senders(Section):
    """[senders]: those whom people allow and block (docs/senders.md)."""

    blocked: Literal["quarantine", "reject"] = Field(
        "quarantine", description="What becomes of a blocked sender's mail: it is held, or refused."
    )
    allow_below: float = Field(
        25.0,
        gt=0,
        description="An allowed sender's message with this score or more is judged as if it were not allowed.",
    )
    allow_days: int = Field(
        30, ge=1, le=366, description="Days for which a sender is allowed, if nobody says otherwise."
    )


class Storage(Section):
    """[storage]: where state is kept."""

    database: str = Field("sqlite:///var/darban.db", description="sqlite:///PATH or postgresql://...")
    blobs: str = Field(
        "file:///var/blobs",
        description='Contents of held messages: file:///PATH, relative to the configuration\'s folder; or "database", '
        "for several gateways with one PostgreSQL.",
    )
    state: str = Field(
        "",
        description="Folder of what is this gateway's own: sockets, spool, compiled rules, secret, model. That of the "
        "SQLite file, else of the blobs, when it is empty.",
    )
    redis: str = Field(
        "",
        description="redis://[USER@]HOST[:PORT][/DATABASE], rediss:// for TLS, or unix:///PATH: what is remembered of "
        "senders lies there, for several gateways together (docs/reputation.md). Empty: in the database.",
    )
    redis_password_file: str = Field("", description="File with its password, which others must not read.")
    encryption_key: str = Field(
        "",
        description="File with the master key, 64 hexadecimal digits, that others must not read: contents of held "
        "messages are encrypted when it is set (docs/privacy.md). Lose it, and they are lost.",
    )


_Days = Annotated[float, Field(gt=0, le=36_500)]


class Retention(Section):
    """[retention]: how long held messages are kept (docs/privacy.md). [[domain]] keep_days overrides it."""

    spam_days: _Days = Field(30.0, description="Held spam.")
    phishing_days: _Days = Field(30.0, description="Held messages with a sign of phishing.")
    malware_days: _Days = Field(14.0, description="Held messages with a sign of malware.")
    released_days: _Days = Field(14.0, description="Contents of released messages, from the release on.")
    rows_days: _Days = Field(90.0, description="What is known of a message after its content was deleted.")
    max_quarantine_size: AnySize = Field(
        0, description="All contents in the quarantine at most; released ones go first, then the oldest. 0: no limit."
    )
    every_s: float = Field(600.0, ge=1, description="Time between two looks.")


class MessageLog(Section):
    """[message_log]: one row for each message and recipient that ever reached us (docs/message-log.md)."""

    keep_days: float = Field(90.0, ge=0, description="So long a row is kept; 0: for ever.")
    subjects: Literal["keep", "hash", "drop"] = Field(
        "keep",
        description="What is kept of a subject; hash: a keyed hash, found by the whole subject alone. Rows that are "
        "there stay as they are.",
    )


class Web(Section):
    """[web]"""

    listen: HostPort = Field("127.0.0.1:8025", description="Review pages and API.")
    url: str = Field(
        "",
        description='Where people reach the pages, as "https://darban.example.ir"; http://listen when empty.',
        pattern=r"^(https?://[^/\s]+)?$",
    )
    trusted_proxies: tuple[Network, ...] = Field(
        (), description="Web servers in front whose X-Forwarded-For names the client."
    )
    secure_cookies: bool = Field(False, description="Mark cookies Secure; switch on when the page is served over TLS.")


def check_webhook_url(value: str) -> str:
    """Raises ValueError for what is neither https://host[:port]/path nor the same by http."""
    found = urlsplit(value)
    try:
        is_known = found.scheme in ("https", "http") and bool(found.hostname) and found.port != 0
    except ValueError:
        is_known = False
    if not is_known or found.username is not None or not value.isascii() or not value.isprintable() or " " in value:
        raise ValueError(f"{value!r} is not a URL; write for example https://siem.example.org/darban")
    return value


class Webhook(Section):
    """[[webhook]]: who is told what happens, each time (docs/webhooks.md)."""

    name: str = Field(description="What it is called in commands, metrics and logs.", pattern="^[a-z0-9_-]{1,64}$")
    url: Annotated[str, AfterValidator(check_webhook_url)] = Field(description="Where events are posted to.")
    secret_file: str = Field(
        description="File with the secret that signs, as whsec_ and base64; a second line signs too, while it changes."
    )
    events: tuple[EventType, ...] = Field((), description="Which events; all when left out.")
    domains: tuple[str, ...] = Field((), description="Only what is about mail of these domains; all when left out.")
    allow_private: bool = Field(
        False, description="The URL may be http: and its host may have an address of a private network or of this host."
    )
    timeout_s: float = Field(10.0, gt=0, le=60, description="Time for one try, the name's look-up included.")
    max_waiting: int = Field(10_000, ge=1, description="Events that wait at most; what comes then is lost, and told.")

    @model_validator(mode="after")
    def _is_secure(self) -> Webhook:
        if self.url.startswith("http:") and not self.allow_private:
            raise ValueError(f"[[webhook]] {self.name}: url: is not https; write https, or allow_private = true")
        return self


class RoleGroup(Section):
    """[[sign_in.oidc.group]] and [[sign_in.ldap.group]]: what the members of a group are here."""

    name: str = Field(description="The group, as the issuer or the directory names it.", min_length=1)
    role: Role = Field(description="What its members are.")
    domains: tuple[str, ...] = Field((), description="Whose mail it is about; all domains when empty, but for admins.")

    @model_validator(mode="after")
    def _scoped(self) -> RoleGroup:
        if self.role == "domain_admin" and not self.domains:
            raise ValueError(f"the group {self.name} makes domain admins of no domain; write domains = [...]")
        if self.role == "recipient":
            raise ValueError("recipients need no group: whoever is in none of them is one")
        return self


class Oidc(Section):
    """[sign_in.oidc]: sign-in at an OpenID Connect issuer (docs/people.md)."""

    issuer: str = Field("", description="The issuer's URL; off when empty.", pattern=r"^(https?://\S+)?$")
    client_id: str = Field("", description="What the issuer knows us by.")
    client_secret_file: str = Field("", description="File with the client's secret, which others must not read.")
    label: str = Field("", description="The name on the sign-in button; the issuer's host when empty.")
    scopes: tuple[str, ...] = Field(("openid", "email", "profile"), description="What is asked for.")
    ca: str = Field("", description="PEM file of the authority behind the issuer's certificate; the system's if empty.")
    email_claim: str = Field("email", description="The claim with the address, whose mail a recipient sees.")
    trust_email: bool = Field(
        False, description="Believe addresses without email_verified; only where users cannot write them themselves."
    )
    groups_claim: str = Field("groups", description="The claim with the groups.")
    group: tuple[RoleGroup, ...] = Field((), description="Groups with a role; the first that fits is taken.")

    @model_validator(mode="after")
    def _whole(self) -> Oidc:
        if self.issuer and not (self.client_id and self.client_secret_file):
            raise ValueError("issuer, client_id and client_secret_file go together")
        if self.issuer.startswith("http:") and not _is_loopback(urlsplit(self.issuer).hostname or ""):
            raise ValueError("the issuer must be https")
        return self


class Ldap(Section):
    """[sign_in.ldap]: sign-in with the password of an LDAP directory or Active Directory (docs/people.md)."""

    server: OptionalHostPort = Field("", description="host:port of the directory; off when empty.")
    tls: Literal["tls", "starttls", "none"] = Field(
        "tls", description="tls from the beginning, starttls, or none (only on this machine)."
    )
    ca: str = Field(
        "", description="PEM file of the authority behind the directory's certificate; the system's if empty."
    )
    bind_dn: str = Field(
        "", description='The entry of who signs in, as "uid={name},ou=people,dc=example"; searched for when empty.'
    )
    search_dn: str = Field("", description="Who searches; anonymous when empty.")
    search_password_file: str = Field("", description="File with its password, which others must not read.")
    search_base: str = Field("", description="Where is searched.")
    search_filter: str = Field("(uid={name})", description="The filter that finds one entry.")
    name_attribute: str = Field("uid", description="The attribute with the name; sAMAccountName in Active Directory.")
    mail_attribute: str = Field("mail", description="The attribute with the addresses, whose mail a recipient sees.")
    groups_attribute: str = Field("memberOf", description="The entry's attribute that names its groups.")
    groups_base: str = Field("", description="Where groups are searched that name their members; not when empty.")
    groups_filter: str = Field("(member={dn})", description="The filter that finds them.")
    group: tuple[RoleGroup, ...] = Field(
        (), description="Groups with a role, by DN or common name; the first that fits is taken."
    )

    @model_validator(mode="after")
    def _whole(self) -> Ldap:
        if self.server and not (self.bind_dn or self.search_base):
            raise ValueError("write bind_dn, or search_base to search below")
        if self.bind_dn and "{name}" not in self.bind_dn:
            raise ValueError("bind_dn must have {name} in it")
        if bool(self.search_dn) != bool(self.search_password_file):
            raise ValueError("search_dn and search_password_file go together")
        if self.server and self.tls == "none" and not _is_loopback(self.server.rpartition(":")[0]):
            raise ValueError('tls = "none" shows passwords to the network; write "tls" or "starttls"')
        return self


class SignIn(Section):
    """[sign_in]: how people come to the pages (docs/people.md)."""

    session_idle_s: float = Field(12 * 3600.0, ge=60, description="A session ends so long after it was used last.")
    session_max_s: float = Field(7 * 86_400.0, ge=60, description="A session ends so long after it began, used or not.")
    mail_links: bool = Field(
        False,
        description="Who asks at the door is mailed a link that signs him in as his address's recipient; "
        "needs [digest] address.",
    )
    oidc: Oidc = Oidc()
    ldap: Ldap = Ldap()


class Api(Section):
    """[api]: the REST API beside the review pages (docs/api.md)."""

    requests_per_minute: int = Field(600, ge=1, description="Of one token or session; more are answered 429.")
    token_max_days: int = Field(365, ge=1, description="A token lasts so long at most.")


class DigestSettings(Section):
    """[digest]: how digests are sent; who gets them says [[domain.digest]] (docs/digests.md)."""

    address: Annotated[str, AfterValidator(check_address)] = Field(
        "", description="Address they come from; needed to send any. Replies go there."
    )
    name: str = Field("", description="Name they come from; the product's in the digest's language when empty.")
    link_days: int = Field(7, ge=1, le=60, description="Their links work so long.")


class Metrics(Section):
    """[metrics]"""

    listen: HostPort = Field("127.0.0.1:9125", description="/metrics, /healthz and /readyz.")


class Spamd(Section):
    """[spamd]: the door for spamc, Exim and whatever else speaks to SpamAssassin's daemon (docs/doors.md)."""

    listen: Endpoint = Field("", description="host:port or unix:/path, or empty for off; others must not reach it.")
    max_connections: int = Field(200, ge=1, description="Connections of all listeners together; more are turned away.")
    timeout_s: float = Field(60.0, gt=0, description="A request may take so long to come in.")
    learn: bool = Field(False, description="TELL teaches: whoever reaches this door may.")
    trainer: str = Field(
        "spamd", description="In whose name TELL teaches, for the caps; the User of each request when empty."
    )


class Http(Section):
    """[http]: the door for POST /scan and Rspamd's clients (docs/doors.md)."""

    listen: OptionalHostPort = Field("", description="host:port, or empty for off.")
    max_connections: int = Field(200, ge=1, description="Connections; more are answered 503.")
    timeout_s: float = Field(60.0, gt=0, description="A request may take so long to come in.")
    token_file: str = Field(
        "", description="File with the token that every request but /ping must bring; nobody needs one when empty."
    )
    learn_token_file: str = Field(
        "", description="File with the token for /learnspam and /learnham, which are off when empty."
    )
    trainer: str = Field(
        "http", description="In whose name is taught, for the caps; the User of each request when empty."
    )


class Listener(Section):
    """What listens, off when empty."""

    listen: Endpoint = Field("", description="host:port or unix:/path, or empty for off.")


class Milter(Listener):
    """[milter]: the door for an MTA that keeps the message and does what it is told (docs/milter.md)."""

    quarantine: Literal["darban", "mta"] = Field(
        "darban",
        description="Who holds what is to be held: darban, or the MTA, the whole message (Postfix: hold queue).",
    )
    own_networks: tuple[Network, ...] = Field(
        ("127.0.0.0/8", "::1/128"),
        description="The MTA's own clients (its mynetworks): what they send to domains not named here is not judged.",
    )
    max_connections: int = Field(1000, ge=1, description="Connections of all listeners together; more are closed.")
    timeout_s: float = Field(
        3600.0, gt=0, description="An MTA silent for so long is disconnected; longer than its clients may be silent."
    )


class Clamav(Section):
    """[clamav]: ClamAV's daemon, which looks into every message (docs/clamav.md)."""

    socket: Endpoint = Field("", description="clamd's unix:/path or host:port; not asked when empty.")
    timeout_s: float = Field(8.0, gt=0, le=60, description="Its answer to one message may take so long.")


class Limits(Section):
    """[limits]: what one message may cost."""

    scan_s: float = Field(30.0, gt=0, description="Wall time for one verdict, DNS included.")
    stage_cpu_s: float = Field(
        5.0, gt=0, description="CPU time of one stage; a scorer over it is killed and the stage left out."
    )
    scorer_memory: Size = Field(1 << 30, description="Address space a scorer may add for its work.")
    scorers: Literal["auto"] | Annotated[int, Field(ge=1, le=256)] = Field(
        "auto", description="Scorer processes; auto: one a core."
    )


class Process(Section):
    """[process]: whom the processes run as, and how they leave."""

    user: str = Field(
        "", description="The user to become when started as root, once the ports are bound; empty: stay who we are."
    )
    group: str = Field("", description="Its group; the user's own when empty. Supplementary groups are the user's.")
    umask: str = Field(
        "027", pattern="^0?[0-7]{3}$", description="Rights that new files do not give, in octal: others read no mail."
    )
    drain_s: float = Field(
        300.0, ge=0, le=86_400, description="After a reload, sessions of the old configuration may last so long."
    )


class Settings(Section):
    """The whole file."""

    hostname: str = Field(
        default_factory=socket.getfqdn, description="Our name in greetings and headers; also the authserv-id."
    )
    smtp: Smtp = Smtp()
    defence: Defence = Defence()
    domain: tuple[Domain, ...] = Field((Domain(name="darban.test", next_hop="maildir:var/maildir"),), min_length=1)
    dns: Dns = Dns()
    dmarc: Dmarc = Dmarc()
    arc: Arc = Arc()
    dns_list: tuple[DnsList, ...] = Field((), description="DNS lists that are asked.")
    identity: Identity = Identity()
    rules: Rules = Rules()
    classifier: ClassifierSettings = ClassifierSettings()
    learning: Learning = Learning()
    senders: Senders = Senders()
    storage: Storage = Storage()
    retention: Retention = Retention()
    message_log: MessageLog = MessageLog()
    web: Web = Web()
    digest: DigestSettings = DigestSettings()
    sign_in: SignIn = SignIn()
    metrics: Metrics = Metrics()
    milter: Milter = Milter()
    http: Http = Http()
    spamd: Spamd = Spamd()
    api: Api = Api()
    webhook: tuple[Webhook, ...] = Field((), description="Who is told what happens.")
    clamav: Clamav = Clamav()
    limits: Limits = Limits()
    process: Process = Process()
    reputation: Reputation = Reputation()
    rates: Rates = Rates()
    log: Literal["info", "debug", "warning"] = Field("info", description="Least severe line that is written.")
