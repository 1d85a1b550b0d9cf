"""What a dialogue cannot say: TLS, clients that go away, idle ones, too many, and the end of the gateway."""

from __future__ import annotations

import asyncio
import datetime
import socket
import ssl
import struct
import time
from pathlib import Path

import pytest
from cryptography import x509
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.x509.oid import NameOID
from structlog.testing import capture_logs

from gateway.config.settings import Smtp
from gateway.errors import ConfigError
from gateway.listeners import smtp
from gateway.policy.tally import Tally
from gateway.types import Outcome, Reply
from tests.smtp_dialogue import ACCEPTED, RecordingService, Talker, listening


@pytest.fixture(scope="module")
def certificate(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """Settings that offer STARTTLS."""
    folder = tmp_path_factory.mktemp("tls")
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "mx.darban.test")])
    now = datetime.datetime.now(datetime.UTC)
    made = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(1)
        .not_valid_before(now - datetime.timedelta(days=1))
        .not_valid_after(now + datetime.timedelta(days=1))
        .sign(key, hashes.SHA256())
    )
    (folder / "cert.pem").write_bytes(made.public_bytes(serialization.Encoding.PEM))
    (folder / "key.pem").write_bytes(
        key.private_bytes(serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption())
    )
    return {"tls_certificate": str(folder / "cert.pem"), "tls_key": str(folder / "key.pem")}


def trusting() -> ssl.SSLContext:
    context = ssl.create_default_context()
    context.check_hostname = False
    context.verify_mode = ssl.CERT_NONE
    return context


async def upgraded(port: int, *, said_early: bytes = b"") -> Talker:
    """After STARTTLS, whatever was said behind it in the clear."""
    talker = await Talker.connect(port)
    await talker.hear()
    assert "250-STARTTLS" in [line[:12] for line in (await talker.ask("EHLO client.example"), *talker.last)]
    await talker.send(b"STARTTLS\r\n" + said_early)
    assert (await talker.hear()).startswith("220 ")
    await talker.writer.start_tls(trusting(), server_hostname="mx.darban.test")
    return talker


# --- STARTTLS -----------------------------------------------------------------------------------------------------


async def test_mail_under_tls_says_so(certificate: dict[str, str]) -> None:
    service = RecordingService()
    async with listening(service, **certificate) as (_, port):
        talker = await upgraded(port)
        await talker.ask("EHLO client.example")
        assert not any("STARTTLS" in line for line in talker.last)
        for command in ("MAIL FROM:<sara@example.org>", "RCPT TO:<you@darban.test>", "DATA"):
            await talker.ask(command)
        await talker.send(b"a\r\n.\r\n")
        assert (await talker.hear()).startswith("250")
        assert await talker.ask("STARTTLS") == "502 5.5.1 TLS is not offered"
    ((envelope, content),) = service.received
    assert content == b"a\r\n"
    assert envelope.client.protocol == "ESMTPS"
    assert envelope.client.tls.startswith("TLSv1.")


async def test_what_was_said_in_the_clear_before_tls_is_forgotten(certificate: dict[str, str]) -> None:
    """RFC 3207 §4.2 and CVE-2011-0411: a man in the middle adds commands behind STARTTLS."""
    service = RecordingService()
    async with listening(service, **certificate) as (_, port):
        injected = b"EHLO evil.example\r\nMAIL FROM:<evil@example.org>\r\nRCPT TO:<you@darban.test>\r\n"
        talker = await upgraded(port, said_early=injected)
        assert (await talker.ask("DATA")).startswith("503 5.5.1")
        assert (await talker.ask("EHLO client.example")).startswith("250")
        assert (await talker.ask("DATA")).startswith("503 5.5.1")
    assert service.clients == []


