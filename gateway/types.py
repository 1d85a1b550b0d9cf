"""The values that travel through the gateway: frozen, slotted, without behaviour. Those a message has many of are
named tuples, which cost a quarter of a frozen dataclass to make.

Every hop of a message (docs/flow.md) takes some of these and returns others; nothing here is ever changed
after it was made. Standard library only. Domains are lower-case A-labels; times are seconds since the epoch (UTC);
sizes are bytes; durations are seconds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal, NamedTuple

ActionName = Literal["accept", "tag", "quarantine", "reject"]
AuthMethod = Literal["iprev", "spf", "dkim", "arc", "dmarc"]
DnsStatus = Literal["noerror", "nodata", "nxdomain", "servfail", "timeout", "refused", "invalid", "limit"]
DmarcSending = Literal["sent", "refused", "failed"]
QuarantineState = Literal["held", "releasing", "released", "deleted"]
DigestSending = Literal["sent", "refused", "failed", "unknown"]  # unknown: who sent it died before it was noted
DigestAct = Literal["release", "spam", "look", "stop"]
Calendar = Literal["gregorian", "jalali"]
HeldKind = Literal["spam", "phishing", "malware"]
# scanned: judged for another server, which acts
LogAction = Literal["accept", "tag", "quarantine", "reject", "tempfail", "scanned"]
HeldOrder = Literal["newest", "oldest", "highest", "lowest"]
BulkAct = Literal["release", "spam", "delete"]
BulkState = Literal["running", "stopped", "done"]
ItemState = Literal["waiting", "doing", "done", "refused", "gone", "unknown"]
Role = Literal["owner", "domain_admin", "reviewer", "auditor", "recipient"]
SenderAct = Literal["allow", "block"]
Origin = Literal["local", "oidc", "ldap", "link"]  # who says what an account is: we, an issuer, a directory, the mail
# setup: makes the first account · reset: sets a password · link: signs a recipient in (subject: the address)
# code: the password was right, a one-time code is due
TokenKind = Literal["setup", "reset", "link", "code"]
Via = Literal["release", "review", "digest", "imap", "command", "spamd", "http"]
EventType = Literal[
    "message.delivered",
    "message.tagged",
    "message.held",
    "message.refused",
    "message.released",
    "message.release_failed",
    "message.spam",  # deleted, and taught that such mail is
    "message.deleted",
    "sender.changed",  # somebody allowed or blocked a sender, or took that back
    "account.changed",
    "webhook.test",
]
TaughtHow = Literal["learned", "relearned", "known", "limited"]
# docs/next-hops.md: one URL, or several in the order they are tried in, equal ones in one text with "|" between them
NextHopUrls = str | tuple[str, ...]


# --- the envelope -------------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Client:
    """The SMTP client at the other end of the connection (RFC 5321 §2.3.4)."""

    ip: str  # address literal without brackets, "192.0.2.1" or "2001:db8::1"
    port: int = 0
    helo: str = ""  # the argument of HELO/EHLO, as said
    protocol: str = "ESMTP"  # the "with" word of Received: SMTP, ESMTP, ESMTPS, UTF8SMTP ... (RFC 3848, 6531)
    tls: str = ""  # "TLSv1.3 TLS_AES_256_GCM_SHA384", or "" for a plain connection
    name: str = ""  # by reverse DNS and back (iprev); "" when that is not known


@dataclass(frozen=True, slots=True)
class Recipient:
    """One accepted RCPT TO."""

    address: str  # forward-path without brackets; domain lower-case A-label, local part as said
    domain: str  # lower-case A-label
    parameters: tuple[str, ...] = ()  # ESMTP parameters as said, e.g. ("NOTIFY=NEVER",)


class Past(NamedTuple):
    """What is remembered of one sender: counts of messages, halved with every month that passes."""

    good: float = 0.0  # clean and delivered
    bad: float = 0.0  # held or refused
    today: float = 0.0  # of any kind since midnight (UTC), not decayed
    recipients: float = 0.0  # different ones that took clean mail (domains only)
    passes: float = 0.0  # times it came back after it was greylisted (client networks only)


NO_PAST = Past()


@dataclass(frozen=True, slots=True)
class History:
    """What is remembered of a message's senders, looked up before it is judged.

    Only `network` says something of the client itself. The others belong to the address in From, which anybody can
    write: they count for a message that authenticates that address's domain, and for no other.
    """

    author: str = ""  # the one address in From, lower-case; "" where there is none or several
    network: Past = NO_PAST  # of the client's network
    domain: Past = NO_PAST  # of the author's domain
    address: Past = NO_PAST  # of the author's address
    # for each recipient looked at, in order: clean messages of this author it got that authenticated, less spoiled ones
    known: tuple[float, ...] = ()
    met: tuple[float, ...] = ()  # the same for messages that did not authenticate, but came from this client's network


@dataclass(frozen=True, slots=True)
class Envelope:
    """What the client said around the message, and when."""

    queue_id: str  # ours, unique; bound to every log line, header and row about this message
    client: Client
    reverse_path: str  # without brackets; "" is the null reverse-path (RFC 5321 §4.5.5)
    recipients: tuple[Recipient, ...]
    received_at: float
    hostname: str  # our name, also the authserv-id (RFC 8601 §2.5)
    is_8bitmime: bool = False  # MAIL ... BODY=8BITMIME (RFC 6152)
    is_smtputf8: bool = False  # MAIL ... SMTPUTF8 (RFC 6531)
    history: History | None = None  # None: nothing was looked up (`darban scan`, a store that is down)
    manner: tuple[
        str, ...
    ] = ()  # how the client spoke, as the listener noticed it: names of checks/protocol.py's findings


# --- the message --------------------------------------------------------------------------------------------------


class HeaderField(NamedTuple):
    """One header field, in its place; duplicates stay duplicates (RFC 5322 §2.2)."""

    name: str  # as written, without the colon and white space before it
    raw: bytes  # the whole field as received: name, colon, value, folding and final line end
    text: str  # value unfolded, encoded-words decoded (RFC 2047), 8-bit bytes decoded, outer white space removed


class Address(NamedTuple):
    """One mailbox of an address field (RFC 5322 §3.4)."""

    display_name: str  # decoded; "" when absent
    address: str  # addr-spec as written, decoded; "" when the field holds no parsable one
    domain: str  # lower-case A-label of the part after the last "@"; "" when there is none


class Link(NamedTuple):
    """One URL found in a body."""

    url: str  # as a client would follow it: entities decoded, white space removed
    text: str  # what the reader sees for it; == url for a bare URL in text
    source: Literal["anchor", "image", "form", "text", "other"]


@dataclass(frozen=True, slots=True)
class Html:
    """What one text/html part shows and does."""

    text: str  # what a reader sees, block elements separated by newlines
    hidden_text: str  # text styled or marked so that no reader sees it
    links: tuple[Link, ...]
    tags: Mapping[str, int]  # lower-case element name -> count
    image_count: int
    has_script: bool
    has_form: bool
    defects: tuple[str, ...] = ()
    schemeless: tuple[str, ...] = ()  # links to //host, as they are written
    flow: str = ""  # all text but code, seen or hidden, in document order; empty lines stand between paragraphs


@dataclass(frozen=True, slots=True)
class Part:
    """One MIME entity below (or being) the message, in document order (RFC 2045-2047, 2183, 2231)."""

    path: str  # "1", "1.2", "1.2.1": its place; the message's own body is "1" when it is not multipart
    depth: int  # 0 for the message's own body
    content_type: str  # lower-case "type/subtype"; "text/plain" when absent or unusable
    charset: str  # lower-case as declared; "" when absent
    encoding: str  # lower-case Content-Transfer-Encoding; "7bit" when absent
    disposition: str  # "attachment", "inline" or "" when absent
    filename: str  # decoded, RFC 2231 before plain (RFC 2183 §2.3); "" when absent
    other_filename: str  # a second, different name in the same part ("" when none): an ambiguity
    fields: tuple[HeaderField, ...]
    # the body as received, still encoded; mail.decode_body(part) gives the bytes. b"" for a container (multipart/*,
    # message/rfc822), whose parts hold theirs: else nesting would multiply memory
    raw: bytes
    text: str | None  # decoded text of a text/* part that is not an attachment, else None
    html: Html | None  # for text/html that is not an attachment


@dataclass(frozen=True, slots=True)
class Message:
    """A message, parsed once. Any bytes give one; what was wrong with them stands in `defects`."""

    raw: bytes  # exactly what was received
    fields: tuple[HeaderField, ...]
    by_name: Mapping[str, Sequence[HeaderField]]  # lower-case name -> its fields, top to bottom
    body_offset: int  # where the body starts in raw
    parts: tuple[Part, ...]  # depth first, containers included
    subject: str  # decoded, "" when absent
    message_id: str  # without brackets, "" when absent or unusable
    date: float | None  # the Date field, epoch seconds; None when absent or not a date
    author: tuple[Address, ...]  # every mailbox of every From field
    sender: tuple[Address, ...]
    reply_to: tuple[Address, ...]
    to: tuple[Address, ...]  # To and Cc
    text: str  # what a reader sees: text of the text parts (HTML rendered; one of alternative forms is not dropped)
    hidden_text: str
    links: tuple[Link, ...]  # of every part, document order, duplicates removed
    defects: tuple[str, ...]  # TOPIC_FACT names, e.g. "MIME_BOUNDARY_MISSING"; no duplicates


# --- what was found out -------------------------------------------------------------------------------------------


class DnsAnswer(NamedTuple):
    """An answer of the DNS, or its absence. A value, never an exception.

    "invalid": no name that can be asked; "limit": the message has asked too much; both without a question.
    """

    status: DnsStatus
    # A/AAAA/PTR/CNAME/NS: str; MX: "10 mx.example."; TXT: bytes, strings joined; TLSA: bytes
    records: tuple[str | bytes, ...] = ()
    ttl_s: int = 0
    is_authentic: bool = False  # the AD bit


class AuthResult(NamedTuple):
    """One method's result in RFC 8601's words."""

    method: AuthMethod
    result: str  # pass, fail, softfail, neutral, none, temperror, permerror, policy
    # spf: the checked identity's domain; dkim: d=; arc: the newest seal's d=; dmarc: the author domain; iprev: the name
    domain: str = ""
    selector: str = ""  # dkim s=
    identity: str = ""  # spf: "mailfrom" or "helo"; dkim: i=; iprev: the client address
    # dmarc: none, quarantine, reject ("" without a record); arc: "trusted" when a trusted sealer vouches for the author
    policy: str = ""
    reason: str = ""  # one sentence a person can read
    is_aligned: bool = False  # spf and dkim: aligned with the author domain (RFC 9989 §4.4)
    properties: tuple[tuple[str, str], ...] = ()  # further ptype.property=value pairs for Authentication-Results
    # dmarc: why a failure does not call for the policy ("trusted_forwarder", "policy_test_mode"), in the words of
    # aggregate reports; "" where nothing speaks against it
    override: str = ""
    policy_domain: str = ""  # dmarc: where the record that applies is published
    policy_record: str = ""  # dmarc: how it was found ("treewalk", "psl"), a space, and the record as published


@dataclass(frozen=True, slots=True)
class MailObject:
    """RFC 5598's mail object: envelope and message, with what authentication said and the checks saw."""

    envelope: Envelope
    message: Message
    auth: tuple[AuthResult, ...] = ()
    findings: tuple[Finding, ...] = ()  # for the classifier; () for the checks themselves


