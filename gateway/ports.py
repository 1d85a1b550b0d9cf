"""The seams of the gateway: what one room asks of another, as Protocols.

Composition happens in gateway/app alone; every implementation of a store port passes the same suite in tests/contract/.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from typing import Protocol

from gateway.types import (
    Account,
    AccountRecord,
    ApiToken,
    AuditEntry,
    AuditHead,
    AuditQuery,
    BulkItem,
    BulkJob,
    BulkState,
    Contribution,
    Delivery,
    Digest,
    DigestSending,
    Disposition,
    DmarcRow,
    DmarcSending,
    DnsAnswer,
    DomainPolicy,
    Envelope,
    Event,
    Finding,
    HeldMessage,
    HeldPage,
    HeldQuery,
    Hit,
    ItemState,
    JournalRow,
    LedgerCounts,
    Lesson,
    Lessons,
    LogPage,
    LogQuery,
    LogRow,
    MailObject,
    Missing,
    Note,
    Origin,
    Posting,
    Prediction,
    QuarantineState,
    Recipient,
    Reply,
    Role,
    SavedFilter,
    ScannerAnswer,
    Scope,
    SenderEntry,
    SenderQuery,
    Session,
    StoredAnswer,
    Taught,
    Token,
    TokenKind,
    Verdict,
)


class Clock(Protocol):
    """Time, so that tests can hold it still."""

    def now(self) -> float:
        """Seconds since the epoch (UTC)."""


class Resolver(Protocol):
    """The DNS. Never raises for what the DNS says or fails to say: see DnsAnswer.status."""

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        """Look up one name (for PTR the reverse name); rdtype: A, AAAA, MX, TXT, PTR, CNAME, NS."""


class MessageCheck(Protocol):
    """A check that only looks at the mail object: no waiting. One file in checks/, one line in checks.CHECKS."""

    @property
    def name(self) -> str:
        """The file's name."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Every name it may report."""

    def check(self, mail: MailObject) -> Iterable[Finding]:
        """What was seen. A fault in here is named in Verdict.incomplete, it is never a silent pass."""


class DomainMemory(Protocol):
    """The domains of links and authors that were in mail here before."""

    async def lookup_new(self, domains: Sequence[str]) -> frozenset[str] | None:
        """Those never seen until now, or seen first less than a day ago; None when that cannot be told. Never raises.

        All of them are remembered. `domains`: organisational ones, lower-case A-labels, some eight."""


class EnvelopeCheck(Protocol):
    """A check that has to ask the network or a memory; runs as a task under the one deadline."""

    @property
    def name(self) -> str:
        """The file's name."""

    @property
    def findings(self) -> tuple[str, ...]:
        """Every name it may report."""

    async def check(self, mail: MailObject, resolver: Resolver) -> Iterable[Finding | Missing]:
        """What was seen, and what could not be looked at: silence of the network is never a silent pass."""


class ContentScanner(Protocol):
    """Somebody else's knowledge of harmful contents. Never raises."""

    async def scan(self, content: bytes) -> ScannerAnswer:
        """What it knows in the whole message."""


class RuleSet(Protocol):
    """Compiled rule files."""

    id: str  # hash over the rule files' content
    descriptions: Mapping[str, str]
    scores: Mapping[str, float]
    firm: frozenset[str]  # hits whose weight no harmless text takes away (tflags NAME firm)

    def match(
        self, mail: MailObject, findings: Sequence[Finding], prediction: Prediction | None = None
    ) -> tuple[Hit, ...]:
        """Hits of rules, and of findings by their `score` lines; `meta` may combine both. Never raises.

        The prediction is for rules that ask for it (eval:check_bayes)."""


class Reading(Protocol):
    """What a classifier made of one message."""

    @property
    def prediction(self) -> Prediction:
        """Without contributions."""

    def explain(self) -> tuple[Contribution, ...]:
        """The strongest parts of the prediction, strongest first; costs more than it. Never raises."""


class Classifier(Protocol):
    """A trained model."""

    @property
    def model_id(self) -> str:
        """Names the weights; stands in every prediction."""

    def read(self, mail: MailObject) -> Reading:
        """Judge one message. Never raises on any mail."""

    def refresh(self) -> None:
        """Take up a newer model where there is one; cheap, and never raises."""


