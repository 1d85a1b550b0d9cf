"""The process that learns what the spamd door is told: it parses messages, which no listener does."""

from __future__ import annotations

import signal

from gateway.app.compose import make_budget, make_teaching
from gateway.app.places import Places
from gateway.app.process import GRACE_S, on_signal
from gateway.config.settings import Settings
from gateway.supervisor import Ready


async def serve(settings: Settings, where: Places, ready: Ready) -> None:
    """Until told to stop."""
    from gateway.listeners import spamd
    from gateway.sockets import bind

    stopped = on_signal(signal.SIGTERM)
    teaching = make_teaching(settings, settings.spamd.trainer, "spamd")
    limit, budget = settings.smtp.max_message_size, make_budget(settings, where)
    door = spamd.Server(settings.spamd, settings.hostname, limit, None, teaching.tell, budget)
    await door.start([bind(f"unix:{where.learn}")])
    ready()
    await stopped
    await door.stop(GRACE_S)
