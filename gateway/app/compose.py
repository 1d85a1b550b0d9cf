"""Settings -> the objects that several processes and commands are put together from."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, Any, get_args

from gateway.app.pipeline import load_model, make_resolver, rule_paths
from gateway.app.places import Places, message_holders, places
from gateway.config.settings import LearningImap, Settings, Weekday
from gateway.policy.domains import ConfiguredDomains
from gateway.types import DigestPlan, DomainPolicy, Via

if TYPE_CHECKING:
    from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey

    from gateway.classify.online import Caps
    from gateway.digest.message import Sender
    from gateway.digest.quarantine import Digests
    from gateway.digest.sign_in_link import LinkMailer
    from gateway.learning import Publisher, Teacher
    from gateway.listeners.budget import Budget
    from gateway.listeners.teaching import Teaching
    from gateway.mailboxes import Learn, MailboxWatch
    from gateway.net.imap import Server
    from gateway.net.next_hop import NextHops
    from gateway.policy.retention import Retention
    from gateway.ports import BlobStore, Counters, QuarantineStore, Sealer, TrainingLedger
    from gateway.privacy import Privacy
    from gateway.reputation import Reputation
    from gateway.review import Review
    from gateway.senders import Senders
    from gateway.service import Releaser
    from gateway.sign_in import SignIn
    from gateway.stores.redis_counters import RedisCounters
    from gateway.stores.vault import SqlKeys
    from gateway.web.api import Programs
    from gateway.web.site import Site
    from gateway.webhooks import Target, Webhooks

_FOR_CONTENT = 6  # 50 MiB are written and synced; a database that stands still was given up at the row before
_OUR_FIELDS = 1 << 18  # bytes that a message grows by at delivery, ours and the servers' behind us


def domain_policies(settings: Settings) -> ConfiguredDomains:
    """The [[domain]] tables."""
    return ConfiguredDomains(
        DomainPolicy(
            name=domain.name,
            next_hop=domain.next_hop,
            tag_at=domain.tag_at,
            quarantine_at=domain.quarantine_at,
            reject_at=domain.reject_at,
            on_incomplete=domain.on_incomplete,
            greylist=domain.greylist,
            greylist_at=domain.greylist_at,
            routes=tuple((route.address, route.next_hop) for route in domain.route),
        )
        for domain in settings.domain
    )


def make_budget(settings: Settings, where: Places) -> Budget:
    """What messages may take of this process's memory and disk, for all its doors."""
    from gateway.listeners import budget

    budget.give_memory_back()
    return budget.make_budget(settings.smtp, message_holders(settings), where.spool)


def make_next_hops(settings: Settings) -> NextHops:
    """The servers behind us, with a resolver of their own."""
    from gateway.net.next_hop import NextHops

    return NextHops(settings.hostname, make_resolver(settings))


def make_quarantine(settings: Settings, answer_within_s: float | None = None) -> Any:
    """[storage]'s."""
    from gateway.stores.blobs import FileBlobs
    from gateway.stores.engine import make_engine
    from gateway.stores.quarantine import SqlQuarantine
    from gateway.stores.sql_blobs import SqlBlobs

    storage = settings.storage
    engine = make_engine(storage.database, answer_within_s)
    blobs: BlobStore = FileBlobs(storage.blobs)
    if storage.blobs == "database":
        blobs = SqlBlobs(make_engine(storage.database, answer_within_s and answer_within_s * _FOR_CONTENT))
    return SqlQuarantine(engine, blobs, make_keys(settings, engine))


def make_keys(settings: Settings, engine: Any) -> SqlKeys | None:
    """The keys that contents are encrypted by; None without [storage] encryption_key."""
    path = settings.storage.encryption_key
    if not path:
        return None
    from gateway.config.load import read_master_keys
    from gateway.stores.vault import SqlKeys

    return SqlKeys(engine, lambda: read_master_keys(path))


def make_retention(settings: Settings) -> Retention:
    """[retention], and what [[domain]] tables say instead."""
    from gateway.policy.retention import Retention

    said = settings.retention
    return Retention(
        days={
            "spam": said.spam_days,
            "phishing": said.phishing_days,
            "malware": said.malware_days,
            "released": said.released_days,
            "rows": said.rows_days,
        },
        domain_days={one.name: one.keep_days for one in settings.domain if one.keep_days},
        max_size=said.max_quarantine_size,
        domain_sizes={one.name: one.max_quarantine_size for one in settings.domain if one.max_quarantine_size},
    )