class Finding(NamedTuple):
    """What a check saw: a stable NAME and evidence in words, never a score."""

    name: str
    evidence: tuple[str, ...] = ()


class ScannerAnswer(NamedTuple):
    """What a scanner of contents knows in a message."""

    signature: str = ""  # its name; "" when it knows nothing
    fault: str = ""  # why it could not tell, in the words of Verdict.incomplete


class Missing(NamedTuple):
    """What a check could not look at, in the words of Verdict.incomplete."""

    what: str  # "dns: the MX of example.org: timeout"


class CheckReport(NamedTuple):
    """One check's findings, or why it has none."""

    check: str
    findings: tuple[Finding, ...] = ()
    failed: str = ""  # "" or the reason in a few words: "timeout", "ValueError"
    missing: tuple[str, ...] = ()  # what it looked at everything but


class Hit(NamedTuple):
    """A finding or rule with its score."""

    name: str
    score: float
    description: str
    evidence: tuple[str, ...] = ()


class Contribution(NamedTuple):
    """One thing's part in a prediction; scan/wording.py has the words for it."""

    kind: str  # "words", "link", ...
    value: str  # the words as they are written, the link's domain; "" where the kind says it all
    weight: float  # log-odds; positive speaks for spam


@dataclass(frozen=True, slots=True)
class Prediction:
    """What the classifier thinks."""

    probability: float  # of spam, calibrated, 0..1
    model_id: str
    contributions: tuple[Contribution, ...] = ()  # strongest first