class Scorer(Protocol):
    """Envelope and bytes in, verdict out: a pool of children (listeners) or the pipeline itself (`darban scan`)."""

    async def score(self, envelope: Envelope, content: bytes) -> Verdict:
        """Raises ScorerError when no verdict can be had."""


class NextHop(Protocol):
    """The server behind us, for one domain."""

    async def verify(self, recipient: Recipient) -> Reply:
        """Would it take this recipient? 2xx yes, 5xx no, 4xx cannot tell now. A dead next hop is a 451."""

    async def deliver(self, envelope: Envelope, content: bytes, recipients: Sequence[Recipient]) -> Mapping[str, Reply]:
        """Hand over for these recipients; one reply for each address. Any fault is a 451, never raised.

        `content` has CRLF line ends only. A 2xx means the next hop has taken custody (fsync'd, for a Maildir)."""

    async def close(self) -> None:
        """Give up connections kept for reuse."""


class Action(Protocol):
    """The code behind a disposition. Never raises: a fault is a 451 delivery."""

    async def apply(
        self, envelope: Envelope, content: bytes, verdict: Verdict, wanted: Sequence[Disposition]
    ) -> tuple[Delivery, ...]:
        """Do it for these recipients; one delivery for each, in order."""


class Sealer(Protocol):
    """Puts an ARC set on what is relayed."""

    def seal(self, content: bytes, results: str, chain: str) -> bytes:
        """The content with a set on top, or as it is where none may be added. Never raises.

        `results` is our Authentication-Results value, `chain` ARC's result for the message as it came."""


class Journal(Protocol):
    """Where message-log rows are handed in. Never blocks, never raises, never on the path of custody."""

    def record(self, rows: Sequence[JournalRow]) -> None:
        """Take the rows; they may be lost when the process or the log's owner dies."""


class PolicySource(Protocol):
    """Which domains are ours, and what their admins want."""

    def policy(self, domain: str) -> DomainPolicy | None:
        """None: not ours, no relaying."""


class BlobStore(Protocol):
    """Contents, by their sha256 or by a name that only their key can make. Blocking; call it in a thread from a loop.
    Raises StoreError."""

    def write(self, name: str, size: int, content: Callable[[], bytes]) -> None:
        """On the disk when it returns. What is there in this size stays; else `content` is asked for."""

    def get(self, key: str) -> bytes:
        """The content; StoreError when it is not there or not what its hash says."""

    def read(self, name: str) -> bytes:
        """The same, whatever it is."""

    def delete(self, key: str) -> None:
        """Idempotent."""

    def discard(self, name: str) -> None:
        """Take away what is half written, one of `names`."""

    def names(self, shard: int, older_than_s: float) -> Sequence[str]:
        """Of one of 256 parts, what has been there for so long; what is half written begins with "."."""

    def check(self) -> None:
        """Raises StoreError when `write` would."""


class QuarantineStore(Protocol):
    """Held messages. Blocking; call it in a thread from a loop. Raises StoreError."""

    def hold(self, messages: Sequence[HeldMessage], content: bytes) -> None:
        """All or nothing: blob fsync'd first, rows committed second. Idempotent on HeldMessage.id."""

    def get(self, held_id: str) -> HeldMessage | None:
        """The message, None when there is none with this id."""

    def several(self, held_ids: Sequence[str]) -> Mapping[str, HeldMessage]:
        """Id -> message, of those that there are."""

    def content(self, held_id: str) -> bytes:
        """The message as it was received."""

    def list(self, query: HeldQuery) -> HeldPage:
        """One page, and about how many there are in all. Raises InputError for an `after` that is none."""

    def neighbours(self, query: HeldQuery, message: HeldMessage) -> tuple[str, str]:
        """Ids of the one before and the one behind a message in the query's order; "" where there is none."""

    def ids(self, query: HeldQuery, at_most: int) -> Sequence[str]:
        """Of all that match, in order, but so many at most."""

    def mark(self) -> int:
        """For HeldQuery.until: whatever is held from now on is not in it."""

    def count(self, query: HeldQuery, at_most: int) -> int:
        """How many match, if fewer than `at_most`."""

    def sizes(self, query: HeldQuery, campaigns: Sequence[str]) -> Mapping[str, int]:
        """Campaign -> how many of it match; of more than a thousand, a thousand and one."""

    def changed(self, scope: Scope, since: float, at_most: int) -> Sequence[HeldMessage]:
        """Messages of the scope that somebody acted on since then, the newest first."""

    def of_messages(self, queue_ids: Sequence[str]) -> Sequence[HeldMessage]:
        """What was held under these queue ids, in whatever state it is."""

    def of_contents(self, content_hashes: Sequence[str]) -> Mapping[str, str]:
        """Content hash -> the id of a message that has it, for those that there are."""

    def transition(
        self,
        held_id: str,
        before: Sequence[QuarantineState],
        after: QuarantineState,
        note: str = "",
        at: float | None = None,
        by: str = "",
    ) -> bool:
        """Compare-and-set, `by` an account: False when the state is not in `before`, or not since `at` (its
        HeldMessage.state_at).
        """

    def give_up_releases(self, before: float) -> Sequence[str]:
        """Releases begun before this whose process died: held again, with a note; their ids."""

    def counts(self) -> Mapping[str, int]:
        """State -> number of messages."""

    def check(self) -> None:
        """Raises StoreError when a message could not be held now."""