async def test_a_transaction_ends_with_tls(certificate: dict[str, str]) -> None:
    async with listening(RecordingService(), **certificate) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        await talker.ask("EHLO client.example")
        await talker.ask("MAIL FROM:<sara@example.org>")
        assert (await talker.ask("STARTTLS")).startswith("220")
        await talker.writer.start_tls(trusting(), server_hostname="mx.darban.test")
        assert (await talker.ask("EHLO client.example")).startswith("250")
        assert (await talker.ask("RCPT TO:<you@darban.test>")).startswith("503")


@pytest.mark.parametrize("said", [b"EHLO client.example\r\n", b"\x16\x03\x01\x00\x05junk!", b"\x16"])
async def test_a_handshake_that_fails_leaves_no_session_behind(certificate: dict[str, str], said: bytes) -> None:
    async with listening(RecordingService(), **certificate) as (server, port):
        talker = await Talker.connect(port)
        await talker.hear()
        await talker.ask("EHLO client.example")
        (session,) = server.sessions
        await talker.ask("STARTTLS")
        await talker.send(said)
        talker.writer.write_eof()
        async with asyncio.timeout(5):
            while await talker.reader.read(1000):
                pass
            while server.sessions:
                await asyncio.sleep(0.01)
        assert session._timeout_handle is not None
        assert session._timeout_handle.cancelled()  # or it would speak to a closed connection


@pytest.mark.parametrize("content", ["", "no certificate"])
async def test_a_certificate_that_cannot_be_used_is_named(tmp_path: Path, content: str) -> None:
    wrong = tmp_path / "cert.pem"
    if content:
        wrong.write_text(content)
    with pytest.raises(ConfigError, match=r"\[smtp\] tls_certificate .*cert\.pem: "):
        await smtp.serve(Smtp(tls_certificate=str(wrong), tls_key=str(wrong)), "mx", RecordingService(), [])


async def test_what_was_forgotten_is_told(certificate: dict[str, str]) -> None:
    with capture_logs() as told:
        async with listening(RecordingService(), **certificate) as (_, port):
            talker = await upgraded(port, said_early=b"NOOP\r\n")
            assert (await talker.ask("EHLO client.example")).startswith("250")
            quiet = await upgraded(port)
            assert (await quiet.ask("EHLO client.example")).startswith("250")
    assert [one["octets"] for one in told if "forgot" in one["event"]] == [6]


async def test_auth_is_not_offered_under_tls(certificate: dict[str, str]) -> None:
    async with listening(RecordingService(), **certificate) as (_, port):
        talker = await upgraded(port)
        await talker.ask("EHLO client.example")
        assert not any("AUTH" in line for line in talker.last)
        assert (await talker.ask("AUTH PLAIN AGEAYg==")).startswith("502")


# --- clients that go away ---------------------------------------------------------------------------------------------