def make_privacy(settings: Settings) -> Privacy:
    """What is kept of a person."""
    from gateway.policy.reputation import Networks
    from gateway.privacy import Privacy, Stores
    from gateway.reputation import load_secret
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.audit import SqlAudit
    from gateway.stores.counters import SqlCounters
    from gateway.stores.digests import SqlDigests
    from gateway.stores.engine import make_engine
    from gateway.stores.ledger import SqlLedger
    from gateway.stores.message_log import SqlMessageLog
    from gateway.stores.senders import SqlSenders

    engine = make_engine(settings.storage.database)
    stores = Stores(
        make_quarantine(settings),
        SqlMessageLog(engine),
        SqlLedger(engine),
        SqlAccounts(engine),
        SqlAudit(engine),
        make_memory(settings, SqlCounters(engine)),
        SqlSenders(engine),
        SqlDigests(engine),
    )
    networks = Networks(settings.reputation.trusted_networks)
    return Privacy(stores, load_secret(places(settings).secret), networks.of)


def load_audit_key(settings: Settings) -> Ed25519PrivateKey:
    """The installation's key that signs the audit log's heads; made when there is none."""
    from gateway.reputation import load_secret
    from gateway.stores.audit_chain import key_of

    return key_of(load_secret(places(settings).audit_key))


def webhook_targets(settings: Settings) -> list[Target]:
    """[[webhook]]'s, with their keys. Raises ConfigError."""
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError
    from gateway.policy.webhook import read_keys
    from gateway.webhooks import Target

    targets = []
    for one in settings.webhook:
        try:
            keys = read_keys(read_secret(one.secret_file).decode("ascii", "replace"))
        except ValueError as error:
            raise ConfigError(f"[[webhook]] {one.name}: secret_file {one.secret_file}: {error}") from None
        said = one.model_dump(exclude={"secret_file"})
        targets.append(Target(**said, keys=keys))
    if len({one.name for one in targets}) < len(targets):
        raise ConfigError("[[webhook]] name: two have the same; each needs its own")
    return targets


def make_webhooks(settings: Settings, engine: Any, audit: Any) -> Webhooks:
    """Who tells webhooks what happens. Raises ConfigError."""
    from gateway.net.webhook import WebhookClient
    from gateway.stores.outbox import SqlOutbox
    from gateway.webhooks import Webhooks

    client = WebhookClient(make_resolver(settings))
    return Webhooks(webhook_targets(settings), SqlOutbox(engine), audit, client, make_subject_writer(settings))


def make_programs(settings: Settings, engine: Any, dmarc: Any) -> Programs:
    """What only the REST API has."""
    from gateway.stores.api_tokens import SqlApiTokens
    from gateway.web.api import Programs

    return Programs(SqlApiTokens(engine), dmarc, tuple(domain_policies(settings)), settings.api)


def make_message_log(settings: Settings) -> Any:
    """[message_log]'s. Raises ConfigError."""
    from gateway.stores.engine import make_engine
    from gateway.stores.message_log import SqlMessageLog

    return SqlMessageLog(make_engine(settings.storage.database), make_subject_writer(settings))


def make_subject_writer(settings: Settings) -> Callable[[str], str]:
    """What of a subject is kept and told. Raises ConfigError."""
    from gateway.reputation import load_secret
    from gateway.stores.message_log import subject_writer

    subjects = settings.message_log.subjects
    return subject_writer(subjects, load_secret(places(settings).secret) if subjects == "hash" else b"")


def make_sealer(settings: Settings) -> Sealer | None:
    """Who seals what is relayed; None when [arc] seal is off. Raises ConfigError when its key cannot be used."""
    if not settings.arc.seal:
        return None
    from gateway.auth import seal
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError

    try:
        key = seal.load_key(read_secret(settings.arc.key))
    except ValueError as error:
        raise ConfigError(f"[arc] key: {settings.arc.key}: {error}") from None
    return seal.Sealer(settings.arc.domain, settings.arc.selector, key)