class BulkStore(Protocol):
    """Acts on many held messages: the jobs and each message of them. Blocking. Raises StoreError."""

    def add(self, job: BulkJob, held_ids: Sequence[str]) -> None:
        """All of it, or nothing; every message waits."""

    def get(self, job_id: str) -> BulkJob | None:
        """The job, and how far it is."""

    def list(self, account: str, limit: int) -> Sequence[BulkJob]:
        """An account's, the newest first; "" for everybody's."""

    def items(self, job_id: str, *, after: int = -1, limit: int = 200) -> Sequence[BulkItem]:
        """Its messages, in order, behind the number `after`."""

    def running(self) -> Sequence[str]:
        """Ids of the jobs that are to go on, the oldest first."""

    def take(self, job_id: str, runner: str) -> BulkItem | None:
        """The next that waits, in hand now: of several gateways one gets it. None when none waits."""

    def settle(self, item: BulkItem, state: ItemState, said: str = "") -> None:
        """What became of a message in hand."""

    def left(self, runner: str, older_than_s: float) -> Sequence[BulkItem]:
        """What this runner has in hand, and what others have had for longer."""

    def turn(self, job_id: str, before: BulkState, after: BulkState, stopped_for: str = "") -> bool:
        """Compare-and-set of the job's state."""


class Desk(Protocol):
    """What reviewers keep beside the mail: notes and saved filters. Blocking. Raises StoreError."""

    def add_note(self, note: Note) -> None:
        """Raises StoreError, also when there is no such message."""

    def notes(self, held_ids: Sequence[str]) -> Mapping[str, Sequence[Note]]:
        """Held id -> its notes, the oldest first."""

    def save_filter(self, saved: SavedFilter) -> None:
        """In the place of the account's filter of that name. Raises InputError when the account has too many."""

    def filters(self, account: str) -> Sequence[SavedFilter]:
        """The account's own and the shared ones, by name."""

    def drop_filter(self, filter_id: str, account: str) -> bool:
        """False when there is none of this account's."""


class DigestStore(Protocol):
    """Which digests were sent, what they listed, and the keys of their links. Blocking. Raises StoreError."""

    def pending(self, domain: str, reader: str, since: float, until: float) -> Mapping[str, int]:
        """Mailbox -> messages received in (since, until] that are held and were in no digest to this reader; "" stands
        for the mailbox itself. Without those whose reader wants none."""

    def preview(self, one: Digest, since: float, at_most: int) -> Sequence[str]:
        """The ids that claim would give; nothing is written."""

    def claim(self, one: Digest, since: float, at_most: int) -> Sequence[str]:
        """Take this digest in hand: the ids of what it lists, lowest score first; () when there is nothing to list, or
        it was sent, is being sent, or may have been. One that failed may be claimed again."""

    def settle(self, digest_id: str, state: DigestSending, note: str) -> None:
        """What became of a claimed one."""

    def give_up(self, before: float) -> Sequence[Digest]:
        """Claims made before this that nobody settled: "unknown" from now on. What they listed is pending again."""

    def purge(self) -> None:
        """Forget what is old."""

    def get(self, digest_id: str) -> Digest | None:
        """None when there is none."""

    def key(self, number: int) -> bytes | None:
        """A key by its number."""

    def signing_key(self) -> tuple[int, bytes]:
        """The number and the key that new links are signed with; made when there is none, or it is old."""

    def is_stopped(self, mailbox: str, reader: str) -> bool:
        """Whether the reader wants no digests of this mailbox."""

    def stop(self, mailbox: str, reader: str, *, is_stopped: bool) -> None:
        """The reader wants none from now on, or wants them again."""


