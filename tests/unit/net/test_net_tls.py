"""TLS towards the next hop: what each mode demands, held against servers that offer, refuse and forge it."""

from __future__ import annotations

import base64
import hashlib
import ssl
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

import pytest

from gateway.errors import ConfigError
from gateway.net.dane import Tlsa, mismatch, read_tlsa
from gateway.net.next_hop import NextHops
from gateway.types import DnsAnswer, Reply
from tests import certificates
from tests.builders import envelope, recipient
from tests.certificates import Certificate
from tests.smtp_sink import EXTENSIONS, Sink, sink

YOU = recipient("you@darban.test")
CONTENT = b"Subject: a\r\n\r\nb\r\n"
HOST = "mail.behind.test"


@dataclass(frozen=True)
class World:
    folder: Path
    ca: Certificate
    right: Certificate
    expired: Certificate
    other_name: Certificate
    stranger: Certificate  # signed by an authority nobody knows


@pytest.fixture(scope="module")
def world(tmp_path_factory: pytest.TempPathFactory) -> World:
    folder = tmp_path_factory.mktemp("tls")
    root = certificates.authority(folder)
    middle = certificates.authority(folder, "Test Intermediate", root)
    return World(
        folder,
        root,
        certificates.signed(folder, middle, HOST),
        certificates.signed(folder, middle, HOST, is_expired=True),
        certificates.signed(folder, middle, "else.test"),
        certificates.signed(folder, certificates.authority(folder, "Nobody"), HOST),
    )


class Dns:
    """ports.Resolver over whole answers; no data for all others."""

    def __init__(self, answers: Mapping[tuple[str, str], DnsAnswer]) -> None:
        self.answers = answers

    async def query(self, name: str, rdtype: str) -> DnsAnswer:
        return self.answers.get((name, rdtype), DnsAnswer("nodata"))


async def delivered(behind: Sink, options: str, dns: Dns | None = None, host: str = "127.0.0.1") -> Reply:
    """What became of one message."""
    hops = NextHops("mx.darban.test", dns)
    try:
        hop = hops.get(f"smtp://{host}:{behind.port}{'?' if options else ''}{options}")
        return (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address]
    finally:
        await hops.close()


@pytest.mark.parametrize(
    ("options", "shown", "is_taken", "is_encrypted"),
    [
        ("", "right", True, True),
        ("", "stranger", True, True),
        ("", None, True, False),
        ("tls=none", "right", True, False),
        ("tls=required", "stranger", True, True),
        ("tls=required", None, False, False),
        ("tls=verify&ca=CA&name=mail.behind.test", "right", True, True),
        ("tls=verify&ca=CA&name=mail.behind.test", "other_name", False, True),
        ("tls=verify&ca=CA&name=mail.behind.test", "expired", False, True),
        ("tls=verify&ca=CA&name=mail.behind.test", "stranger", False, True),
        ("tls=verify&ca=CA&name=mail.behind.test", None, False, False),
        ("tls=verify&ca=CA", "right", False, True),  # 127.0.0.1 does not stand in it
        ("tls=verify&name=mail.behind.test", "right", False, True),  # the system does not know the authority
    ],
)
async def test_modes(world: World, options: str, shown: str | None, is_taken: bool, is_encrypted: bool) -> None:
    context = getattr(world, shown).server() if shown else None
    async with sink(tls=context) as behind:
        reply = await delivered(behind, options.replace("CA", str(world.ca.pem)))
    assert (reply.code, reply.enhanced) == ((250, "2.0.0") if is_taken else (451, "4.4.1"))
    assert behind.contents == ([CONTENT] if is_taken else [])
    if is_taken:
        assert behind.is_encrypted is is_encrypted


def broken(world: World) -> ssl.SSLContext:
    """A handshake with it always fails."""
    context = world.right.server()
    context.set_ciphers("PSK")
    context.maximum_version = ssl.TLSVersion.TLSv1_2
    return context


@pytest.mark.parametrize(
    ("options", "is_taken"), [("", True), ("tls=required", False), ("tls=verify&name=x.test", False)]
)
async def test_a_handshake_that_fails_leads_to_plain_text_on_a_fresh_connection_or_nowhere(
    world: World, options: str, is_taken: bool
) -> None:
    async with sink(tls=broken(world)) as behind:
        reply = await delivered(behind, options)
    assert reply.code == (250 if is_taken else 451)
    assert behind.contents == ([CONTENT] if is_taken else [])
    assert behind.connections == (2 if is_taken else 1)


@pytest.mark.parametrize("said", ["454 4.7.0 TLS not available", "500 what", "close"])
async def test_a_server_that_offers_tls_and_does_not_begin(world: World, said: str) -> None:
    async with sink(tls=world.right.server(), script={"STARTTLS": said}) as behind:
        assert (await delivered(behind, "")).code == 250
        assert (await delivered(behind, "tls=required")).code == 451


