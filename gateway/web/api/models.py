"""What the REST API takes and gives. Names stay; new ones may come. Times are seconds since the epoch, UTC."""

from __future__ import annotations

from dataclasses import asdict
from typing import Annotated, Any, Generic, Literal, TypeVar

from pydantic import BaseModel, ConfigDict, Field

from gateway.types import (
    Account,
    AccountRecord,
    ApiToken,
    AuditEntry,
    BulkAct,
    BulkJob,
    BulkState,
    DomainPolicy,
    HeldKind,
    HeldMessage,
    ItemState,
    Lesson,
    LogRow,
    Origin,
    QuarantineState,
    Role,
    SavedFilter,
    SenderAct,
    SenderEntry,
    Summary,
    Via,
)

Item = TypeVar("Item")
Cursor = Annotated[str, Field(max_length=200, description="`next` of the page before.")]
Limit = Annotated[int, Field(ge=1, le=200, description="Items of one page at most.")]
Name = Annotated[str, Field(min_length=1, max_length=100)]
HeldId = Annotated[str, Field(pattern="^[0-9a-f]{32}$", description="Of a held message.")]


class Body(BaseModel):
    """What is sent: nothing in it goes unread."""

    model_config = ConfigDict(extra="forbid")


class Page(BaseModel, Generic[Item]):
    """Some of many."""

    items: list[Item]
    next: str | None = Field(None, description="The cursor of the next page; null on the last.")


class Held(BaseModel):
    """A message in the quarantine, for one recipient."""

    id: str
    queue_id: str
    state: QuarantineState
    state_at: float
    note: str = Field(description="The next hop's last words about a release; why it was deleted.")
    received_at: float
    recipient: str
    domain: str
    reverse_path: str
    client_ip: str
    author: str
    subject: str
    message_id: str
    size_bytes: int
    score: float
    reason: str
    kind: HeldKind
    content_hash: str = Field(description="SHA-256 of the content, hexadecimal.")

    @classmethod
    def of(cls, held: HeldMessage) -> Held:
        """As the store has it."""
        summary = held.summary
        named = {name: getattr(held, name) for name in cls.model_fields if hasattr(held, name)}
        told = {"author": summary.author, "subject": summary.subject, "message_id": summary.message_id}
        return cls(**named, **told, size_bytes=summary.size_bytes)


class HeldList(Page[Held]):
    """A page of the quarantine."""

    total: int
    is_floor: bool = Field(description="There are more than `total`: they were not counted to the end.")


class HeldDetail(Held):
    """With the verdict: the object of `darban scan --json`."""

    verdict: dict[str, Any]


class PartItem(BaseModel):
    """One part of a message."""

    path: str = Field(description='Its place in the tree: "1.2".')
    content_type: str
    found_type: str = Field(description="As its first bytes have it; empty when they do not tell.")
    filename: str
    size_bytes: int | None = Field(description="Decoded; null for a container.")
    sha256: str
    dangers: list[str] = Field(description="Names of findings.")


class Content(BaseModel):
    """What a reader sees of a message, as text."""

    subject: str
    author: str
    text: str
    hidden_text: str
    links: list[str]
    parts: list[PartItem]
    defects: list[str]
    is_cut: bool = Field(description="Texts or links are longer than what is given; /source has all.")


class Change(BaseModel):
    """What would have had a message delivered."""

    was: str
    action: str
    is_needed: bool
    signs: int
    changes: list[dict[str, Any]]
    entry: str = Field("", description="What an entry on the sender comes to, where that is not among the changes.")


class Acted(BaseModel):
    """What an act came to: the truth, also where it is not what was asked for."""

    held: Held
    learned: str = Field(description="What was learned: learned, relearned, known, limited, failed, spent, or nothing.")


class Release(Body):
    """How to release."""

    learn: bool = Field(True, description="Also teach that such mail is wanted.")


class Redirect(Body):
    """Where a copy goes."""

    address: Annotated[str, Field(min_length=3, max_length=320)]


class NoteItem(BaseModel):
    """What a reviewer wrote down."""

    at: float
    account: str
    text: str


class NewNote(Body):
    """To be written down."""

    text: Annotated[str, Field(min_length=1, max_length=2000, pattern=r"\S")]


class NewJob(Body):
    """One act on many held messages: those named, or all that match a filter."""

    act: BulkAct
    ids: list[HeldId] = Field([], max_length=1000)
    filter: dict[str, str] | None = Field(None, description="The names and values of GET /held.", max_length=20)
    learn: bool = True


class Job(BaseModel):
    """How far an act on many messages is."""

    id: str
    account: str
    act: BulkAct
    at: float
    state: BulkState
    stopped_for: str
    total: int
    counts: dict[str, int]

    @classmethod
    def of(cls, job: BulkJob) -> Job:
        """As the store has it."""
        named = ("id", "account", "act", "at", "state", "stopped_for", "total")
        return cls(**{name: getattr(job, name) for name in named}, counts=dict(job.counts))