class AccountStore(Protocol):
    """Who may sign in, and who is. Blocking; verifying a password takes CPU by design. Raises StoreError.

    Nothing is done that would leave no owner who can sign in: InputError.
    """

    def has_admin(self) -> bool:
        """Whether there is an owner."""

    def list(self, text: str = "") -> Sequence[AccountRecord]:
        """By name; those with text in name, domains or addresses."""

    def record(self, name: str) -> AccountRecord | None:
        """None when there is none of this name."""

    def create(
        self,
        name: str,
        password: str,
        role: Role | None = None,
        domains: Sequence[str] = (),
        addresses: Sequence[str] = (),
    ) -> Account:
        """Make an account (an owner when no role is said), or give it a new password and, if said, role and scope."""

    def add(self, who: Account, origin: Origin = "local") -> None:
        """Make an account without a password. Raises InputError when the name is taken."""

    def change(self, who: Account) -> None:
        """Another role or scope. Raises InputError when there is no such account."""

    def disable(self, name: str, is_disabled: bool) -> None:
        """It cannot sign in, and its sessions end; or it can again. Raises InputError."""

    def delete(self, name: str) -> None:
        """With its sessions and tokens. Raises InputError."""

    def set_password(self, name: str, password: str) -> None:
        """Its sessions stay. Raises InputError."""

    def is_password(self, name: str, password: str) -> bool:
        """False for a wrong name or password alike, in the same time."""

    def code_secret(self, name: str) -> str:
        """The secret of its one-time codes, "" when none are asked for."""

    def set_code(self, name: str, secret: str, recovery: Sequence[str]) -> None:
        """Ask for one-time codes from now on; with "" not any more. Each recovery code is taken once instead of one."""

    def take_step(self, name: str, step: int) -> bool:
        """Compare-and-set: False when a code of this time step, or of a later one, was taken before."""

    def take_recovery(self, name: str, code: str) -> bool:
        """Whether it was one of the recovery codes; now it is none."""

    def recovery_left(self, name: str) -> int:
        """How many recovery codes are left."""

    def note_sign_in(self, name: str) -> None:
        """Somebody signed in, now."""

    def wait_s(self, key: str, free: int) -> float:
        """How long a key has to wait for its next try: not at all before `free` failures, then ever longer."""

    def fail(self, key: str) -> int:
        """Count a failure; how many there were since the last success."""

    def succeed(self, *keys: str) -> None:
        """Forget the failures."""

    def new_token(self, kind: TokenKind, ttl_s: float, account: str | None = None, subject: str = "") -> str:
        """A secret that stands for something, until then or until it is taken."""

    def token(self, kind: TokenKind, text: str) -> Token | None:
        """What it stands for; None when it does not, or not any more."""

    def take_token(self, kind: TokenKind, text: str) -> Token | None:
        """The same, once."""

    def new_setup_token(self) -> str:
        """A token that makes one owner, once, within a day."""

    def redeem_setup_token(self, text: str, name: str, password: str) -> Account:
        """Make the account and spend the token. Raises InputError."""

    def redeem_reset_token(self, text: str, password: str) -> Account:
        """Set the password, end all sessions, spend the token. Raises InputError."""

    def new_session(self, who: Account, client_ip: str = "", agent: str = "") -> str:
        """A session's secret."""

    def session(self, text: str, *, is_use: bool = True) -> Account | None:
        """Whose session it is. Not a use: it lasts no longer for it."""

    def sessions(self, name: str, this: str = "") -> Sequence[Session]:
        """Those that last, newest first; `this` is the secret of the one that asks."""

    def end_session(self, text: str) -> None:
        """Sign out."""

    def end_sessions(self, name: str, session_id: str = "", but: str = "") -> None:
        """All of an account or one, but the one with this secret."""