@dataclass(frozen=True, slots=True)
class Summary:
    """The few words of a message that lists show. Decoded, bounded, without controls."""

    message_id: str = ""
    subject: str = ""
    author: str = ""  # first From mailbox, "Name <address>"
    size_bytes: int = 0


@dataclass(frozen=True, slots=True)
class Verdict:
    """What we think of a message. score == sum of the hits' scores."""

    queue_id: str
    score: float
    hits: tuple[Hit, ...]  # heaviest first
    auth: tuple[AuthResult, ...]
    prediction: Prediction | None
    incomplete: tuple[str, ...]  # what could not be looked at: "dns: timeout", "check reply_to: ValueError"
    summary: Summary
    rules_id: str = ""  # hash of the rule set that judged
    seconds: float = 0.0
    stages: tuple[tuple[str, float], ...] = ()  # stage name -> seconds, in order
    campaign: str = (
        ""  # one for messages that are alike (scan/campaign.py); "" for mail that scored low, or says nothing
    )
    attachments: int = 0  # parts that are files; counted where the campaign is


# --- what is done about it ----------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DomainPolicy:
    """What an admin wants for one recipient domain."""

    name: str  # the domain, lower-case A-label
    next_hop: NextHopUrls
    tag_at: float = 5.0
    quarantine_at: float = 8.0
    reject_at: float = 15.0
    on_incomplete: ActionName = "tag"  # at least this, when the verdict is incomplete
    greylist: bool = False  # defer doubtful first contacts once
    greylist_at: float = 2.5  # from this score on a first contact is doubtful
    routes: tuple[tuple[str, NextHopUrls], ...] = ()  # (pattern of addresses, their next hop), the first that fits


