"""The composition root: Settings -> every object of every process. The only file that knows all the others.

Heavy rooms (rules, classifier, web) are imported inside the function of the process that needs them, so that a
listener stays light (DESIGN §7).
"""

from __future__ import annotations

import asyncio
import contextlib
import hashlib
import itertools
import math
import os
import shutil
import signal
import socket
import sys
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, Protocol

import structlog

from gateway import log as logs
from gateway.config.load import load_settings, state_dir
from gateway.config.settings import LearningImap, Settings
from gateway.config.shipped import model_path, rules_path
from gateway.mail.domain import to_a_label
from gateway.policy.domains import ConfiguredDomains
from gateway.sockets import Sockets, check_free
from gateway.supervisor import ProcessSpec, Ready, Supervisor
from gateway.types import DmarcRow, DomainPolicy, HeldMessage, JournalRow, LogRow, Via

if TYPE_CHECKING:
    from gateway.admission import Admission, Lists
    from gateway.auth.identity import Identity
    from gateway.classify.model import Model
    from gateway.classify.online import Caps
    from gateway.digest.dmarc import DmarcReports, DmarcSender
    from gateway.learning import Publisher, Teacher
    from gateway.listeners.teaching import Teaching
    from gateway.mailboxes import Learn, MailboxWatch
    from gateway.net.dns import CachingResolver
    from gateway.net.imap import Server
    from gateway.net.journal import JournalSender
    from gateway.net.next_hop import NextHops
    from gateway.ports import Counters, DomainMemory, QuarantineStore, Sealer, TrainingLedger
    from gateway.reputation import Reputation
    from gateway.review import Review
    from gateway.scan.pipeline import MakePipeline, Pipeline
    from gateway.scanning import Scanner
    from gateway.service import Gateway, Releaser
    from gateway.web.health import DnsState

log = structlog.get_logger("darban")

_GRACE_S = 25.0  # the supervisor kills after 30
_MAIL_WAITS_S = 5.0  # for a PostgreSQL that does not answer
_DNS_WATCH_S = 15.0
_LOG_AGAIN_S = 1.0
_MEMORY = Path("/dev/shm")  # noqa: S108 - a folder of our own in it, by a name that says which gateway's
_OUR_FIELDS = 1 << 18  # bytes that a message grows by at delivery, ours and the servers' behind us
_generations = itertools.count(1)
_Sockets = Sequence[socket.socket]


class _Doors(NamedTuple):
    """The sockets of a listener process, by door."""

    smtp: _Sockets
    milter: _Sockets
    spamd: _Sockets


@dataclass(frozen=True, slots=True)
class Places:
    """Where the processes of one gateway meet."""

    state: Path  # database, blobs and what else lives on
    run: Path  # sockets and state of the running processes; gone after a stop
    generation: int = 0  # a reload's sockets stand beside the old ones: it may fail, and the old ones must then go on

    @property
    def scorers(self) -> Path:
        """The scorer parent's socket."""
        return self.run / f"scorers-{self.generation}.sock"

    @property
    def journal(self) -> Path:
        """The admin process's socket for message-log rows."""
        return self.run / f"journal-{self.generation}.sock"

    @property
    def learn(self) -> Path:
        """The socket of the process that learns what the spamd door is told."""
        return self.run / f"learn-{self.generation}.sock"

    @property
    def processes(self) -> Path:
        """The supervisor's list of processes."""
        return self.run / "processes.json"

    @property
    def secret(self) -> Path:
        """What the keys of the memory are hashed with."""
        return self.state / "secret"

    @property
    def model(self) -> Path:
        """The online model."""
        return self.state / "model"

    @property
    def mailboxes(self) -> Path:
        """What was seen in watched mailboxes."""
        return self.state / "mailboxes"

    @property
    def spool(self) -> Path:
        """Where large messages are while they come in; files without a name."""
        return self.state / "spool"

    @property
    def cache(self) -> Path:
        """Compiled rules."""
        return self.state / "cache"


def places(settings: Settings) -> Places:
    """The folders of this configuration; run_gateway makes them."""
    state = state_dir(settings)
    return Places(state, state / "run")


def cache_dir(settings: Settings) -> Path:
    """Where compiled rules are kept: with a gateway of this configuration, where one ran, else in the user's cache."""
    where = places(settings)
    return where.cache if where.state.is_dir() else _user_cache()


def _user_cache() -> Path:
    """XDG Base Directory Specification 0.8."""
    named = Path(os.environ.get("XDG_CACHE_HOME", ""))
    return (named if named.is_absolute() else Path(os.environ.get("HOME", "/nonexistent"), ".cache")) / "darban"


def check_settings(settings: Settings) -> None:
    """What can be known to be wrong before a process is started. Raises ConfigError."""
    from gateway.config.dns_lists import dns_lists
    from gateway.listeners.smtp import tls_context
    from gateway.net.dns import CachingResolver
    from gateway.net.next_hop import NextHops

    next_hops = NextHops(settings.hostname)
    for policy in domain_policies(settings):
        for urls in (policy.next_hop, *(next_hop for _, next_hop in policy.routes)):
            next_hops.get(urls)
    CachingResolver(settings.dns.nameservers, settings.dns.timeout_s, settings.dns.cache)
    dns_lists(settings.dns_list)
    tls_context(settings.smtp)
    make_sealer(settings)
    for one in settings.learning.imap:
        _imap_server(one)
    for table, option in (("http", "token_file"), ("http", "learn_token_file")):
        _token(settings, table, option)


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


