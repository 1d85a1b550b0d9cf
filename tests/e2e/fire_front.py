"""The mail server in front in the fault test: a real Postfix that asks us by milter, on a disk of its own.

It takes mail for every domain of the test and keeps it, for whomever it is, in one Maildir. What Darban holds it never
has. milter_default_action is Postfix's own: tempfail.
"""

from __future__ import annotations

import contextlib
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from tests.disk import Disk, disk
from tests.e2e import peers
from tests.e2e.fire_hop import examine

_DOMAINS = "a.test b.test l.test m.test p.test h.test r.test"
_MAIN = f"""\
virtual_mailbox_domains = {_DOMAINS}
virtual_mailbox_maps = static:all/Maildir/
smtpd_recipient_restrictions = check_recipient_access regexp:{{{{/^unknown/ REJECT}}}}, permit_mynetworks, reject
local_header_rewrite_clients =
message_drop_headers =
message_size_limit = 4000000
transport_retry_time = 1s
smtpd_error_sleep_time = 0
smtpd_soft_error_limit = 1000
smtpd_hard_error_limit = 1000
"""


class Front:
    """That Postfix, and its disk."""

    def __init__(self, postfix: peers.Postfix, disk: Disk) -> None:
        self.postfix, self.disk = postfix, disk

    def copies(self) -> Iterator[tuple[str, dict[str, Any]]]:
        """Recipient, and what the message says of itself."""
        for content in self.postfix.messages("all"):
            to = re.search(rb"^X-Original-To: (\S+)", content, re.MULTILINE)
            yield to[1].decode() if to else "", examine(content.replace(b"\n", b"\r\n"))


@contextlib.contextmanager
def front(folder: Path, milter_port: int) -> Iterator[Front]:
    """Needs root."""
    at = folder / "front"
    image = folder / "of-front"
    image.mkdir()
    with disk(image, at, 256) as own:
        with peers.postfix(users=(), milter=f"inet:127.0.0.1:{milter_port}", extra=_MAIN, place=at) as postfix:
            yield Front(postfix, own)