class JobItem(BaseModel):
    """What became of one message of a job."""

    number: int
    held_id: str
    state: ItemState
    at: float
    said: str


class LogItem(BaseModel):
    """What became of a message for one recipient."""

    number: int
    queue_id: str
    at: float
    client_ip: str
    helo: str
    reverse_path: str
    recipient: str
    author: str
    subject: str
    message_id: str
    size_bytes: int
    action: str
    score: float
    hits: list[str]
    reason: str
    reply: str
    next_hop_reply: str

    @classmethod
    def of(cls, row: LogRow) -> LogItem:
        """As the log has it."""
        named = {name: getattr(row, name) for name in cls.model_fields if hasattr(row, name)}
        summary = {name: getattr(row.summary, name) for name in Summary.__slots__}
        return cls(**named, **summary)


class EventItem(BaseModel):
    """One thing that happened to a message."""

    at: float
    kind: str
    text: str
    who: str


class TimelineItem(BaseModel):
    """One recipient's story, from the connection on."""

    row: LogItem
    held_id: str | None
    events: list[EventItem]


class AuditItem(BaseModel):
    """Who did what."""

    number: int
    at: float
    account: str
    act: str
    subject: str
    domain: str
    detail: str
    client: str
    hash: str

    @classmethod
    def of(cls, entry: AuditEntry) -> AuditItem:
        """Without what only a verifier needs."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class Verified(BaseModel):
    """What a verification of the audit log found."""

    is_whole: bool
    entries: int
    erased: int
    signatures: int
    signed_up_to: int
    faults: list[str]


class LessonItem(BaseModel):
    """One person's word on one message."""

    id: str
    at: float
    trainer: str
    is_spam: bool
    via: Via
    content_hash: str
    weight: float
    revoked_at: float | None
    revoked_by: str

    @classmethod
    def of(cls, lesson: Lesson) -> LessonItem:
        """Without the features."""
        return cls(**{name: getattr(lesson, name) for name in cls.model_fields})


class Which(Body):
    """Which lessons: those for which all holds that is given. Something has to be."""

    ids: list[Annotated[str, Field(min_length=1, max_length=32)]] = Field([], max_length=200)
    trainer: Annotated[str, Field(max_length=320)] = ""
    day: Annotated[int | None, Field(ge=0, le=1_000_000, description="Days since the epoch, UTC.")] = None


class Restored(Body):
    """Which revoked lessons: by their ids, or all that one act revoked."""

    ids: list[Annotated[str, Field(min_length=1, max_length=32)]] = Field([], max_length=200)
    revoked_at: Annotated[float | None, Field(ge=0, le=1e12)] = None


class Counted(BaseModel):
    """How many it was."""

    number: int
    at: float | None = Field(None, description="Of a revocation: what restores it.")


class Learning(BaseModel):
    """How learning stands."""

    is_on: bool
    model_id: str
    spam: int
    ham: int
    revoked: int
    superseded: int
    foreign: int
    newest_at: float


class AccountItem(BaseModel):
    """Somebody who may sign in."""

    name: str
    role: Role
    domains: list[str]
    addresses: list[str]
    origin: Origin
    is_disabled: bool
    has_code: bool
    created_at: float
    signed_in_at: float | None

    @classmethod
    def of(cls, record: AccountRecord) -> AccountItem:
        """As the store has it."""
        who = record.account
        told: dict[str, Any] = {"role": who.role, "domains": list(who.domains), "addresses": list(who.addresses)}
        own = ("origin", "is_disabled", "has_code", "created_at", "signed_in_at")
        return cls(name=who.name, **told, **{name: getattr(record, name) for name in own})


class SenderItem(BaseModel):
    """Somebody's word on a sender: what is done with his mail, to whom, until when."""

    number: int
    act: SenderAct
    pattern: str = Field(description="`sara@example.org`; `example.org`; `.example.org` with all below it.")
    recipient: str = Field(description="Whose mail: an address, a domain, or empty for everybody's.")
    expires_at: float | None = Field(description="null: no end.")
    network: str = Field(description="Of clients that need no proof; empty: the author has to be proven.")
    note: str
    by: str
    at: float
    held_id: str
    hits: int
    last_hit_at: float | None

    @classmethod
    def of(cls, entry: SenderEntry) -> SenderItem:
        """As the store has it."""
        return cls(**{name: getattr(entry, name) for name in cls.model_fields})


class SenderList(Page[SenderItem]):
    """A page of entries."""

    total: int