@dataclass(frozen=True, slots=True)
class Disposition:
    """What policy wants for one recipient, and the named reason."""

    recipient: Recipient
    action: ActionName
    reason: str  # "score 17.2 >= reject_at 15.0"
    required_score: float  # the threshold at which the message stops being plain mail (tag_at)


@dataclass(frozen=True, slots=True)
class Reply:
    """An SMTP reply (RFC 5321 §4.2, RFC 3463). Public text only, never a private cause."""

    code: int
    enhanced: str  # "2.0.0"
    text: str  # ASCII, one line


@dataclass(frozen=True, slots=True)
class Delivery:
    """What became of the message for one recipient."""

    recipient: Recipient
    action: ActionName
    reply: Reply  # the next hop's, the store's or our refusal
    reason: str


@dataclass(frozen=True, slots=True)
class Outcome:
    """What the gateway did with one message: the one reply of DATA, and the truth for each recipient."""

    queue_id: str
    reply: Reply
    deliveries: tuple[Delivery, ...]
    verdict: Verdict | None  # None when it could not be judged (then the reply is 451), or is a loop (554)


@dataclass(frozen=True, slots=True)
class Mta:
    """The server that asks what to do with a message it keeps (milter)."""

    name: str = ""  # as it calls itself in its Received field
    queue_id: str = ""  # its own for the message
    has_others: bool = False  # the message is also for recipients whose mail is not judged: it must not be refused
    holds: bool = False  # it holds itself what is to be held, the whole message