@pytest.mark.parametrize("said", [b"", b"Subject: a\r\n", b"Subject: a\r\n\r\nb\r\n.", b"Subject: a\r\n\r\nb\r\n.\r"])
async def test_a_message_without_its_end_is_not_taken(said: bytes) -> None:
    service = RecordingService()
    async with listening(service) as (server, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        await talker.send(said)
        talker.close()
        async with asyncio.timeout(5):
            while server.sessions:
                await asyncio.sleep(0.01)
    assert service.received == []


@pytest.mark.parametrize("is_reset", [False, True])
async def test_a_message_in_our_hands_is_finished_when_the_client_goes_away(is_reset: bool) -> None:
    service = RecordingService(hold_back=asyncio.Event())
    async with listening(service) as (server, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        await talker.send(b"a\r\n.\r\n")
        await asyncio.wait_for(service.entered.wait(), 5)
        if is_reset:
            door = talker.writer.get_extra_info("socket")
            door.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        talker.writer.transport.abort()
        async with asyncio.timeout(5):
            while is_reset and server.sessions:
                await asyncio.sleep(0.01)
        assert len(server.accepting) == 1
        assert service.hold_back is not None
        service.hold_back.set()
        async with asyncio.timeout(5):
            while server.accepting:
                await asyncio.sleep(0.01)
    assert [content for _, content in service.received] == [b"a\r\n"]


async def test_a_client_that_says_no_more_still_hears_the_answer() -> None:
    service = RecordingService()
    async with listening(service) as (_, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        await talker.send(b"a\r\n.\r\n")
        talker.writer.write_eof()
        assert (await talker.hear()).startswith("250")
        assert await talker.hear() == "closed"
    assert len(service.received) == 1


# --- limits -----------------------------------------------------------------------------------------------------------


async def test_an_idle_client_hears_421() -> None:
    async with listening(RecordingService(), timeout_s=1) as (_, port):
        talker = await Talker.connect(port)
        assert (await talker.hear()).startswith("220")
        assert (await talker.hear()).startswith("421 4.4.2")
        assert await talker.hear() == "closed"


async def test_a_client_that_never_reads_loses_the_connection(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_LINGER_S", 0.1)
    async with listening(RecordingService(), timeout_s=1) as (server, port):
        talker = await Talker.connect(port)
        talker.writer.transport.pause_reading()
        talker.writer.write(b"HELP\r\n" * 2_000_000)
        async with asyncio.timeout(30):
            while not server.sessions:
                await asyncio.sleep(0.01)
            while server.sessions:
                await asyncio.sleep(0.05)
        talker.writer.transport.abort()


async def test_data_has_a_time_limit_however_busy_the_client_is() -> None:
    async with listening(RecordingService(), data_timeout_s=1) as (_, port):
        talker = await Talker.connect(port)
        await talker.transaction()

        async def drip() -> None:
            while True:
                await talker.send(b"x\r\n")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await talker.hear()).startswith("421 4.4.2")
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


async def test_a_command_line_in_pieces_has_one_time_limit() -> None:
    """An octet now and then keeps nobody here: timeout_s is for the whole line."""
    async with listening(RecordingService(), timeout_s=0.6) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        started = time.monotonic()

        async def drip() -> None:
            for octet in b"EHLO client.example" * 10:
                await talker.send(bytes([octet]))
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await talker.hear()).startswith("421 4.4.2")
        assert 0.5 < time.monotonic() - started < 2
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)


@pytest.mark.parametrize("is_chunk", [False, True])
async def test_content_slower_than_the_least_rate_is_cut_off(is_chunk: bool) -> None:
    """Each octet comes well within the idle limit; all of them together do not earn the time they take."""
    service = RecordingService()
    async with listening(service, timeout_s=0.5, min_data_rate=1000) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        for command in ("EHLO client.example", "MAIL FROM:<sara@example.org>", "RCPT TO:<you@darban.test>"):
            await talker.ask(command)
        if is_chunk:
            await talker.say("BDAT 5000 LAST")
        else:
            await talker.ask("DATA")
        started = time.monotonic()

        async def drip() -> None:
            while True:
                await talker.send(b"x")
                await asyncio.sleep(0.05)

        dripping = asyncio.create_task(drip())
        assert (await talker.hear()).startswith("421 4.4.2")
        assert 0.4 < time.monotonic() - started < 2
        assert service.refusals == ["content came too slowly"]
        dripping.cancel()
        await asyncio.gather(dripping, return_exceptions=True)
    assert service.received == []


async def test_content_at_the_least_rate_is_taken() -> None:
    service = RecordingService()
    async with listening(service, timeout_s=0.3, min_data_rate=1000) as (_, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        for _ in range(12):  # longer than timeout_s in all
            await talker.send(b"x" * 198 + b"\r\n")
            await asyncio.sleep(0.08)
        await talker.send(b".\r\n")
        assert (await talker.hear()).startswith("250")
    assert len(service.received[0][1]) == 2400


async def test_many_chunks_have_one_time_limit() -> None:
    async with listening(RecordingService(), data_timeout_s=0.5, max_idle_commands=10_000) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        for command in ("EHLO client.example", "MAIL FROM:<sara@example.org>", "RCPT TO:<you@darban.test>"):
            await talker.ask(command)
        heard = "250"
        started = time.monotonic()
        while heard.startswith("250") and time.monotonic() - started < 5:
            await talker.send(b"BDAT 1\r\nx")
            heard = await talker.hear()
            await asyncio.sleep(0.02)
        assert heard.startswith("421 4.4.2")


async def test_a_connection_has_an_end_however_busy() -> None:
    async with listening(RecordingService(), max_session_s=0.3) as (_, port):
        talker = await Talker.connect(port)
        await talker.hear()
        started = time.monotonic()
        while (heard := await talker.ask("NOOP")).startswith("250"):
            assert time.monotonic() - started < 5
            await asyncio.sleep(0.05)
        assert heard.startswith("421 4.4.2")
        assert await talker.hear() == "closed"


async def test_one_connection_too_many_hears_421() -> None:
    async with listening(RecordingService(), max_connections=1) as (_, port):
        first = await Talker.connect(port)
        assert (await first.hear()).startswith("220")
        second = await Talker.connect(port)
        assert (await second.hear()).startswith("421 4.7.0")
        assert await second.hear() == "closed"
        assert (await first.ask("QUIT")).startswith("221")
        assert await first.hear() == "closed"
        third = await Talker.connect(port)
        assert (await third.hear()).startswith("220")


async def test_the_limit_of_a_line_is_no_others() -> None:
    """aiosmtpd keeps it in the class, where each new connection resets it."""
    async with listening(RecordingService()) as (_, port):
        first = await Talker.connect(port)
        await first.hear()
        await first.ask("EHLO client.example")
        second = await Talker.connect(port)
        await second.hear()
        for talker in (first, second):
            assert (await talker.ask(f"NOOP {'x' * 2000}")).startswith("250")
            assert (await talker.ask(f"NOOP {'x' * 2050}")).startswith("500 5.5.2 Line too long")


async def test_little_patience_while_connections_are_scarce(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_SCARCE_TIMEOUT_S", 0.3)
    async with listening(RecordingService(), max_connections=10) as (_, port):
        early = [await Talker.connect(port) for _ in range(8)]
        for talker in early:
            await talker.hear()
        late = await Talker.connect(port)
        assert (await late.hear()).startswith("220")
        assert (await late.hear()).startswith("421 4.4.2")
        busy = await Talker.connect(port)
        await busy.transaction()  # content has its own time
        await asyncio.sleep(0.5)
        await busy.send(b"a\r\n.\r\n")
        assert (await busy.hear()).startswith("250")
        assert (await early[0].ask("NOOP")).startswith("250")


async def test_far_more_than_the_limit_ends_the_connection() -> None:
    service = RecordingService()
    async with listening(service, max_message_size=1024) as (server, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        with pytest.raises((ConnectionError, AssertionError)):
            for _ in range(100):
                await talker.send(b"x" * 65_536)
                await asyncio.sleep(0.001)
                assert server.sessions
    assert service.received == []


# --- what one client may do ---------------------------------------------------------------------------------------------


async def connect_from(ip: str, port: int) -> Talker:
    return Talker(*await asyncio.open_connection("127.0.0.1", port, local_addr=(ip, 0)))


async def greeting(port: int, ip: str = "127.0.5.1") -> tuple[Talker, str]:
    talker = await connect_from(ip, port)
    return talker, await talker.hear()


async def gone(server: smtp.Server) -> None:
    async with asyncio.timeout(5):
        while server.sessions:
            await asyncio.sleep(0.01)


async def test_connections_of_one_client_and_one_network() -> None:
    service = RecordingService()
    limits = {"connections_per_client": 2, "connections_per_network": 3}
    async with listening(service, limits) as (server, port):
        first, second = await greeting(port), await greeting(port)
        assert (await greeting(port))[1].startswith("421 4.7.0")
        assert (await greeting(port, "127.0.5.2"))[1].startswith("220")
        assert (await greeting(port, "127.0.5.3"))[1].startswith("421 4.7.0")
        assert (await greeting(port, "127.0.6.1"))[1].startswith("220")
        assert service.refusals == ["connection limit: client", "connection limit: network"]
        for talker, heard in (first, second):
            assert heard.startswith("220")
            talker.close()
        async with asyncio.timeout(5):
            while len(server.sessions) > 2:
                await asyncio.sleep(0.01)
        assert (await greeting(port))[1].startswith("220")


async def test_processes_count_their_connections_together() -> None:
    tally, service = Tally(2), RecordingService()
    limits = {"connections_per_client": 2}
    async with (
        listening(service, limits, tally.of(0), max_connections=4) as (one, port),
        listening(service, limits, tally.of(1), max_connections=4) as (other, other_port),
    ):
        asked = [(port, 5), (other_port, 5), (port, 5), (other_port, 6), (port, 7), (other_port, 8)]
        talkers = [await greeting(number, f"127.0.{net}.1") for number, net in asked]
        codes = [heard[:9] for _, heard in talkers]
        assert [code[:3] for code in codes] == ["220", "220", "421", "220", "220", "421"]
        assert one.door.taken == other.door.taken == 1
        for talker, _ in talkers:
            talker.close()
        await gone(one)
        await gone(other)
        assert one.door.taken == 0
        assert (await greeting(port))[1].startswith("220")


async def test_new_connections_in_a_minute() -> None:
    async with listening(RecordingService(), {"connects_per_client": 3, "connects_per_network": 5}) as (_, port):
        heard = [(await greeting(port, ip))[1][:3] for ip in ["127.0.5.1"] * 4 + ["127.0.5.2"] * 2]
        assert heard == ["220", "220", "220", "421", "220", "421"]


async def test_trusted_clients_are_not_limited() -> None:
    async with listening(RecordingService()) as (server, port):  # loopback is, by default
        server.connections._limits = smtp.ConnectionLimits(1, 1, 1, 1, 1)
        assert [(await greeting(port))[1][:3] for _ in range(3)] == ["220"] * 3


async def test_wrong_commands_close_the_door_to_their_network() -> None:
    async with listening(RecordingService(), {"errors_per_network": 5}) as (server, port):
        talker, _ = await greeting(port)
        for _ in range(6):
            await talker.ask("GARBAGE")
        talker.close()
        await gone(server)
        assert (await greeting(port, "127.0.5.9"))[1].startswith("421")
        assert (await greeting(port, "127.0.6.1"))[1].startswith("220")


async def test_a_harvest_is_stopped_sooner_each_time() -> None:
    gone_reply = Reply(550, "5.1.1", "No such mailbox")
    service = RecordingService(screened={f"r{number}@darban.test": gone_reply for number in range(20)})
    async with listening(service, {"max_refused_recipients": 8}) as (_, port):
        tried = []
        for _ in range(4):
            talker, _heard = await greeting(port)
            await talker.ask("EHLO client.example")
            await talker.ask("MAIL FROM:<sara@example.org>")
            tried.append(0)
            while (await talker.ask(f"RCPT TO:<r{tried[-1]}@darban.test>")).startswith("550"):
                tried[-1] += 1
            assert await talker.hear() == "closed"
    assert tried == [8, 4, 2, 2]


@pytest.mark.parametrize("is_doubtful", [True, False])
async def test_the_greeting_is_late_for_the_doubtful(is_doubtful: bool) -> None:
    async with listening(RecordingService(doubtful=is_doubtful), {"greeting_delay_s": 0.4}) as (_, port):
        started = time.monotonic()
        assert (await greeting(port))[1].startswith("220")
        assert (time.monotonic() - started > 0.35) is is_doubtful


async def test_who_goes_away_before_the_greeting_leaves_nothing_behind() -> None:
    async with listening(RecordingService(doubtful=True), {"greeting_delay_s": 5.0}) as (server, port):
        talker = await Talker.connect(port)
        async with asyncio.timeout(5):
            while not server.sessions:
                await asyncio.sleep(0.01)
        talker.close()
        await gone(server)
        assert not any(server.connections._open.own)


async def test_the_tarpit_is_bounded_and_holds_nobody_else(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(smtp, "_MAX_TARPITTED", 3)
    async with listening(RecordingService(), {"tarpit_s": 0.5}) as (server, port):
        talkers = [(await greeting(port))[0] for _ in range(8)]
        before = len(asyncio.all_tasks())
        started = time.monotonic()
        for talker in talkers:
            await talker.say("GARBAGE")

        async def heard_after(talker: Talker) -> float:
            assert (await talker.hear()).startswith("500")
            return time.monotonic() - started

        waited = sorted(await asyncio.gather(*(heard_after(one) for one in talkers)))
        assert [one > 0.45 for one in waited] == [False] * 5 + [True] * 3
        assert len(asyncio.all_tasks()) <= before
        assert server.tarpitted == 0


# --- the end ------------------------------------------------------------------------------------------------------------


async def test_stopping_tells_the_idle_and_finishes_the_busy() -> None:
    service = RecordingService(hold_back=asyncio.Event())
    async with listening(service) as (server, port):
        idle, busy = await Talker.connect(port), await Talker.connect(port)
        await idle.hear()
        await busy.transaction()
        await busy.send(b"a\r\n.\r\n")
        await asyncio.wait_for(service.entered.wait(), 5)
        stopping = asyncio.create_task(server.stop(5.0))
        assert (await idle.hear()).startswith("421 4.3.2")
        assert await idle.hear() == "closed"
        with pytest.raises(ConnectionError):
            await Talker.connect(port)
        assert service.hold_back is not None
        service.hold_back.set()
        assert (await busy.hear()).startswith("250")
        assert await busy.hear() == "421 4.3.2 Shutting down, please connect again"
        assert await busy.hear() == "closed"
        await asyncio.wait_for(stopping, 5)
    assert len(service.received) == 1


async def test_stopping_waits_no_longer_than_its_grace() -> None:
    service = RecordingService(hold_back=asyncio.Event())
    async with listening(service) as (server, port):
        talker = await Talker.connect(port)
        await talker.transaction()
        await talker.send(b"a\r\n.\r\n")
        await asyncio.wait_for(service.entered.wait(), 5)
        await asyncio.wait_for(server.stop(0.2), 5)
        assert await talker.hear() == "421 4.3.2 Shutting down, please connect again"
        assert await talker.hear() == "closed"  # no 250 was said: the client tries again
        for task in server.accepting:
            task.cancel()


async def test_two_hundred_at_once_each_get_their_own_answer() -> None:
    class Counting(RecordingService):
        async def receive(self, envelope, content):  # type: ignore[no-untyped-def]
            await asyncio.sleep(0)
            self.received.append((envelope, content))
            return Outcome(envelope.queue_id, Reply(250, "2.0.0", content.decode().strip()), (), None)

    service = Counting()

    async def one(port: int, number: int) -> str:
        talker = await Talker.connect(port)
        await talker.transaction(f"r{number}@darban.test")
        await talker.send(f"message {number}\r\n.\r\n".encode())
        heard = await talker.hear()
        talker.close()
        return heard

    async with listening(service) as (_, port):
        heard = await asyncio.gather(*(one(port, number) for number in range(200)))
    assert list(heard) == [f"250 2.0.0 message {number}" for number in range(200)]
    assert len({envelope.queue_id for envelope, _ in service.received}) == 200
    assert all(
        content.decode().split() == ["message", envelope.recipients[0].address[1:].partition("@")[0]]
        for envelope, content in service.received
    )
    assert ACCEPTED.code == 250