class NewSender(Body):
    """To be said of a sender. What was said before of the same sender and recipient is replaced."""

    act: SenderAct
    pattern: Annotated[str, Field(min_length=1, max_length=400)]
    recipient: Annotated[str, Field(max_length=320)] = ""
    expires_at: Annotated[
        float | None,
        Field(ge=0, le=1e12, description="null: no end. Left out: as the configuration has it; a block's none."),
    ] = None
    note: Annotated[str, Field(max_length=500)] = ""
    network: Annotated[str, Field(max_length=50)] = ""
    held_id: HeldId | None = Field(None, description="The message it is said about.")


class KeptOut(BaseModel):
    """A held message that would still be held."""

    held: Held
    reason: str


class SenderForecast(BaseModel):
    """What an entry would have done with the mail of the last days; of each kind the newest."""

    days: int
    let_in: list[Held] = Field(description="Were held, and would have been delivered.")
    let_in_total: int
    let_in_phishing: int = Field(description="How many of those let in were judged phishing.")
    kept_out: list[KeptOut] = Field(description="Would have been held all the same.")
    kept_out_total: int
    blocked: list[LogItem] = Field(description="Were delivered, and would have been held.")
    blocked_total: int
    refused: int = Field(description="Were refused; whether they would have been let in is not known.")
    is_cut: bool = Field(description="There was more mail to look at than was looked at.")


class FilterItem(BaseModel):
    """A filter of held messages under a name."""

    id: str
    name: str
    account: str = Field(description="Whose it is.")
    is_shared: bool
    filter: dict[str, str] = Field(description="The names and values of GET /held.")

    @classmethod
    def of(cls, saved: SavedFilter, given: dict[str, str]) -> FilterItem:
        """As the store has it."""
        return cls(id=saved.id, name=saved.name, account=saved.account, is_shared=saved.is_shared, filter=given)


class NewFilter(Body):
    """To be kept under a name, in the place of one's own of that name."""

    name: Annotated[str, Field(min_length=1, max_length=100, pattern=r"\S")]
    filter: dict[str, str] = Field(description="The names and values of GET /held.", max_length=20)
    is_shared: bool = Field(False, description="With all who list held messages; takes the right to write notes.")


class Person(Body):
    """Whose data."""

    address: Annotated[str, Field(min_length=3, max_length=320)]


class Kept(BaseModel):
    """How much of each kind is kept about an address."""

    held: int
    log: int
    lessons: int
    accounts: int
    counters: int
    audit: int
    senders: int


class ErasedItem(Kept):
    """How much of each kind went."""

    left: list[str] = Field(description="What is left, in words.")


Words = list[Annotated[str, Field(min_length=1, max_length=320)]]


class NewAccount(Body):
    """An account to be made. It has no password: its owner gets a link from the page, or signs in elsewhere."""

    name: Name
    role: Role
    domains: Words = Field([], max_length=1000)
    addresses: Words = Field([], max_length=1000)


class AccountChange(Body):
    """What is left out stays."""

    role: Role | None = None
    domains: Annotated[Words, Field(max_length=1000)] | None = None
    addresses: Annotated[Words, Field(max_length=1000)] | None = None
    is_disabled: bool | None = None


class TokenItem(BaseModel):
    """A token, without its secret."""

    id: str
    name: str
    acts: list[str]
    domains: list[str]
    created_at: float
    expires_at: float
    used_at: float
    used_from: str

    @classmethod
    def of(cls, token: ApiToken) -> TokenItem:
        """As the store has it."""
        told = asdict(token)
        return cls(**{name: told[name] for name in cls.model_fields})


class Me(BaseModel):
    """Who calls."""

    account: str
    role: Role
    domains: list[str]
    addresses: list[str]
    acts: list[str]

    @classmethod
    def of(cls, who: Account, acts: list[str]) -> Me:
        """As the request counts."""
        return cls(account=who.name, role=who.role, domains=list(who.domains), addresses=list(who.addresses), acts=acts)


class DomainItem(BaseModel):
    """A recipient domain, and what its admin wants."""

    name: str
    tag_at: float
    quarantine_at: float
    reject_at: float
    on_incomplete: str
    greylist: bool

    @classmethod
    def of(cls, policy: DomainPolicy) -> DomainItem:
        """Without where its mail goes."""
        return cls(**{name: getattr(policy, name) for name in cls.model_fields})


class Status(BaseModel):
    """How the gateway stands."""

    version: str
    hostname: str
    quarantine: Literal["up", "down"]
    held: int | None = Field(description="Messages that are held; null for who may not see all.")


class DmarcDomain(BaseModel):
    """One policy domain of a day."""

    domain: str


class DmarcItem(BaseModel):
    """Messages that are alike, counted for a DMARC report."""

    domain: str
    source_ip: str
    header_from: str
    envelope_from: str
    envelope_to: str
    disposition: str
    is_dkim_aligned: bool
    is_spf_aligned: bool
    count: int
