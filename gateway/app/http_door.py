"""The process of the HTTP door."""

from __future__ import annotations

import signal

import structlog

from gateway.app.compose import domain_policies, make_budget, make_teaching, read_token
from gateway.app.places import Places, scorer_count
from gateway.app.process import SocketList, leave, on_signal
from gateway.config.settings import Settings
from gateway.supervisor import Ready

log = structlog.get_logger("darban")


async def serve(settings: Settings, where: Places, ready: Ready, sockets: SocketList) -> None:
    """Until told to stop, or replaced by a new generation."""
    from gateway.listeners import http
    from gateway.listeners.place import is_private
    from gateway.net.journal import JournalSender
    from gateway.scan.pool import ScorerPool
    from gateway.scanning import Scanner

    stopped, left = on_signal(signal.SIGTERM), on_signal(signal.SIGUSR1)
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
            make_budget(settings, where),
            scanner=Scanner("checkv2", pool.score, policies, journal),
            explainer=Scanner("scan", pool.explain, policies, journal),
            teaching=make_teaching(settings, said.trainer, "http") if said.learn_token_file else None,
            token=read_token(settings, "http", "token_file"),
            learn_token=read_token(settings, "http", "learn_token_file"),
        ).app(),
        said,
    )
    await door.start(sockets)
    ready()
    await leave([door], stopped, left, settings.process.drain_s)
    await journal.close()
    await pool.close()
