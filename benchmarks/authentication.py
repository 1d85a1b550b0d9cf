"""What it costs to know who sent a message: SPF, DKIM and DMARC with every answer of the DNS in the cache; one process.

    python -m benchmarks.authentication [--number 2000] [--passes 5] [--size 10240] [--out FILE]

CPU time of the process in microseconds for one message, parsed beforehand. The answers come from the gateway's
resolver, whose cache was filled from a DNS server of the tests before the clock started. An SPF record as large senders
have them (an include, three networks), a policy record, and a message of --size bytes signed with eight fields,
relaxed. The first pass is not counted; of the others the fastest counts for each method. `together` is SPF for both
identities, DKIM and DMARC in a row, as the gateway evaluates them; the target is 600.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import time
from collections.abc import Awaitable, Callable
from pathlib import Path

from benchmarks.machine import describe
from gateway.auth import dkim, dmarc, iprev, spf
from gateway.mail import parse
from gateway.net.dns import CachingResolver
from gateway.ports import Resolver
from gateway.types import AuthResult, Client, Envelope, Message, Recipient
from tests.dkim_keys import ed25519_record, rsa_record, sign, sign_by_hand
from tests.dns_server import DnsServer

NAMES = "from to subject date message-id mime-version content-type reply-to".split()
TARGET_US = 600
ENVELOPE = Envelope(
    "BENCHMARK", Client("192.0.2.1", helo="mx1.example.org"), "sara@example.org",
    (Recipient("you@darban.test", "darban.test"),), 0.0, "mx.darban.test",
)  # fmt: skip

Work = Callable[[], Awaitable[object]]


def zones() -> dict[str, object]:
    """What the sender publishes."""
    return {
        "example.org": {"TXT": ["v=spf1 include:_spf.mailer.example ~all"]},
        "_spf.mailer.example": {
            "TXT": ["v=spf1 ip4:198.51.100.0/24 ip4:203.0.113.0/24 ip4:192.0.2.0/25 ip6:2001:db8::/32 ~all"]
        },
        "mx1.example.org": {"TXT": ["v=spf1 a -all"], "A": ["192.0.2.1"]},
        "1.2.0.192.in-addr.arpa": {"PTR": ["mx1.example.org"]},
        "s1._domainkey.example.org": {"TXT": [rsa_record(2048)]},
        "ed._domainkey.example.org": {"TXT": [ed25519_record()]},
        "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject; rua=mailto:reports@example.org"]},
    }


def content(size: int, algorithm: str) -> bytes:
    """A signed plain message of about so many bytes."""
    head = (
        "From: Sara Lund <sara@example.org>\r\nTo: you@darban.test\r\nSubject: The minutes of the meeting\r\n"
        "Date: Mon, 21 Sep 2026 13:33:20 +0000\r\nMessage-ID: <1@example.org>\r\nMIME-Version: 1.0\r\n"
        "Content-Type: text/plain; charset=utf-8\r\nReply-To: sara@example.org\r\n\r\n"
    )
    line = "We went through the budget, line by line, and found it in order but for two.\r\n"
    whole = (head + line * (max(0, size - len(head) - 600) // len(line))).encode()
    if algorithm == "rsa-2048":
        return sign(
            whole, bits=2048, include_headers=[name.encode() for name in NAMES], canonicalize=(b"relaxed", b"relaxed")
        )
    tags = f"v=1; a=ed25519-sha256; c=relaxed/relaxed; d=example.org; s=ed; h={':'.join(NAMES)}; bh={{bh}}"
    return sign_by_hand(whole, tags, ed=True)


async def methods(message: Message, resolver: Resolver) -> dict[str, Work]:
    """Each method by itself, and all in a row. Ends the program when the message does not pass."""

    async def together() -> tuple[AuthResult, ...]:
        identities = spf.Evaluation(ENVELOPE, resolver)
        sender = await identities.explain(await identities.main())
        further = await identities.helo()
        signatures = await dkim.evaluate(message, resolver)
        sender, signatures, policy = await dmarc.evaluate(message, sender, signatures, resolver)
        return (sender, *further, *signatures, policy)

    results = await together()
    if [one.result for one in results] != ["pass"] * 4 or not all(one.is_aligned for one in (results[0], results[2])):
        raise SystemExit(f"the message should pass: {results}")
    sender, signature = results[0], results[2]
    return {
        "spf": lambda: spf.Evaluation(ENVELOPE, resolver).main(),
        "spf of HELO": lambda: spf.Evaluation(ENVELOPE, resolver).helo(),
        "dkim": lambda: dkim.evaluate(message, resolver),
        "dmarc": lambda: dmarc.evaluate(message, sender, (signature,), resolver),
        "together": together,
        "iprev": lambda: iprev.evaluate(ENVELOPE, resolver),
    }


async def measure(size: int, algorithm: str, number: int, passes: int) -> dict[str, object]:
    """CPU microseconds of each method."""
    whole = content(size, algorithm)
    with DnsServer(zones(), ttl_s=86_400) as server:  # type: ignore[arg-type]
        resolver = CachingResolver([server.address])
        works = await methods(parse(whole), resolver)
        await works["iprev"]()
        asked = len(server.queries)
        best = dict.fromkeys(works, float("inf"))
        for turn in range(passes + 1):
            for name, work in works.items():
                began = time.process_time_ns()
                for _ in range(number):
                    await work()
                if turn:
                    best[name] = min(best[name], (time.process_time_ns() - began) / 1000 / number)
        await resolver.close()
        if len(server.queries) != asked:
            raise SystemExit("the DNS was asked while the clock ran")
    return {"size_bytes": len(whole), "us": {name: round(value, 1) for name, value in best.items()}}


def main() -> None:
    """Print the figures, and write JSON where asked."""
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0] if __doc__ else "")
    parser.add_argument("--number", type=int, default=2000)
    parser.add_argument("--passes", type=int, default=5)
    parser.add_argument("--size", type=int, default=10_240)
    parser.add_argument("--out", default="", help="write the result as JSON")
    options = parser.parse_args()
    result = {
        "machine": describe(),
        "target_us": TARGET_US,
        **{
            algorithm: asyncio.run(measure(options.size, algorithm, options.number, options.passes))
            for algorithm in ("rsa-2048", "ed25519")
        },
    }
    text = json.dumps(result, indent=1)
    print(text)
    if options.out:
        Path(options.out).write_text(text + "\n")


if __name__ == "__main__":
    main()
