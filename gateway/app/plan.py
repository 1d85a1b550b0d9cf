"""Settings -> the processes of a gateway, with the sockets that each of them serves."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from gateway.app import admin, http_door, learn_door, listener, scorers
from gateway.app.places import listener_count, places
from gateway.app.process import SocketList, run_loop
from gateway.config.settings import Settings
from gateway.policy.tally import Tally
from gateway.sockets import Sockets
from gateway.supervisor import ProcessSpec, Ready

_generations = itertools.count(1)


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

    def spec(name: str, run: Callable[[Ready], None], mine: SocketList = (), **place: Any) -> ProcessSpec:
        def start(ready: Ready) -> None:
            sockets.keep(mine)
            run(ready)

        return ProcessSpec(name, start, **place)

    drains = {"place": "door", "drain_s": settings.process.drain_s}

    tally = Tally(listeners)

    def listen(number: int, mine: listener.Doors) -> ProcessSpec:
        def run(ready: Ready) -> None:
            run_loop(listener.serve(settings, where, ready, mine, tally.of(number - 1)))

        return spec(f"listener-{number}", run, [*mine.smtp, *mine.milter, *mine.spamd], **drains)

    def learn(ready: Ready) -> None:
        run_loop(learn_door.serve(settings, where, ready))

    def answer_http(ready: Ready) -> None:
        run_loop(http_door.serve(settings, where, ready, http))

    def administer(ready: Ready) -> None:
        run_loop(admin.serve(settings, where, ready, web, metrics))

    shares = zip(
        sockets.share("smtp", settings.smtp.listen, listeners),
        sockets.share("milter", [settings.milter.listen] if settings.milter.listen else [], listeners),
        sockets.share("spamd", [settings.spamd.listen] if settings.spamd.listen else [], listeners),
        strict=True,
    )
    return [
        spec("scorers", lambda ready: scorers.run(settings, where, ready), place="behind"),
        spec("admin", administer, [*web, *metrics]),
        *([spec("door-learn", learn, place="behind")] * learns),
        *([spec("door-http", answer_http, http, **drains)] * asks_by_http),
        *(listen(number, listener.Doors(*mine)) for number, mine in enumerate(shares, 1)),
    ]