async def test_our_certificate_is_shown(world: World) -> None:
    context = world.right.server()
    context.verify_mode = ssl.CERT_REQUIRED
    context.load_verify_locations(world.ca.pem)
    ours = certificates.signed(world.folder, world.ca, "mx.darban.test")
    async with sink(tls=context) as behind:
        assert (await delivered(behind, "tls=required")).code == 451
        assert (await delivered(behind, f"tls=required&cert={ours.pem}&key={ours.key_pem}")).code == 250


@pytest.mark.parametrize(
    ("offered", "script", "said", "is_taken"),
    [
        (
            "AUTH PLAIN LOGIN",
            {"AUTH": "235 2.7.0 ok"},
            ["AUTH PLAIN " + base64.b64encode(b"\0me\0s3cret").decode()],
            True,
        ),
        (
            "AUTH LOGIN",
            {"AUTH": "334 a", "BWU=": "334 b", "CZNJCMV0": "235 ok"},
            ["AUTH LOGIN", "bWU=", "czNjcmV0"],
            True,
        ),
        ("AUTH PLAIN", {"AUTH": "535 5.7.8 no"}, [], False),
        ("SIZE", {"AUTH": "502 5.5.1 what"}, [], False),
    ],
)
async def test_signing_in(world: World, offered: str, script: dict[str, str], said: list[str], is_taken: bool) -> None:
    password = world.folder / "password"
    password.write_text("s3cret\n")
    password.chmod(0o600)
    options = f"tls=verify&ca={world.ca.pem}&name={HOST}&user=me&password_file={password}"
    async with sink(tls=world.right.server(), extensions=(*EXTENSIONS, offered), script=dict(script)) as behind:
        assert (await delivered(behind, options)).code == (250 if is_taken else 451)
    if is_taken:
        start = behind.commands.index(said[0])
        assert behind.commands[start : start + len(said)] == said


def test_files_that_cannot_be_used(world: World, tmp_path: Path) -> None:
    (tmp_path / "open").write_text("x")
    (tmp_path / "open").chmod(0o644)
    for options, said in (
        (f"tls=verify&ca={tmp_path / 'open'}", "write a PEM file"),
        (f"cert={tmp_path / 'open'}", "write PEM files"),
        (f"tls=verify&user=x&password_file={tmp_path / 'open'}", "others may read"),
    ):
        with pytest.raises(ConfigError, match=said):
            NextHops("mx").get(f"smtp://a:25?{options}")


# --- DANE -------------------------------------------------------------------------------------------------------------


def record(usage: int, selector: int, matching: int, data: bytes) -> bytes:
    return bytes((usage, selector, matching)) + data


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


ADDRESS = DnsAnswer("noerror", ("127.0.0.1",), 60, is_authentic=True)


@pytest.mark.parametrize(
    ("mode", "address", "tlsa", "shown", "is_taken", "is_encrypted"),
    [
        # the right key, whoever signed it and however old it is (RFC 7672 §3.1.1)
        ("dane", ADDRESS, "ee", "right", True, True),
        ("dane", ADDRESS, "ee stranger", "stranger", True, True),
        ("dane", ADDRESS, "ee expired", "expired", True, True),
        ("dane-only", ADDRESS, "ee", "right", True, True),
        ("dane", ADDRESS, "ee", "stranger", False, True),
        ("dane", ADDRESS, "ee", None, False, False),  # demanded by the DNS: no plain text
        # a trust anchor: the chain and the name count too
        ("dane", ADDRESS, "ta", "right", True, True),
        ("dane", ADDRESS, "ta", "other_name", False, True),
        ("dane", ADDRESS, "ta", "expired", False, True),
        ("dane", ADDRESS, "ta", "stranger", False, True),
        # records that cannot be used demand TLS without saying whose (§2.2)
        ("dane", ADDRESS, "unusable", "stranger", True, True),
        ("dane", ADDRESS, "unusable", None, False, False),
        ("dane-only", ADDRESS, "unusable", "right", False, True),
        # what is not secure says nothing
        ("dane", ADDRESS, "insecure", "stranger", True, True),
        ("dane", ADDRESS, "insecure", None, True, False),
        ("dane-only", ADDRESS, "insecure", "right", False, True),
        ("dane", ADDRESS._replace(is_authentic=False), "ee", "stranger", True, True),
        ("dane", ADDRESS, "none", None, True, False),
        # and what is not known is not taken for nothing (§2.1.1)
        ("dane", ADDRESS, "servfail", "right", False, True),
        ("dane", DnsAnswer("timeout"), "ee", "right", False, True),
    ],
)
async def test_dane(
    world: World, mode: str, address: DnsAnswer, tlsa: str, shown: str | None, is_taken: bool, is_encrypted: bool
) -> None:
    kind, _, of = tlsa.partition(" ")
    one = getattr(world, of or "right")
    secure = {"is_authentic": kind != "insecure"}
    answers = {
        "ee": DnsAnswer("noerror", (record(3, 1, 1, sha256(one.spki)), record(3, 1, 1, b"\0" * 32)), 60, **secure),
        "ta": DnsAnswer("noerror", (record(2, 0, 1, sha256(world.ca.der)),), 60, **secure),
        "unusable": DnsAnswer("noerror", (record(1, 1, 1, b"\0" * 32), record(3, 1, 1, b"short")), 60, **secure),
        "insecure": DnsAnswer("noerror", (record(3, 1, 1, sha256(one.spki)),), 60, **secure),
        "none": DnsAnswer("nxdomain", (), 60, is_authentic=True),
        "servfail": DnsAnswer("servfail"),
    }
    context = getattr(world, shown).server() if shown else None
    async with sink(tls=context) as behind:
        dns = Dns({(HOST, "A"): address, (f"_{behind.port}._tcp.{HOST}", "TLSA"): answers[kind]})
        reply = await delivered(behind, f"tls={mode}", dns, HOST)
    assert reply.code == (250 if is_taken else 451), reply
    assert behind.contents == ([CONTENT] if is_taken else [])
    if is_taken:
        assert behind.is_encrypted is is_encrypted


