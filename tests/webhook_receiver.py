"""A webhook as its owner would write it: an HTTP server of its own that checks signatures and keeps what it took."""

from __future__ import annotations

import base64
import hashlib
import hmac
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer

KEY = bytes(range(32))
SECRET = "whsec_" + base64.b64encode(KEY).decode()
_TOLERANCE_S = 300


@dataclass
class Receiver:
    """`answers`: what the next posts are answered with, 200 when there are none."""

    port: int = 0
    answers: list[int] = field(default_factory=list)
    fields: dict[str, str] = field(default_factory=dict)
    seen: list[tuple[str, dict]] = field(default_factory=list)  # id and body of every post, refused ones too
    taken: list[tuple[str, dict]] = field(default_factory=list)
    faults: list[str] = field(default_factory=list)

    @property
    def url(self) -> str:
        return f"http://127.0.0.1:{self.port}/darban"

    def of(self, kind: str) -> list[dict]:
        """What was taken of a type, each once."""
        return list({one["id"]: one for _, one in self.taken if one["type"] == kind}.values())


def is_signed(fields: dict[str, str], body: bytes) -> bool:
    """As the Standard Webhooks specification has it, written from that alone."""
    if abs(time.time() - int(fields["webhook-timestamp"])) > _TOLERANCE_S:
        return False
    signed = f"{fields['webhook-id']}.{fields['webhook-timestamp']}.".encode() + body
    wanted = base64.b64encode(hmac.new(KEY, signed, hashlib.sha256).digest()).decode()
    return any(hmac.compare_digest(one, f"v1,{wanted}") for one in fields["webhook-signature"].split())


@contextmanager
def receiver() -> Iterator[Receiver]:
    made = Receiver()

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            body = self.rfile.read(int(self.headers["content-length"]))
            fields = {name.lower(): value for name, value in self.headers.items()}
            event = json.loads(body)
            if not is_signed(fields, body) or event["id"] != fields["webhook-id"]:
                made.faults.append(f"not signed: {body!r}")
            made.seen.append((event["id"], event))
            status = made.answers.pop(0) if made.answers else 200
            if status < 300:
                made.taken.append((event["id"], event))
            self.send_response(status)
            for name, value in made.fields.items():
                self.send_header(name, value)
            self.send_header("Content-Length", "2")
            self.end_headers()
            self.wfile.write(b"ok")

        def log_message(self, *_: object) -> None:
            return

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    server.daemon_threads = True
    made.port = server.server_address[1]
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield made
    finally:
        server.shutdown()
        server.server_close()