def make_releaser(settings: Settings, next_hops: Any, quarantine: Any) -> Releaser:
    """Who sends held messages on."""
    from gateway.service import Releaser
    from gateway.stores.counters import SqlCounters
    from gateway.stores.engine import make_engine

    return Releaser(
        policies=domain_policies(settings),
        next_hop=next_hops.get,
        quarantine=quarantine,
        hostname=settings.hostname,
        reputation=make_reputation(settings, SqlCounters(make_engine(settings.storage.database))),
        sealer=make_sealer(settings),
    )


def make_redis(settings: Settings) -> RedisCounters | None:
    """The one that is named, if any. Raises ConfigError."""
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError

    storage = settings.storage
    if not storage.redis:
        return None
    from gateway.stores.redis_counters import open_redis

    try:
        password = read_secret(storage.redis_password_file).decode().strip() if storage.redis_password_file else ""
    except ValueError as error:
        raise ConfigError(f"[storage] redis_password_file: {storage.redis_password_file}: {error}") from None
    return open_redis(storage.redis, password)


def make_memory(settings: Settings, counters: Counters) -> Counters:
    """Where what is remembered of senders lies: in Redis, or else in these."""
    return make_redis(settings) or counters


def make_reputation(settings: Settings, counters: Counters) -> Reputation:
    """What is remembered of senders, and held against them."""
    from gateway.policy.greylist import Delays
    from gateway.policy.rates import Limits
    from gateway.reputation import Reputation, load_secret

    said, hourly = settings.reputation, settings.rates
    return Reputation(
        make_memory(settings, counters),
        load_secret(places(settings).secret),
        trusted=said.trusted_networks,
        limits=Limits(hourly.messages, hourly.recipients, hourly.unknown_recipients, hourly.domain_messages),
        delays=Delays(said.greylist_wait_s, said.greylist_window_s),
        domains_quiet_s=said.domains_quiet_s,
    )


def make_senders(settings: Settings) -> Senders:
    """Whom people allow and block."""
    from gateway.policy.senders import Limits
    from gateway.senders import Senders
    from gateway.stores.engine import make_engine
    from gateway.stores.senders import SqlSenders

    store, said = SqlSenders(make_engine(settings.storage.database)), settings.senders
    return Senders(store, Limits(said.blocked, said.allow_below))


def read_token(settings: Settings, table: str, option: str) -> bytes:
    """What a door asks of its clients; b"" where none is wanted. Raises ConfigError."""
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError

    path = getattr(getattr(settings, table), option)
    if not path:
        return b""
    try:
        token = read_secret(path).strip()
    except ValueError as error:
        raise ConfigError(f"[{table}] {option}: {path}: {error}") from None
    if not token:
        raise ConfigError(f"[{table}] {option}: {path}: is empty; write a long random word")
    return token


def make_teacher(settings: Settings, ledger: TrainingLedger) -> Teacher:
    """Who writes lessons, for every door people teach through."""
    from gateway.learning import Teacher

    return Teacher(ledger, settings.learning.daily_lessons)


def make_teaching(settings: Settings, trainer: str, via: Via) -> Teaching:
    """Who is taught through a door."""
    from gateway.listeners.teaching import Teaching
    from gateway.stores.engine import make_engine
    from gateway.stores.ledger import SqlLedger

    ledger = SqlLedger(make_engine(settings.storage.database))
    return Teaching(make_teacher(settings, ledger), ledger, settings.hostname, trainer, via)


def learning_caps(settings: Settings) -> Caps:
    """[learning]'s."""
    from gateway.classify.online import Caps

    said = settings.learning
    return Caps(said.lesson_cap, said.trainer_day_cap, said.trainer_cap, said.day_cap)


def make_publisher(settings: Settings, ledger: TrainingLedger) -> Publisher | None:
    """Who makes the online model; None when [learning] is off. Raises ConfigError."""
    from gateway.learning import Publisher

    if not settings.learning.enabled:
        return None
    return Publisher(ledger, load_model(settings), learning_caps(settings), places(settings).model)