class AuditLog(Protocol):
    """Who did what, in a chain that shows what was changed or cut off. Blocking. Raises StoreError."""

    def append(
        self, account: str, act: str, subject: str = "", detail: str = "", *, domain: str = "", client: str = ""
    ) -> int:
        """The entry's number. Without a domain it is that of the held message or address the subject is."""

    def list(self, query: AuditQuery) -> tuple[Sequence[AuditEntry], int]:
        """One page, newest first, and how many there are in all."""

    def entries(self) -> Iterable[AuditEntry]:
        """All, oldest first."""

    def since(self, number: int, limit: int) -> Sequence[AuditEntry]:
        """So many at most of those behind this number, oldest first."""

    def heads(self) -> Sequence[AuditHead]:
        """The signed ones, oldest first."""

    def about(self, address: str, scope: Scope) -> Sequence[AuditEntry]:
        """Every entry of the scope that names the address, oldest first."""

    def erase(self, address: str, pseudonym: str, *, by: str, detail: str, client: str) -> Sequence[int]:
        """Put the pseudonym for the address, and say so in a new entry; the numbers of those that were changed."""

    def acts(self, subjects: Sequence[str]) -> Sequence[AuditEntry]:
        """What was done with these held messages, oldest first, 1,000 at most."""


class SenderStore(Protocol):
    """Senders that people allow and block. Blocking. Raises StoreError."""

    def add(self, entry: SenderEntry) -> SenderEntry:
        """As it is stored; in the place of one with the same act, pattern, recipient and network. InputError: full."""

    def add_all(self, entries: Sequence[SenderEntry]) -> Sequence[SenderEntry]:
        """All, or none."""

    def get(self, number: int, scope: Scope) -> SenderEntry | None:
        """The entry, if it is of the scope and was not removed."""

    def list(self, query: SenderQuery) -> tuple[Sequence[SenderEntry], int]:
        """One page, newest first, and how many there are in all without `before`."""

    def remove(self, number: int, scope: Scope) -> bool:
        """False when there is none of the scope."""

    def fitting(self, patterns: Collection[str], recipients: Collection[str]) -> Sequence[SenderEntry]:
        """Those in force that have one of these patterns and are about one of these recipients."""

    def since(self, revision: int, limit: int) -> Sequence[SenderEntry]:
        """Those that changed after this revision, removed ones too, in the order of the changes."""

    def count_hits(self, hits: Mapping[int, tuple[int, float]]) -> None:
        """Number -> (how many more, when the last was)."""

    def purge(self, removed_s: float, ended_s: float) -> int:
        """Forget entries that were removed, or have ended, so long ago; how many went."""


class ApiTokenStore(Protocol):
    """Tokens of the REST API, and its answers to acts. Blocking. Raises StoreError."""

    def new(
        self, owner: str, name: str, acts: Sequence[str], domains: Sequence[str], ttl_s: float
    ) -> tuple[ApiToken, str]:
        """The token and its secret, which nobody can tell again. Raises InputError."""

    def find(self, secret: str, client_ip: str) -> tuple[Account, ApiToken] | None:
        """Whose it is, noted as used; None for one that is not, not any more, or of a disabled account."""

    def list(self, owner: str = "") -> Sequence[ApiToken]:
        """An account's, the newest first; "" for everybody's."""

    def revoke(self, token_id: str, owner: str = "") -> bool:
        """False when there is none of this id, or not this account's."""

    def begin_answer(self, key: str, request: str) -> StoredAnswer | None:
        """None: it is ours to answer, now. Else what was answered; status 0: somebody is at it."""

    def end_answer(self, key: str, status: int, body: bytes) -> None:
        """What was answered; status 0: nothing was done, and it may be asked for again."""


class Outbox(Protocol):
    """Events on their way to webhooks. Blocking. Raises StoreError."""

    def add(self, webhook: str, events: Sequence[tuple[Event, bytes]], max_waiting: int) -> int:
        """Events and their bodies; those known by their id are left as they are. How many found no room."""

    def follow(self, number: int, to: Mapping[str, tuple[Sequence[tuple[Event, bytes]], int]]) -> Mapping[str, int]:
        """The same for each webhook, with where the audit log was read to, in one transaction."""

    def cursor(self) -> int:
        """The last entry of the audit log that was told; at first the last there is."""

    def take(self, webhook: str, limit: int) -> Sequence[Posting]:
        """Those that are due, for this gateway alone for a while."""

    def delivered(self, one: Posting) -> None:
        """It was taken."""

    def failed(self, one: Posting, told: str, next_at: float | None) -> None:
        """It was not, and is tried then; None: not any more."""

    def dead(self, webhook: str = "", limit: int = 100) -> Sequence[Posting]:
        """Those given up, the newest first."""

    def revive(self, webhook: str) -> int:
        """Those given up are tried again from now on; how many."""

    def counts(self) -> Mapping[tuple[str, str], int]:
        """(webhook, waiting, taken or dead) -> how many."""

    def prune(self, webhooks: Iterable[str]) -> int:
        """Forget what was taken or given up long ago, or is for none of these; how many."""