@dataclass(frozen=True, slots=True)
class Filtered:
    """What a server that keeps the message is to do: give its client the outcome's reply, and where that is a 2xx let
    the message go without the recipients whose delivery is a quarantine, unless it holds it whole."""

    outcome: Outcome
    required_score: float = 0.0  # the score at which what goes on is marked as spam
    hold: str = ""  # why it has to hold the message; "" when it does not


# --- the quarantine -----------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class HeldMessage:
    """One message held for one recipient."""

    id: str  # stable, idempotent: from (content hash, reverse-path, recipient)
    queue_id: str
    content_hash: str  # sha256 hex of the content as received; the blob's key
    reverse_path: str
    recipient: str
    domain: str
    client_ip: str
    helo: str
    received_at: float
    summary: Summary
    score: float
    reason: str
    verdict_json: str  # the object of `darban scan --json`
    is_8bitmime: bool = False
    is_smtputf8: bool = False
    state: QuarantineState = "held"
    state_at: float = 0.0
    note: str = ""  # the next hop's last words about a release; why it was deleted
    state_by: str = ""  # the account that brought it into its state; "" for held ones
    kind: HeldKind = "spam"  # actions/danger.py; how long it is kept (policy/retention.py)
    hits: tuple[str, ...] = ()  # names, heaviest first
    campaign: str = ""
    attachments: int = 0


@dataclass(frozen=True, slots=True)
class Scope:
    """Whose mail somebody may see: that to these domains and to these addresses, or everybody's."""

    is_all: bool = False
    domains: tuple[str, ...] = ()  # lower-case A-labels; "*.example.ir" stands for what is below
    addresses: tuple[str, ...] = ()  # lower case


@dataclass(frozen=True, slots=True)
class HeldQuery:
    """A page of the quarantine. Empty and None mean any."""

    text: str = ""  # part of subject, author, reverse-path, recipient, queue_id or message-id
    domain: str = ""
    state: QuarantineState | Literal[""] = "held"
    limit: int = 50
    scope: Scope = Scope(is_all=True)  # the command line's; who signs in has his own (policy/access.py)
    sender: str = ""  # part of author or reverse-path
    recipient: str = ""  # part of it
    finding: str = ""  # the name of a hit
    kind: HeldKind | Literal[""] = ""
    score_from: float | None = None
    score_to: float | None = None
    received_from: float | None = None
    received_to: float | None = None  # exclusive
    campaign: str = ""
    content_hash: str = ""
    order: HeldOrder = "newest"
    is_folded: bool = False  # of each campaign the first only
    after: str = ""  # HeldPage.next of the page before
    until: int | None = None  # only what was there when QuarantineStore.mark said this


class HeldPage(NamedTuple):
    """Some of the held messages that a query finds."""

    messages: Sequence[HeldMessage]
    total: int  # of the query, without its `after`; folded or not
    is_floor: bool  # there are more than `total`: they were not counted to the end
    next: str  # for HeldQuery.after; "" on the last page


class Note(NamedTuple):
    """What a reviewer wrote down about a held message."""

    held_id: str
    at: float
    account: str
    text: str


class SavedFilter(NamedTuple):
    """A query of the list that somebody gave a name."""

    id: str
    account: str  # whose it is
    name: str
    query: str  # urlencoded, as web/filter.py writes it
    is_shared: bool