def make_review(
    settings: Settings,
    releaser: Releaser,
    quarantine: QuarantineStore,
    teacher: Teacher,
    publisher: Publisher | None = None,
) -> Review:
    """Who carries out what people decide about held messages."""
    from gateway.review import Review
    from gateway.stores.counters import SqlCounters
    from gateway.stores.engine import make_engine

    return Review(
        quarantine=quarantine,
        release=releaser.release,
        is_ours=lambda domain: domain_policies(settings).policy(domain) is not None,
        teacher=teacher,
        reputation=make_reputation(settings, SqlCounters(make_engine(settings.storage.database))),
        hostname=settings.hostname,
        is_spent=publisher.is_spent if publisher is not None else lambda _: False,
    )


def make_watches(settings: Settings, where: Places, learn: Learn) -> list[MailboxWatch]:
    """Who looks into the mailboxes of [[learning.imap]]. Raises ConfigError."""
    from gateway.mailboxes import MailboxWatch, Watched

    return [
        MailboxWatch(
            Watched(
                server=make_imap_server(one),
                users=one.users,
                junk=one.junk,
                folders=one.folders,
                trainer=one.trainer,
                every_s=one.every_s,
                max_size=settings.smtp.max_message_size + _OUR_FIELDS,
            ),
            where.mailboxes,
            learn,
        )
        for one in settings.learning.imap
    ]


def make_digests(settings: Settings, next_hops: NextHops, quarantine: QuarantineStore) -> Digests:
    """Who sends digests of what is held."""
    from gateway.digest.quarantine import DAY_S, Digests
    from gateway.stores.digests import SqlDigests
    from gateway.stores.engine import make_engine
    from gateway.web.letter import letter_writer

    return Digests(
        store=SqlDigests(make_engine(settings.storage.database)),
        quarantine=quarantine,
        plans=digest_plans(settings),
        policies=domain_policies(settings),
        next_hop=next_hops.get,
        write=letter_writer(_site(settings)),
        sender=_letter_sender(settings, settings.digest.link_days * DAY_S),
    )


def make_link_mailer(settings: Settings, next_hops: NextHops, sign_in: SignIn) -> LinkMailer:
    """Who mails links that sign in."""
    from gateway.digest.sign_in_link import LinkMailer
    from gateway.sign_in import LINK_TTL_S
    from gateway.web.letter import link_letter_writer

    site = _site(settings)
    return LinkMailer(
        link_for=sign_in.link_for,
        policies=domain_policies(settings),
        next_hop=next_hops.get,
        write=link_letter_writer(site),
        record=lambda address, client: site.audit.append(address, "sign-in-link", address, client=client),
        sender=_letter_sender(settings, LINK_TTL_S),
    )


def _site(settings: Settings) -> Site:
    """What letters take their words from."""
    from gateway.rules.reader import read as read_rules
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.audit import SqlAudit
    from gateway.stores.engine import make_engine
    from gateway.web.site import Site

    engine, retention = make_engine(settings.storage.database), make_retention(settings)
    translations = read_rules(rule_paths(settings)).translations
    return Site.make(SqlAccounts(engine), SqlAudit(engine), retention, settings.hostname, translations, settings.web)


def _letter_sender(settings: Settings, link_s: float) -> Sender:
    from gateway.digest.message import Sender

    url = settings.web.url or f"http://{settings.web.listen}"
    return Sender(settings.digest.address, settings.digest.name, settings.hostname, url, link_s)


def digest_plans(settings: Settings) -> list[DigestPlan]:
    """The [[domain.digest]] tables, in the order in which they hold."""
    return [
        DigestPlan(
            domain=domain.name,
            addresses=one.addresses,
            at=tuple((int(text[:2]), int(text[3:])) for text in one.at),
            weekdays=frozenset(get_args(Weekday).index(day) for day in one.days),
            time_zone=one.time_zone,
            language=one.language,
            calendar=one.calendar or ("jalali" if one.language == "fa" else "gregorian"),
            readers=tuple(reader.lower() for reader in one.to),
            minimum=one.minimum,
        )
        for domain in settings.domain
        for one in domain.digest
    ]


def make_imap_server(said: LearningImap) -> Server:
    """The server of one [[learning.imap]]. Raises ConfigError."""
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError
    from gateway.net.imap import Server

    host, _, port = said.server.rpartition(":")
    try:
        password = read_secret(said.password_file).decode().strip("\r\n")
    except ValueError as error:
        raise ConfigError(f"[[learning.imap]] password_file: {said.password_file}: {error}") from None
    return Server(host.strip("[]"), int(port), said.tls, password, said.master, said.ca)