# --- the pipeline: scorers and `darban scan` ------------------------------------------------------------------------


def rule_paths(settings: Settings) -> list[Path]:
    """What [rules] names, else what ships."""
    return [Path(path) for path in settings.rules.paths] or [rules_path()]


def rule_problems(settings: Settings) -> list[str]:
    """The rule lines that are not obeyed, with their place; notes left out. DNS lists that nobody gave a score."""
    from gateway.config.dns_lists import dns_lists
    from gateway.rules.reader import read

    files = read(rule_paths(settings))
    unscored = [name for one in dns_lists(settings.dns_list) for name in one.findings if name not in files.scores]
    return [
        *(f"{one.place}: {one.severity}: {one.reason}" for one in files.problems if one.severity != "note"),
        *(f"[[dns_list]]: {name} counts nothing: write a line `score {name} 1.0` in a rule file" for name in unscored),
    ]


def unlisted_domains(settings: Settings) -> tuple[str, ...]:
    """What no DNS list is asked about, and what is never new: our own domains, partners' and those the admin names."""
    own = (domain.name.removeprefix("*.") for domain in settings.domain)
    named = (to_a_label(name) for name in (*settings.identity.partners, *settings.dns.unlisted))
    return (*own, *filter(None, named))


def make_identity(settings: Settings) -> Identity:
    """[[domain]] and [identity], with the lists that ship."""
    from gateway.auth import identity
    from gateway.checks.domain_list import FREEMAIL, SHORTENERS

    named = settings.identity
    return identity.make_identity(
        own=[domain.name for domain in settings.domain],
        partners=named.partners,
        freemail=FREEMAIL.union(named.freemail),
        shorteners=SHORTENERS.union(named.shorteners),
        people=[identity.Person(one.name, one.address, one.also, one.role) for one in named.person],
    )


def load_model(settings: Settings) -> Model:
    """What [classifier] names, else the model that ships. Raises ConfigError."""
    from gateway import classify

    return classify.load(Path(settings.classifier.model) if settings.classifier.model else model_path())


def load_pipeline(
    settings: Settings, cache: Path | None, *, offline: bool = False, explain_all: bool = False
) -> MakePipeline:
    """Load rules and model now; the function makes a pipeline with a resolver of its own (after a fork, in a loop).

    Predictions get their words from the lowest tag_at on, or all of them: what is delivered as plain mail keeps no
    verdict, and nobody would read them.

    Raises ConfigError when a rule file or the model cannot be used: a gateway that cannot judge does not start.
    """
    from gateway import rules
    from gateway.checks import make_checks, make_envelope_checks
    from gateway.checks.dns_list import DnsLists
    from gateway.classify.published import CurrentModel
    from gateway.config.dns_lists import dns_lists
    from gateway.net.dns import CachingResolver, OfflineResolver
    from gateway.scan.pipeline import Pipeline, Trust

    lists = dns_lists(settings.dns_list)
    ruleset = rules.load(rule_paths(settings), cache)
    checks = make_checks(make_identity(settings))
    shipped, folder = load_model(settings), places(settings).model

    def make(memory: DomainMemory | None = None) -> Pipeline:
        dns = settings.dns
        known = CachingResolver(dns.nameservers, dns.timeout_s, dns.cache)
        ours = unlisted_domains(settings)
        listing = (DnsLists(lists, known, ours),) if lists else ()
        return Pipeline(
            resolver=OfflineResolver() if offline else known,
            message_checks=checks,
            envelope_checks=() if offline else (*make_envelope_checks(memory, ours), *listing),
            rules=ruleset,
            classifier=CurrentModel(shipped, folder) if settings.learning.enabled else shipped,
            deadline_s=min(settings.limits.scan_s / 2, dns.timeout_s * 5),
            max_queries=dns.max_queries,
            trouble=known.trouble,
            trust_in=Trust(settings.dmarc.organisational_domain, frozenset(settings.arc.trusted_sealers)),
            explain_at=-math.inf if explain_all else min(domain.tag_at for domain in settings.domain),
        )

    return make


# --- processes ------------------------------------------------------------------------------------------------------


