"""Invariant: whatever a client says, each reply is one, a session ends or goes on, and what was taken is in form."""

from __future__ import annotations

import asyncio
import re

from hypothesis import given, settings
from hypothesis import strategies as st

from tests.smtp_dialogue import RecordingService, listening

COMMANDS = st.sampled_from(
    [
        b"EHLO a.example\r\n", b"HELO b\r\n", b"MAIL FROM:<sara@example.org>\r\n", b"MAIL FROM:<> SIZE=10\r\n",
        b"RCPT TO:<you@darban.test>\r\n", b"RCPT TO:<a%b@darban.test>\r\n", b"DATA\r\n", b"Subject: a\r\n\r\nb\r\n.\r\n", b".\r\n",
        b"BDAT 5\r\nhello", b"BDAT 3 LAST\r\nxy\n", b"BDAT 0 LAST\r\n", b"BDAT x\r\n", b"RSET\r\n", b"NOOP\r\n", b"QUIT\r\n", b"\r\n",
        b"STARTTLS\r\n", b"AUTH PLAIN x\r\n", b"a\nb\r\n", b"\x00\xff\r\n", b"MAIL FROM:<\xd8\xb3@b.example> SMTPUTF8\r\n",
        b"GET / HTTP/1.1\r\n", b"x" * 3000 + b"\r\n", b"\r\n.\n", b"\n.\r\n",
    ]
)  # fmt: skip
REPLY = re.compile(rb"(?:[2-5][0-9]{2}-[ -~]*\r\n)*[2-5][0-9]{2} [ -~]*\r\n")


@settings(max_examples=150)
@given(st.lists(st.one_of(COMMANDS, COMMANDS, st.binary(max_size=20)), max_size=14), st.booleans(), st.integers(1, 80))
def test_any_session(said: list[bytes], is_patient: bool, size: int) -> None:
    service = RecordingService()

    async def go() -> bytes:
        policy = "note" if is_patient else "refuse"
        async with listening(service, {"max_refused_recipients": 2}, too_early=policy, max_message_size=64) as (
            server,
            port,
        ):
            reader, writer = await asyncio.open_connection("127.0.0.1", port)
            data = b"".join(said)
            try:
                for start in range(0, len(data), size):
                    writer.write(data[start : start + size])
                    await writer.drain()
                writer.write_eof()
                async with asyncio.timeout(10):
                    heard = await reader.read()
            except ConnectionError:
                heard = b""
            writer.close()
            async with asyncio.timeout(10):
                while server.sessions:
                    await asyncio.sleep(0.001)
            assert server.connections._open.get("127.0.0.1") == 0
            return heard

    heard = asyncio.run(go())
    assert REPLY.sub(b"", heard) == b"", heard
    assert b"451" not in heard, heard  # a fault of ours
    for envelope, content in service.received:
        assert envelope.recipients
        assert not content or content.endswith(b"\r\n")
        bare = content.replace(b"\r\n", b"")
        assert b"\r" not in bare
        assert b"\n" not in bare
        assert b"\0" not in content
        assert len(content) <= 64 + 20