@dataclass(frozen=True, slots=True)
class BulkJob:
    """One act on many held messages, which goes on in the background."""

    id: str
    account: str
    act: BulkAct
    about: str  # the filter they were chosen by, urlencoded; "" for a list of them
    learns: bool
    at: float
    state: BulkState
    counts: Mapping[ItemState, int]
    stopped_for: str = ""  # "", "person" or "next hop"

    @property
    def total(self) -> int:
        """Messages in all."""
        return sum(self.counts.values())


class BulkItem(NamedTuple):
    """One message of a bulk job, and what became of it."""

    job: str
    number: int
    held_id: str
    state: ItemState
    at: float  # when it came into its state
    said: str  # the next hop's words, or why nothing was done
    runner: str  # the gateway that has it in hand


@dataclass(frozen=True, slots=True)
class Account:
    """Somebody who may sign in."""

    name: str
    role: Role
    domains: tuple[str, ...] = ()  # whose mail it is about; of owners, and of none named, all
    addresses: tuple[str, ...] = ()  # a recipient's own; lower case


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """Who did what, as it is chained (stores/audit_chain.py)."""

    number: int  # from 1 on, without gaps
    at: float  # to the millisecond
    account: str
    act: str
    subject: str  # the held message's id, the account's name, an address ...
    domain: str  # whose mail it was about; "" where that is nobody's or everybody's
    detail: str
    client: str  # the address it was done from; "command" on the gateway's own machine
    proofs: tuple[str, ...]  # a salt (hex) for each text; of an erased one "-" and its commitment
    former: str  # the hash of the entry before
    hash: str


@dataclass(frozen=True, slots=True)
class AuditHead:
    """An entry that was the last one, and a signature on that; signature "" before it is signed."""

    number: int
    hash: str
    at: float = 0.0
    key: str = ""  # public key, Ed25519, hex
    signature: str = ""  # hex


@dataclass(frozen=True, slots=True)
class AuditQuery:
    """Which entries, for all that is given."""

    text: str = ""  # part of account, subject, detail or client
    act: str = ""
    account: str = ""
    since: float = 0.0
    until: float | None = None
    limit: int = 50
    offset: int = 0
    before: int = 0  # only entries with a smaller number; 0: all
    scope: Scope = Scope(is_all=True)


@dataclass(frozen=True, slots=True)
class ApiToken:
    """What a program shows instead of a session. It may never more than its account."""

    id: str
    account: str
    name: str  # what its owner calls it
    acts: tuple[str, ...]  # policy/access.py's
    domains: tuple[str, ...]  # whose mail it is about; () for the account's
    created_at: float
    expires_at: float
    used_at: float = 0.0  # to the minute
    used_from: str = ""


class StoredAnswer(NamedTuple):
    """What the REST API answered to an act."""

    request: str  # hash of what was asked
    status: int  # 0: it is being answered
    body: bytes


@dataclass(frozen=True, slots=True)
class Event:
    """What webhooks tell: something happened, once; told twice it has the same id."""

    id: str
    type: EventType
    at: float
    domain: str  # whose mail it is about; "" where that is nobody's or everybody's
    data: Mapping[str, Any]  # as JSON has it


@dataclass(frozen=True, slots=True)
class Posting:
    """An event on its way to one webhook."""

    id: str  # the event's
    webhook: str  # its name
    type: EventType
    body: bytes
    born_at: float
    tries: int  # before this one
    told: str = ""  # what came of the last try, in words


@dataclass(frozen=True, slots=True)
class AccountRecord:
    """What is kept of an account."""

    account: Account
    origin: Origin = "local"
    is_disabled: bool = False
    has_password: bool = False
    has_code: bool = False  # signing in asks for a one-time code (TOTP) too
    created_at: float = 0.0
    signed_in_at: float | None = None


@dataclass(frozen=True, slots=True)
class Session:
    """Somebody signed in, in one browser."""

    id: str  # says nothing about the secret
    begun_at: float
    used_at: float
    client_ip: str
    agent: str  # the User-Agent field, cut
    is_this: bool = False  # the one that asks