def listener_count(settings: Settings) -> int:
    """One for every two cores: what judges is the scorers."""
    workers = settings.smtp.workers
    return max(1, (os.cpu_count() or 1) // 2) if workers == "auto" else workers


def scorer_count(settings: Settings) -> int:
    """One a core."""
    scorers = settings.limits.scorers
    return (os.cpu_count() or 1) if scorers == "auto" else scorers


def plan(settings: Settings, sockets: Sockets) -> list[ProcessSpec]:
    """The processes of DESIGN §7, in the order in which they need each other. Raises ConfigError."""
    where = replace(places(settings), generation=next(_generations))
    listeners = listener_count(settings)
    learns, asks_by_http = bool(settings.spamd.listen) and settings.spamd.learn, bool(settings.http.listen)
    (web,), (metrics,), (http,) = (
        sockets.share("web", [settings.web.listen]),
        sockets.share("metrics", [settings.metrics.listen]),
        sockets.share("http", [settings.http.listen] if asks_by_http else []),
    )

    def spec(name: str, run: Callable[[Ready], None], mine: _Sockets = (), **place: Any) -> ProcessSpec:
        def start(ready: Ready) -> None:
            sockets.keep(mine)
            run(ready)

        return ProcessSpec(name, start, **place)

    drains = {"place": "door", "drain_s": settings.process.drain_s}

    def listener(number: int, mine: _Doors) -> ProcessSpec:
        def run(ready: Ready) -> None:
            _run_loop(_listener(settings, where, ready, mine))

        return spec(f"listener-{number}", run, [*mine.smtp, *mine.milter, *mine.spamd], **drains)

    def learn(ready: Ready) -> None:
        _run_loop(_door_learn(settings, where, ready))

    def answer_http(ready: Ready) -> None:
        _run_loop(_door_http(settings, where, ready, http))

    shares = zip(
        sockets.share("smtp", settings.smtp.listen, listeners),
        sockets.share("milter", [settings.milter.listen] if settings.milter.listen else [], listeners),
        sockets.share("spamd", [settings.spamd.listen] if settings.spamd.listen else [], listeners),
        strict=True,
    )
    return [
        spec("scorers", lambda ready: _run_scorers(settings, where, ready), place="behind"),
        spec("admin", lambda ready: _run_admin(settings, where, ready, web, metrics), [*web, *metrics]),
        *([spec("door-learn", learn, place="behind")] * learns),
        *([spec("door-http", answer_http, http, **drains)] * asks_by_http),
        *(listener(number, _Doors(*mine)) for number, mine in enumerate(shares, 1)),
    ]


def run_gateway(config: Path | None) -> int:
    """`darban run`: until SIGTERM; the exit status. Raises ConfigError before anything is started."""
    from gateway.systemd import Notifier, forget

    settings = load_settings(config)
    logs.configure(settings.log)
    notifier, sockets = Notifier(os.environ), Sockets(_handed_over())
    forget(os.environ)
    first = _move_in(settings, sockets)
    where = places(settings)
    from prometheus_client.multiprocess import mark_process_dead

    def again() -> list[ProcessSpec]:
        fresh = load_settings(config)
        _check_reload(settings, fresh)
        check_settings(fresh)
        return plan(fresh, sockets)

    def started(is_taken: bool) -> None:
        sockets.settle(is_taken=is_taken)
        if is_taken:
            _point_to_newest(where)

    supervisor = Supervisor(
        again,
        state_path=where.processes,
        on_death=mark_process_dead,
        on_start=started,
        on_stop=sockets.close,
        notifier=notifier,
    )
    try:
        return supervisor.run(first, lambda: _greet(settings, config))
    finally:
        shutil.rmtree(os.environ["PROMETHEUS_MULTIPROC_DIR"], ignore_errors=True)


def _move_in(settings: Settings, sockets: Sockets) -> list[ProcessSpec]:
    """Bind the ports, give up root, make ready what the processes find. Raises ConfigError."""
    from gateway import privileges

    account = privileges.find_account(settings.process)
    # first: what follows would take the metrics from under a gateway that runs here
    check_free([listen for name, listen in _addresses(settings) if name not in sockets.names()])
    where = places(settings)
    privileges.make_folder(where.state, account)
    specs = plan(settings, sockets)  # binds
    privileges.become(account, settings.process.umask)
    privileges.check_readable([os.__file__, structlog.__file__, logs.__file__])
    privileges.check_writable(_kept(settings))
    for folder in (where.run, where.spool):
        folder.mkdir(exist_ok=True)
    where.run.chmod(0o700)
    _prepare_metrics(where.run)
    from gateway.stores.engine import migrate

    check_settings(settings)  # after _prepare_metrics: it imports what declares them
    migrate(settings.storage.database)
    for left in where.run.glob("*-*.sock"):  # of a gateway that was stopped
        left.unlink(missing_ok=True)
    if account is None and os.geteuid() == 0:
        log.warning("runs as root; write [process] user")
    return specs


_KINDS = ("smtp", "web", "metrics", "milter", "http", "spamd")  # what a socket unit's FileDescriptorName= may be


def _handed_over() -> dict[str, list[socket.socket]]:
    """By a socket unit."""
    from gateway.errors import ConfigError
    from gateway.systemd import handed_over

    found = handed_over(os.environ)
    for name in found:
        if name not in _KINDS:
            raise ConfigError(f"socket activation: {name!r} is none of ours; write FileDescriptorName=smtp")
    return found


def _addresses(settings: Settings) -> list[tuple[str, str]]:
    """What is listened on, by the table that says so."""
    named = ((name, getattr(settings, name).listen) for name in _KINDS[1:])
    return [*(("smtp", listen) for listen in settings.smtp.listen), *((name, one) for name, one in named if one)]


def _kept(settings: Settings) -> list[Path]:
    """Folders and files that outlive us."""
    where, blobs = places(settings), Path(settings.storage.blobs.removeprefix("file://"))
    database = settings.storage.database
    file = Path(database.removeprefix("sqlite:///")) if database.startswith("sqlite:///") else where.state
    beside = [file.with_name(file.name + end) for end in ("-wal", "-shm")]
    return [
        where.state,
        where.run,
        where.spool,
        blobs,
        file,
        *beside,
        where.secret,
        where.model,
        where.mailboxes,
        where.cache,
    ]


def _check_reload(running: Settings, fresh: Settings) -> None:
    """What only a restart can change. Raises ConfigError."""
    from gateway.errors import ConfigError

    same = ("user", "group", "umask")
    if any(getattr(running.process, name) != getattr(fresh.process, name) for name in same):
        raise ConfigError("[process] user, group and umask: a change needs a restart")
    if running.storage != fresh.storage:
        raise ConfigError("[storage]: a change needs a restart")


def _point_to_newest(where: Places) -> None:
    """Listeners of an older generation, which finish their sessions, find the message log's owner of now."""
    journals = sorted(where.run.glob("journal-*.sock"), key=lambda path: int(path.stem.partition("-")[2]))
    for old in journals[:-1]:
        link = old.with_suffix(".link")
        link.unlink(missing_ok=True)
        link.symlink_to(journals[-1].name)
        link.rename(old)


def _run_scorers(settings: Settings, where: Places, ready: Ready) -> None:
    from gateway.scan.scorer import ScorerParent, bind

    make_pipeline = load_pipeline(settings, where.cache)
    problems = rule_problems(settings)
    if problems:
        log.warning(
            "rule lines are not obeyed; `darban rules check` lists them", number=len(problems), first=problems[0]
        )
    for left in where.run.glob("scorer-*.stage"):
        if not Path(f"/proc/{left.stem.partition('-')[2]}").exists():
            left.unlink(missing_ok=True)
    parent = ScorerParent(
        bind(where.scorers),
        make_pipeline,
        folder=where.run,
        stage_cpu_s=settings.limits.stage_cpu_s,
        memory=settings.limits.scorer_memory,
    )
    ready()
    parent.serve()


async def _listener(settings: Settings, where: Places, ready: Ready, sockets: _Doors) -> None:
    from gateway.actions.hold import Hold
    from gateway.actions.relay import Relay
    from gateway.listeners import milter, smtp
    from gateway.listeners.budget import give_memory_back, make_budget
    from gateway.net.journal import JournalSender
    from gateway.scan.explain import verdict_json
    from gateway.scan.pool import ScorerPool
    from gateway.scanning import Scanner
    from gateway.service import Gateway
    from gateway.stores.counters import SqlCounters
    from gateway.stores.engine import make_engine

    give_memory_back()
    stopped, left = _on_signal(signal.SIGTERM), _on_signal(signal.SIGUSR1)
    policies = domain_policies(settings)
    engine = make_engine(settings.storage.database, _MAIL_WAITS_S)
    counters = SqlCounters(engine)
    reputation = _reputation(settings, counters)
    scorers = max(1, scorer_count(settings) // listener_count(settings))
    pool = ScorerPool(where.scorers, scorers, settings.limits.scan_s, reputation)
    await pool.start()
    journal = JournalSender(where.journal)
    journal.start()
    next_hops = _next_hops(settings)
    reputation.start()
    service = Gateway(
        policies=policies,
        scorer=pool,
        relay=Relay(policies, next_hops.get, make_sealer(settings)),
        hold=Hold(_quarantine(settings, _MAIL_WAITS_S), verdict_json),
        verifier=next_hops,
        journal=journal,
        counters=counters,
        reputation=reputation,
        reports_dmarc=settings.dmarc.reports,
    )
    admission = _admission(settings, service, policies, journal)
    trusted = settings.reputation.trusted_networks
    budget = make_budget(settings.smtp, listener_count(settings), where.spool)
    front = await smtp.serve(
        settings.smtp, settings.hostname, admission, sockets.smtp, settings.defence, trusted, budget
    )
    doors: list[Door] = [front]
    pools = [pool]
    if settings.spamd.listen:
        pools.append(ScorerPool(where.scorers, scorers, settings.limits.scan_s))  # no memory: a scan teaches nothing
        await pools[-1].start()
        scanner = Scanner("spamd", pools[-1].score, policies, journal)
        doors.append(await _door_spamd(settings, where, scanner, sockets.spamd))
    if settings.milter.listen:
        max_size, sealer = settings.smtp.max_message_size, make_sealer(settings)
        doors.append(await milter.serve(settings.milter, max_size, settings.hostname, service, sockets.milter, sealer))
    ready()
    await _leave(doors, stopped, left, settings.process.drain_s)
    admission.close()
    await reputation.close()
    await journal.close()
    await next_hops.close()
    for one in pools:
        await one.close()


async def _door_spamd(settings: Settings, where: Places, scanner: Scanner, sockets: _Sockets) -> Door:
    from gateway.listeners import spamd
    from gateway.listeners.place import is_private

    said, limit = settings.spamd, settings.smtp.max_message_size
    tell = spamd.forward(where.learn, settings.limits.scan_s) if said.learn else None
    if not is_private(said.listen):
        log.warning("[spamd] answers everybody who reaches it; listen on 127.0.0.1 or unix:/path", listen=said.listen)
    door = spamd.Server(said, settings.hostname, limit, scanner, tell)
    await door.start(sockets)
    return door


async def _door_learn(settings: Settings, where: Places, ready: Ready) -> None:
    """What the spamd door is told is parsed and learned here, and never in a listener."""
    from gateway.listeners import spamd
    from gateway.sockets import bind

    stopped = _on_signal(signal.SIGTERM)
    teaching = _teaching(settings, settings.spamd.trainer, "spamd")
    door = spamd.Server(settings.spamd, settings.hostname, settings.smtp.max_message_size, None, teaching.tell)
    await door.start([bind(f"unix:{where.learn}")])
    ready()
    await stopped
    await door.stop(_GRACE_S)


async def _door_http(settings: Settings, where: Places, ready: Ready, sockets: _Sockets) -> None:
    from gateway.listeners import http
    from gateway.listeners.place import is_private
    from gateway.net.journal import JournalSender
    from gateway.scan.pool import ScorerPool
    from gateway.scanning import Scanner

    stopped, left = _on_signal(signal.SIGTERM), _on_signal(signal.SIGUSR1)
    said, policies = settings.http, domain_policies(settings)
    if not is_private(said.listen) and not said.token_file:
        log.warning("[http] answers everybody who reaches it; write token_file", listen=said.listen)
    pool = ScorerPool(where.scorers, scorer_count(settings), settings.limits.scan_s)
    await pool.start()
    journal = JournalSender(where.journal)
    journal.start()
    door = http.Server(
        http.Door(
            said,
            settings.hostname,
            settings.smtp.max_message_size,
            scanner=Scanner("checkv2", pool.score, policies, journal),
            explainer=Scanner("scan", pool.explain, policies, journal),
            teaching=_teaching(settings, said.trainer, "http") if said.learn_token_file else None,
            token=_token(settings, "http", "token_file"),
            learn_token=_token(settings, "http", "learn_token_file"),
        ).app(),
        said,
    )
    await door.start(sockets)
    ready()
    await _leave([door], stopped, left, settings.process.drain_s)
    await journal.close()
    await pool.close()


class Door(Protocol):
    """What listens, in a listener process."""

    async def drain(self, within_s: float) -> None:
        """A new generation serves: let nobody in any more, and return when the last has left."""

    async def stop(self, grace_s: float) -> None:
        """Say so, finish what is in our hands, for so long, and cut what is left."""


async def _leave(
    doors: Sequence[Door], stopped: asyncio.Future[None], left: asyncio.Future[None], drain_s: float
) -> None:
    """Until asked to stop, or until a new generation has our place and the last session has ended."""
    await asyncio.wait((stopped, left), return_when=asyncio.FIRST_COMPLETED)
    if not stopped.done():
        draining = asyncio.gather(*(door.drain(drain_s) for door in doors))
        await asyncio.wait((stopped, draining), return_when=asyncio.FIRST_COMPLETED)
    await asyncio.gather(*(door.stop(_GRACE_S) for door in doors))


def _run_admin(settings: Settings, where: Places, ready: Ready, web: _Sockets, metrics: _Sockets) -> None:
    _run_loop(_admin(settings, where, ready, web, metrics))


async def _admin(settings: Settings, where: Places, ready: Ready, web: _Sockets, metrics: _Sockets) -> None:
    from gateway.mailboxes import make_learn
    from gateway.net.journal import serve_journal
    from gateway.reputation import prune_now_and_then
    from gateway.rules.reader import read as read_rules
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.counters import SqlCounters
    from gateway.stores.dmarc_feedback import SqlDmarcFeedback
    from gateway.stores.engine import make_engine
    from gateway.stores.ledger import SqlLedger
    from gateway.stores.message_log import SqlMessageLog
    from gateway.web import create_app
    from gateway.web.health import DnsState, health_app

    stopped = _on_signal(signal.SIGTERM)
    engine = make_engine(settings.storage.database)
    message_log, quarantine = SqlMessageLog(engine), _quarantine(settings)
    feedback = SqlDmarcFeedback(engine, settings.dmarc.keep_days)

    journal = await serve_journal(where.journal, lambda rows: keep_rows(rows, message_log.append, feedback.add))
    ledger = SqlLedger(engine)
    teacher, publisher = make_teacher(settings, ledger), make_publisher(settings, ledger)
    learning = None if publisher is None else publisher.state
    tasks = [
        asyncio.create_task(prune_now_and_then(SqlCounters(engine))),
        *([asyncio.create_task(publisher.run())] if publisher is not None else []),
    ]
    next_hops = _next_hops(settings)
    pages = create_app(
        quarantine=quarantine,
        accounts=SqlAccounts(engine),
        message_log=message_log,
        ledger=ledger,
        review=make_review(settings, _releaser(settings, next_hops, quarantine), quarantine, teacher, publisher),
        learning=learning,
        why=_why(settings, where),
        settings=settings.web,
        hostname=settings.hostname,
        translations=read_rules(rule_paths(settings)).translations,
    )
    dns = DnsState()
    tasks.append(asyncio.create_task(_watch_dns(settings, dns)))
    servers = [
        await _serve_http(pages, web),
        await _serve_http(health_app(where.processes, quarantine, dns, learning), metrics),
    ]
    watches = make_watches(settings, where, make_learn(teacher, message_log, settings.hostname))
    for watch in watches:
        watch.start()
    ready()
    await stopped
    for watch in watches:
        watch.stop()
    for task in tasks:
        task.cancel()
    for stop in servers:
        await stop()
    journal.close()
    await next_hops.close()


async def keep_rows(
    rows: Sequence[JournalRow],
    to_message_log: Callable[[Sequence[LogRow]], None],
    to_dmarc: Callable[[Sequence[DmarcRow]], None],
) -> None:
    """Store what listeners say of messages. A message log that is down is tried until it is up: what comes meanwhile
    waits with the listeners, who count what finds no room there."""
    from gateway.errors import StoreError

    while True:
        try:
            await asyncio.to_thread(to_message_log, [row for row in rows if isinstance(row, LogRow)])
            break
        except StoreError as error:
            log.warning("message log down", error=str(error))
            await asyncio.sleep(_LOG_AGAIN_S)
    try:
        await asyncio.to_thread(to_dmarc, [row for row in rows if isinstance(row, DmarcRow)])
    except StoreError as error:
        log.warning("messages are missing in DMARC reports", error=str(error))


async def _watch_dns(settings: Settings, state: DnsState) -> None:
    """Ask the nameservers and the lists' test entries, for ever: what the alerts look at."""
    from gateway.checks.dns_list import DnsLists
    from gateway.config.dns_lists import dns_lists
    from gateway.net.dns import CachingResolver

    dns = settings.dns
    resolver = CachingResolver(dns.nameservers, dns.timeout_s, dns.cache)
    lists = DnsLists(dns_lists(settings.dns_list), resolver)
    state.lists = lists.states()
    while True:
        state.is_up = await resolver.is_answering()
        if state.is_up:  # a DNS that is away says nothing about the lists
            await lists.test_when_due()
            state.lists = lists.states()
        await asyncio.sleep(_DNS_WATCH_S)


# --- pieces -----------------------------------------------------------------------------------------------------------


def _next_hops(settings: Settings) -> NextHops:
    """The servers behind us, with a resolver of their own."""
    from gateway.net.dns import CachingResolver
    from gateway.net.next_hop import NextHops

    dns = settings.dns
    return NextHops(settings.hostname, CachingResolver(dns.nameservers, dns.timeout_s, dns.cache))


def _quarantine(settings: Settings, answer_within_s: float | None = None) -> Any:
    from gateway.stores.blobs import FileBlobs
    from gateway.stores.engine import make_engine
    from gateway.stores.quarantine import SqlQuarantine

    engine = make_engine(settings.storage.database, answer_within_s)
    return SqlQuarantine(engine, FileBlobs(settings.storage.blobs))


def _releaser(settings: Settings, next_hops: Any, quarantine: Any) -> Releaser:
    from gateway.service import Releaser
    from gateway.stores.counters import SqlCounters
    from gateway.stores.engine import make_engine

    return Releaser(
        policies=domain_policies(settings),
        next_hop=next_hops.get,
        quarantine=quarantine,
        hostname=settings.hostname,
        reputation=_reputation(settings, SqlCounters(make_engine(settings.storage.database))),
        sealer=make_sealer(settings),
    )


def _why(settings: Settings, where: Places) -> Callable[[HeldMessage, bytes], Awaitable[dict[str, Any]]]:
    """What would have had a held message delivered: the scorers are asked, as they are now."""
    from gateway.errors import ScorerError
    from gateway.scan.why import Why
    from gateway.service import held_envelope

    policies, asking = domain_policies(settings), Why(where.scorers, settings.limits.scan_s)

    async def why(held: HeldMessage, content: bytes) -> dict[str, Any]:
        policy = policies.policy(held.domain)
        if policy is None:
            raise ScorerError(f"{held.domain} is no domain of ours any more")
        envelope = held_envelope(held, settings.hostname)
        return await asking.ask(envelope, content, held.verdict_json, policy)

    return why


def _admission(settings: Settings, service: Gateway, policies: ConfiguredDomains, journal: JournalSender) -> Admission:
    from gateway.admission import Admission
    from gateway.net.dns import CachingResolver

    dns = settings.dns
    resolver = CachingResolver(dns.nameservers, dns.timeout_s, dns.cache)
    return Admission(
        service,
        policies=policies,
        journal=journal,
        resolver=resolver,
        defence=settings.defence,
        hostname=settings.hostname,
        trusted=settings.reputation.trusted_networks,
        lists=_lists_at_rcpt(settings, resolver),
    )


def _lists_at_rcpt(settings: Settings, resolver: CachingResolver) -> Lists | None:
    """Those of [[dns_list]] with at_rcpt, and the allow lists beside them; None without any."""
    from gateway.admission import Lists
    from gateway.config.dns_lists import dns_lists

    specs = [one for one in dns_lists(settings.dns_list) if "client" in one.asked]
    if not any(one.at_rcpt for one in specs):
        return None
    from gateway.checks.dns_list import DnsLists  # some megabytes, for those who use it

    asked = [one for one in specs if one.at_rcpt or one.kind == "allow"]
    answers = {finding: one.at_rcpt or "allow" for one in asked for finding in one.findings}
    return Lists(DnsLists(asked, resolver), answers)


def _reputation(settings: Settings, counters: Counters) -> Reputation:
    from gateway.policy.greylist import Delays
    from gateway.policy.rates import Limits
    from gateway.reputation import Reputation, load_secret

    said, hourly = settings.reputation, settings.rates
    return Reputation(
        counters,
        load_secret(places(settings).secret),
        trusted=said.trusted_networks,
        limits=Limits(hourly.messages, hourly.recipients, hourly.unknown_recipients, hourly.domain_messages),
        delays=Delays(said.greylist_wait_s, said.greylist_window_s),
        domains_quiet_s=said.domains_quiet_s,
    )


def learning_caps(settings: Settings) -> Caps:
    """[learning]'s."""
    from gateway.classify.online import Caps

    said = settings.learning
    return Caps(said.lesson_cap, said.trainer_day_cap, said.trainer_cap, said.day_cap)


def make_teacher(settings: Settings, ledger: TrainingLedger) -> Teacher:
    """Who writes lessons, for every door people teach through."""
    from gateway.learning import Teacher

    return Teacher(ledger, settings.learning.daily_lessons)


def _teaching(settings: Settings, trainer: str, via: Via) -> Teaching:
    from gateway.listeners.teaching import Teaching
    from gateway.stores.engine import make_engine
    from gateway.stores.ledger import SqlLedger

    ledger = SqlLedger(make_engine(settings.storage.database))
    return Teaching(make_teacher(settings, ledger), ledger, settings.hostname, trainer, via)


def _token(settings: Settings, table: str, option: str) -> bytes:
    """b"" where none is wanted. Raises ConfigError."""
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
        teacher=teacher,
        reputation=_reputation(settings, SqlCounters(make_engine(settings.storage.database))),
        hostname=settings.hostname,
        is_spent=publisher.is_spent if publisher is not None else lambda _: False,
    )


def make_watches(settings: Settings, where: Places, learn: Learn) -> list[MailboxWatch]:
    """Who looks into the mailboxes of [[learning.imap]]. Raises ConfigError."""
    from gateway.mailboxes import MailboxWatch, Watched

    return [
        MailboxWatch(
            Watched(
                server=_imap_server(one),
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


def _imap_server(said: LearningImap) -> Server:
    from gateway.config.load import read_secret
    from gateway.errors import ConfigError
    from gateway.net.imap import Server

    host, _, port = said.server.rpartition(":")
    try:
        password = read_secret(said.password_file).decode().strip("\r\n")
    except ValueError as error:
        raise ConfigError(f"[[learning.imap]] password_file: {said.password_file}: {error}") from None
    return Server(host.strip("[]"), int(port), said.tls, password, said.master, said.ca)


def make_publisher(settings: Settings, ledger: TrainingLedger) -> Publisher | None:
    """Who makes the online model; None when [learning] is off. Raises ConfigError."""
    from gateway.learning import Publisher

    if not settings.learning.enabled:
        return None
    return Publisher(ledger, load_model(settings), learning_caps(settings), places(settings).model)


def open_ledger(settings: Settings) -> Any:
    """The training ledger, for the command line."""
    from gateway.stores.engine import make_engine, migrate
    from gateway.stores.ledger import SqlLedger

    migrate(settings.storage.database)
    return SqlLedger(make_engine(settings.storage.database))


def open_quarantine(settings: Settings) -> Any:
    """The quarantine, for the command line."""
    from gateway.stores.engine import migrate

    migrate(settings.storage.database)
    return _quarantine(settings)


def open_message_log(settings: Settings) -> Any:
    """The message log, for the command line."""
    from gateway.stores.engine import make_engine, migrate
    from gateway.stores.message_log import SqlMessageLog

    migrate(settings.storage.database)
    return SqlMessageLog(make_engine(settings.storage.database))


def open_accounts(settings: Settings) -> Any:
    """The accounts, for the command line."""
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.engine import make_engine, migrate

    migrate(settings.storage.database)
    return SqlAccounts(make_engine(settings.storage.database))


@contextlib.asynccontextmanager
async def open_review(settings: Settings) -> AsyncIterator[Review]:
    """What carries out a person's decisions, for the command line."""
    ledger, quarantine = open_ledger(settings), _quarantine(settings)
    next_hops = _next_hops(settings)
    try:
        releaser = _releaser(settings, next_hops, quarantine)
        yield make_review(settings, releaser, quarantine, make_teacher(settings, ledger))
    finally:
        await next_hops.close()


@contextlib.asynccontextmanager
async def open_dmarc_reports(
    settings: Settings, *, is_sending: bool
) -> AsyncIterator[tuple[DmarcReports, DmarcSender | None]]:
    """What makes DMARC reports, and what sends them, for the command line."""
    from gateway import __version__
    from gateway.auth.dmarc_report import Reporter
    from gateway.digest.dmarc import DmarcReports, DmarcSender
    from gateway.net.dns import CachingResolver
    from gateway.net.next_hop import make_next_hop
    from gateway.stores.dmarc_feedback import SqlDmarcFeedback
    from gateway.stores.engine import make_engine, migrate

    asked, dns = settings.dmarc, settings.dns
    migrate(settings.storage.database)
    store = SqlDmarcFeedback(make_engine(settings.storage.database), asked.keep_days)
    organisation = asked.report_organisation or asked.report_from.rpartition("@")[2]
    reporter = Reporter(
        asked.report_from, organisation, asked.report_contact, settings.hostname, f"Darban {__version__}"
    )
    reports = DmarcReports(store, reporter)
    if not is_sending:
        yield reports, None
        return
    relay = make_next_hop(asked.report_relay, settings.hostname)
    resolver = CachingResolver(dns.nameservers, dns.timeout_s, dns.cache)
    try:
        yield reports, DmarcSender(store, reporter, resolver, relay)
    finally:
        await relay.close()
        await resolver.close()


def _run_loop(main: Coroutine[Any, Any, None]) -> None:
    import uvloop

    uvloop.run(main)


def _on_signal(number: signal.Signals) -> asyncio.Future[None]:
    """Done when it comes."""
    loop = asyncio.get_running_loop()
    came: asyncio.Future[None] = loop.create_future()

    def come() -> None:
        if not came.done():
            came.set_result(None)

    loop.add_signal_handler(number, come)
    return came


async def _serve_http(app: Any, sockets: _Sockets) -> Callable[[], Awaitable[None]]:
    """uvicorn inside our loop, signals left to us; returns the function that stops it."""
    import uvicorn

    server = uvicorn.Server(
        uvicorn.Config(
            app, log_level="warning", access_log=False, lifespan="on", server_header=False, proxy_headers=False
        )
    )
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    task = asyncio.create_task(server._serve(list(sockets)))
    while not server.started and not task.done():
        await asyncio.sleep(0.01)

    async def stop() -> None:
        server.should_exit = True
        await task

    return stop


def _prepare_metrics(run: Path) -> None:
    """prometheus-client reads this variable when it is imported: one folder of counters for all processes.

    In memory where there is such a place: the counters are files mapped into memory, and a process that adds one while
    the disk is full is ended by SIGBUS.
    """
    folder = _MEMORY / f"darban-{hashlib.sha256(bytes(run.resolve())).hexdigest()[:16]}"
    try:
        _make_afresh(folder)
    except OSError:
        folder = run / "metrics"
        _make_afresh(folder)
    os.environ["PROMETHEUS_MULTIPROC_DIR"] = str(folder)
    from prometheus_client import values

    # it asks the system for the process at each count, some fifty times a message; a fork is the only time it changes
    process = [os.getpid()]
    os.register_at_fork(after_in_child=lambda: process.__setitem__(0, os.getpid()))
    values.ValueClass = values.MultiProcessValue(lambda: process[0])  # type: ignore[no-untyped-call]


def _make_afresh(folder: Path) -> None:
    shutil.rmtree(folder, ignore_errors=True)
    folder.mkdir(mode=0o700)


def demo_command(program: str, config: Path | None) -> str:
    """What to type for this gateway's demonstration; `make run` leaves no `darban` on the PATH."""
    darban = program if Path(program).name == "darban" else "darban"
    return f"{darban} demo --config {config}" if config else f"{darban} demo"


def _greet(settings: Settings, config: Path | None) -> None:
    """Where to go, the first admin's link, and a message to try."""
    from gateway.errors import StoreError
    from gateway.stores.accounts import SqlAccounts
    from gateway.stores.engine import make_engine

    accounts = SqlAccounts(make_engine(settings.storage.database))
    doors = [*settings.smtp.listen, *([f"{settings.milter.listen} (milter)"] if settings.milter.listen else [])]
    lines = [
        "Darban stands at the door.",
        f"  mail     {', '.join(doors)}   for {', '.join(d.name for d in settings.domain)}",
        f"  review   http://{settings.web.listen}/",
        f"  metrics  http://{settings.metrics.listen}/metrics",
        *([f"  http     http://{settings.http.listen}/scan, /checkv2"] if settings.http.listen else []),
        *([f"  spamd    {settings.spamd.listen}"] if settings.spamd.listen else []),
    ]
    try:
        if not accounts.has_admin():
            lines.append(
                f"  first admin (this link works once): http://{settings.web.listen}/setup/{accounts.new_setup_token()}"
            )
    except StoreError as error:  # a full disk: mail flows, and the next start tells it
        lines.append(f"  no link for a first admin now: {error}")
    for smtp in settings.smtp.listen[:1]:
        lines += [
            "Send it a message:",
            f"  swaks --server {smtp} --from sara@example.org --to you@{settings.domain[0].name} "
            "--header 'Subject: hello'",
            f"or all the samples:\n  {demo_command(sys.argv[0], config)}",
        ]
    sys.stdout.write("\n".join(lines) + "\n")
    sys.stdout.flush()