@pytest.mark.parametrize(
    ("mode", "shown", "is_secure", "is_taken"),
    [
        ("dane", "right", True, True),
        ("dane", "stranger", True, False),
        ("dane", "stranger", False, True),
        ("dane-only", "right", True, True),
        ("dane-only", "right", False, False),  # whoever wrote the MX records may have a secure host of his own
    ],
)
async def test_dane_by_mx_counts_where_the_mx_records_are_secure(
    world: World, mode: str, shown: str, is_secure: bool, is_taken: bool
) -> None:
    async with sink(tls=getattr(world, shown).server()) as behind:
        dns = Dns(
            {
                ("example.ir", "MX"): DnsAnswer("noerror", (f"10 {HOST}.",), 60, is_authentic=is_secure),
                (HOST, "A"): ADDRESS,
                (f"_{behind.port}._tcp.{HOST}", "TLSA"): DnsAnswer(
                    "noerror", (record(3, 1, 1, sha256(world.right.spki)),), 60, is_authentic=True
                ),
            }
        )
        hops = NextHops("mx.darban.test", dns)
        hop = hops.get(f"smtp+mx://example.ir:{behind.port}?tls={mode}")
        reply = (await hop.deliver(envelope(), CONTENT, [YOU]))[YOU.address]
        await hops.close()
    assert (reply.code == 250) is is_taken


@pytest.mark.parametrize("selector", [0, 1])
@pytest.mark.parametrize(
    ("matching", "digest"), [(0, bytes), (1, sha256), (2, lambda data: hashlib.sha512(data).digest())]
)
def test_what_a_record_may_say(world: World, selector: int, matching: int, digest: object) -> None:
    chain = [world.right.der, *(ssl.PEM_cert_to_DER_cert(pem + "-----END CERTIFICATE-----\n") for pem in
             world.right.pem.read_text().split("-----END CERTIFICATE-----\n")[1:-1])]  # fmt: skip
    for usage, one in ((3, world.right), (2, world.ca)):
        data = digest(one.spki if selector else one.der)  # type: ignore[operator]
        usable = read_tlsa([record(usage, selector, matching, data)])
        assert usable == (Tlsa(usage, selector, matching, data),)
        assert mismatch(usable, chain, [HOST]) == ""
        assert mismatch(usable, [world.stranger.der], [HOST]) != ""
        assert (mismatch(usable, chain, ["wrong.test"]) == "") is (usage == 3)
        assert (mismatch(usable, chain, ["wrong.test", HOST]) == "") is True
    # a trust anchor that is not shown, but stands in the record whole
    if (selector, matching) == (0, 0):
        assert mismatch(read_tlsa([record(2, 0, 0, world.ca.der)]), chain[:-1], [HOST]) == ""


def test_the_strongest_digest_counts(world: World) -> None:
    wrong = record(3, 1, 2, b"\0" * 64)
    right = record(3, 1, 1, sha256(world.right.spki))
    assert mismatch(read_tlsa([right]), [world.right.der], [HOST]) == ""
    assert mismatch(read_tlsa([right, wrong]), [world.right.der], [HOST]) == "no TLSA record fits"
    assert mismatch(read_tlsa([right]), [], [HOST]) == "the server showed no certificate"
    whole = read_tlsa([record(3, 1, 0, world.right.spki)])
    assert mismatch(whole, [b"no certificate"], [HOST]).startswith("certificate: ")
    for odd in (
        (),
        ("text",),
        (b"",),
        (b"\3\1",),
        (b"\3\1\1",),
        (record(3, 9, 1, b"\0" * 32),),
        (record(3, 1, 9, b"x"),),
    ):
        assert read_tlsa(odd) == ()