@dataclass(frozen=True, slots=True)
class Token:
    """What a one-time token stands for."""

    account: str  # "" for one without
    subject: str = ""


@dataclass(frozen=True, slots=True)
class LogRow:
    """One row of the message log: one message and recipient, whatever became of it."""

    queue_id: str
    at: float
    client_ip: str
    helo: str
    reverse_path: str
    recipient: str
    summary: Summary
    action: str  # a LogAction
    reply: str  # what the client heard, "250 2.0.0 ...", or what that server was told
    score: float
    hits: tuple[str, ...] = field(default=())
    reason: str = ""
    next_hop_reply: str = ""
    number: int = field(default=0, compare=False)  # its place in the log, later ones higher; 0: not stored yet


@dataclass(frozen=True, slots=True)
class LogQuery:
    """A page of the message log, newest first. Empty means any; all that is given has to hold."""

    text: str = ""  # what somebody knows: an address, a domain, an id, a client, a part of the subject
    sender: str = ""  # reverse-path or author: an address, or a domain
    recipient: str = ""  # an address, or a domain
    subject: str = ""  # a part of it
    message_id: str = ""
    queue_id: str = ""  # ours or the next hop's; of ours the beginning will do
    client: str = ""  # an address or a network
    action: LogAction | Literal[""] = ""
    finding: str = ""  # the name of a finding or rule that hit
    since: float | None = None  # received then or later
    until: float | None = None  # received before
    limit: int = 50
    before: int | None = None  # the number of a row: only older ones
    scope: Scope = Scope(is_all=True)  # the command line's; who signs in has his own (policy/access.py)


@dataclass(frozen=True, slots=True)
class LogPage:
    """What a query found."""

    rows: tuple[LogRow, ...]
    older: int | None = None  # LogQuery.before of the next page; None: this is the last


@dataclass(frozen=True, slots=True)
class DmarcRow:
    """What a message adds to the day's DMARC report (RFC 9990 §3.1.1.7); messages that are alike are counted as one."""

    at: float  # when it was received; of several, the last
    domain: str  # the policy domain
    published: str  # AuthResult.policy_record
    source_ip: str
    header_from: str  # the author domain
    envelope_from: str  # the domain of MAIL FROM; "" for the null reverse-path
    envelope_to: str  # the recipients' domain
    disposition: str  # none, pass, quarantine, reject
    is_dkim_aligned: bool
    is_spf_aligned: bool
    overrides: tuple[str, ...]  # why the disposition is not what is published: local_policy, policy_test_mode, ...
    dkim: tuple[tuple[str, str, str], ...]  # (domain, selector, result), the telling ones first
    spf: tuple[str, str]  # (domain, result); ("", "none") when there was no domain to check
    count: int = 1


JournalRow = LogRow | DmarcRow


# --- senders that people allow and block --------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class SenderEntry:
    """Somebody's word on a sender: what is done with his mail to whom, until when. policy/senders.py has the rule."""

    act: SenderAct
    # "sara@example.org"; "example.org", and nothing below it; ".example.org", with all that is below it; lower-case
    pattern: str
    recipient: str  # whose mail: an address of ours, lower case, or a domain; "" for everybody's
    expires_at: float | None  # None: never
    by: str  # the account that said so
    at: float
    note: str = ""  # why
    held_id: str = ""  # of the message it was made from
    # allow: the client's network, in which nobody has to be proven; "": the sender has to be
    network: str = ""
    number: int = 0  # of its row; 0: not stored yet
    hits: int = 0  # messages and recipients it decided
    last_hit_at: float | None = None
    is_removed: bool = False
    revision: int = 0  # higher with every change of any entry


@dataclass(frozen=True, slots=True)
class SenderQuery:
    """A page of entries, newest first. Empty means any."""

    text: str = ""  # part of pattern, recipient, note or account
    act: SenderAct | Literal[""] = ""
    is_in_force: bool = False  # those that have expired are left out
    limit: int = 50
    before: int | None = None  # SenderEntry.number: only older ones
    scope: Scope = Scope(is_all=True)  # the command line's; who signs in has his own (policy/access.py)