class MessageLog(Protocol):
    """Rows about every message that reached us. Blocking. Never on the path of custody."""

    def append(self, rows: Sequence[LogRow]) -> None:
        """Add the rows, in one transaction."""

    def search(self, query: LogQuery) -> LogPage:
        """One page. Raises InputError for what cannot be looked for."""

    def of_message(self, queue_id: str, scope: Scope = ...) -> Sequence[LogRow]:
        """The rows of this queue id, one for each recipient; none for an id that we never gave."""

    def row(self, number: int, scope: Scope = ...) -> LogRow | None:
        """The row in this place."""

    def tries(self, row: LogRow) -> Sequence[LogRow]:
        """Others from and to the same addresses, as long before and after as clients retry, oldest first."""

    def purge(self, older_than_s: float, limit: int) -> int:
        """Forget so many at most of the rows that are older; how many went."""


class DmarcStore(Protocol):
    """What DMARC reports are made of, by UTC day, and which of them were sent. Blocking. Raises StoreError."""

    def add(self, rows: Sequence[DmarcRow]) -> None:
        """Count the rows, in one transaction. What is beyond the store's limits is left out."""

    def domains(self, day: int) -> Sequence[str]:
        """The policy domains of a day (days since the epoch), sorted."""

    def rows(self, day: int, domain: str) -> Sequence[DmarcRow]:
        """Most messages first; all with the record that was seen last."""

    def claim(self, day: int, domain: str, address: str, report_id: str) -> bool:
        """May this report be sent to this address now? False when it was, was refused for good, or is being sent."""

    def settle(self, day: int, domain: str, address: str, state: DmarcSending, note: str) -> None:
        """What became of a claimed one: "failed" may be claimed again, the others are final."""


class Counters(Protocol):
    """Named counters that expire. Blocking."""

    def add(self, key: str, amount: float, ttl_s: float) -> float:
        """Add and return the new value."""

    def get(self, key: str) -> float:
        """The value now; 0.0 when there is none."""

    def add_many(self, amounts: Mapping[str, float], ttl_s: float) -> None:
        """Add to each, in one go; an expired one begins at zero."""

    def remove(self, keys: Sequence[str]) -> int:
        """How many there were."""

    def peek_many(self, keys: Sequence[str]) -> Mapping[str, float] | None:
        """What get_many gives, where that takes microseconds and waits for nobody; else None. In one thread only."""

    def get_many(self, keys: Sequence[str]) -> Mapping[str, float]:
        """Those that there are, in one go."""

    def prune(self, prefix: str, keep: int) -> int:
        """Of the keys with this prefix leave so many, the largest values; how many went."""


class TrainingLedger(Protocol):
    """What people taught the classifier. Nothing is ever taken out, only revoked. Blocking. Raises StoreError."""

    def add(self, lesson: Lesson, daily_limit: int) -> Taught:
        """Write it, unless its trainer's newest word on this content is the same, or the day is full for him."""

    def list(self, which: Lessons) -> tuple[Sequence[Lesson], int]:
        """One page, newest first, and how many there are in all."""

    def active(self, features_version: int) -> Iterable[Lesson]:
        """Those that count, in the order (at, id): not revoked, of this version, each trainer's newest on a content."""

    def revoke(self, which: Lessons, by: str, at: float | None = None) -> int:
        """They count no more, from `at` (None: now) on; how many did until then. InputError when nothing is named."""

    def restore(self, which: Lessons) -> int:
        """They count again; how many did not until now."""

    def counts(self, features_version: int) -> LedgerCounts:
        """How much was taught."""

    def revision(self) -> int:
        """Another number after every change."""