class Ruling(NamedTuple):
    """What an entry comes to for one message and recipient."""

    action: ActionName | None  # at least this for a block, this for an allow; None: it does not count
    reason: str  # "allowed by sara's entry until 2027-01-03 (dkim=example.org)", or why it does not count
    number: int  # SenderEntry.number
    required_score: float = 0.0  # allow: from this score on it would not count


# --- what recipients get ------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class DigestPlan:
    """Whose digests come when, and how they read."""

    domain: str  # whose mail; "*.example.ir" as in [[domain]]
    addresses: tuple[str, ...]  # patterns of local parts or addresses (mail/route.py)
    at: tuple[tuple[int, int], ...]  # (hour, minute) of the time zone
    weekdays: frozenset[int]  # 0 is Monday
    time_zone: str
    language: str
    calendar: Calendar
    readers: tuple[str, ...] = ()  # who gets it instead of the mailbox itself
    minimum: int = 1  # so many messages at least


@dataclass(frozen=True, slots=True)
class Digest:
    """One digest of one mailbox, for one reader."""

    id: str  # stable: from mailbox, reader and time
    mailbox: str  # whose mail it lists; lower case
    reader: str  # to whom it goes; lower case
    at: float  # for which time of the plan it is
    language: str
    calendar: Calendar
    time_zone: str


class DigestItem(NamedTuple):
    """A held message as a digest lists it."""

    held: HeldMessage
    urls: Mapping[DigestAct, str]  # where one clicks; what is missing is not offered


@dataclass(frozen=True, slots=True)
class DigestContent:
    """What a digest says."""

    digest: Digest
    items: tuple[DigestItem, ...]
    more: int  # messages that are held besides
    stop_url: str  # where a reader says that he wants no more
    ends_at: float  # until when the links work


class LinkContent(NamedTuple):
    """What a letter with a link that signs in says."""

    address: str  # whose mail is seen
    language: str
    url: str
    minutes: int  # it works so long
    client_ip: str  # who asked for it


class DigestLetter(NamedTuple):
    """A digest, or another letter to a recipient, in words."""

    name: str  # whom it comes from
    subject: str
    html: str
    text: str


# --- what people teach --------------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Lesson:
    """One person's word on one message: its features, never its content."""

    id: str  # stable; with `at` the order in which lessons count
    at: float
    trainer: str  # who taught
    is_spam: bool
    via: Via  # through which door
    content_hash: str  # sha256 hex of the content
    features_version: int  # lessons of another version are kept, and not used
    indices: bytes  # which features the message has (classify/packed.py)
    weight: float = 1.0  # of the largest step it may make
    revoked_at: float | None = None  # None: it counts
    revoked_by: str = ""


@dataclass(frozen=True, slots=True)
class Taught:
    """What became of a lesson.

    learned: new; relearned: the trainer had said the opposite; known: had said the same, nothing was written;
    limited: the trainer has taught as much as a day allows, nothing was written.
    """

    what: TaughtHow
    lesson_id: str = ""  # of the lesson that counts now; "" when limited


@dataclass(frozen=True, slots=True)
class Lessons:
    """Which lessons: those for which all holds that is given. Nothing given: all of them, but not to revoke them."""

    ids: tuple[str, ...] = ()
    trainer: str = ""
    day: int | None = None  # days since the epoch (UTC)
    content_hash: str = ""
    is_revoked: bool | None = None
    revoked_at: float | None = None  # by one act: all that it revoked have the same time
    limit: int = 50  # of a page; revoke and restore take all
    offset: int = 0


@dataclass(frozen=True, slots=True)
class LedgerCounts:
    """How much was taught."""

    lessons: Mapping[tuple[bool, Via], int]  # (is_spam, via) -> lessons that count
    revoked: int
    superseded: int  # their trainer said the opposite later
    foreign: int  # of another version of the features
    newest_at: float  # of any; 0.0 when there is none
