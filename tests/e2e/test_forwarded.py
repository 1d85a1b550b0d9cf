"""A forwarded message through the running gateway: a trusted list vouches, and what is delivered is sealed."""

from __future__ import annotations

from pathlib import Path

import dkim
import pytest
from cryptography.hazmat.primitives import serialization as form

from gateway.auth import arc
from gateway.mail import parse
from tests.arc_chain import LIST, STRANGER, add_set, zones
from tests.builders import message_bytes
from tests.dkim_keys import rsa_key, rsa_record
from tests.dns_server import DnsServer
from tests.e2e import peers
from tests.fakes import FakeResolver

pytestmark = pytest.mark.e2e
WORLD = zones(LIST, STRANGER, "darban.test") | {
    "example.org": {"TXT": ["v=spf1 -all"]},
    "_dmarc.example.org": {"TXT": ["v=DMARC1; p=reject"]},
    LIST: {"TXT": ["v=spf1 ip4:127.0.0.1 -all"]},
}
ARC = f"""[arc]
seal = true
domain = "darban.test"
selector = "s1"
key = "arc.pem"
trusted_sealers = ["{LIST}"]
"""


async def test_forwarded_mail(tmp_path: Path) -> None:
    key = rsa_key(1024).private_bytes(form.Encoding.PEM, form.PrivateFormat.PKCS8, form.NoEncryption())
    (tmp_path / "arc.pem").write_bytes(key)
    (tmp_path / "arc.pem").chmod(0o600)
    content = message_bytes("The neighbours have the second key, ask them when you come.\r\n")
    with (
        DnsServer(WORLD) as dns,
        peers.gateway(tmp_path, "maildir:mail", nameserver=dns.address, extra=ARC) as running,
    ):
        for sealer in (LIST, STRANGER):
            forwarded = add_set(content.replace(b"Subject: Hello", f"Subject: via {sealer}".encode()), sealer)
            assert peers.send(running.smtp_port, forwarded, mail_from=f"keys-bounces@{LIST}")[0] == 250
    delivered = {parse(raw).subject: raw for raw in (one.read_bytes() for one in (tmp_path / "mail" / "new").iterdir())}
    assert set(delivered) == {f"via {LIST}"}  # what nobody vouches for is held
    raw = delivered[f"via {LIST}"].replace(b"\r\n", b"\n").replace(b"\n", b"\r\n")
    fields = {one.name: one.text for one in parse(raw).fields}
    assert "DMARC_FAIL_OVERRIDDEN" in fields["X-Spam-Status"]
    assert f"arc=pass (sealed by {LIST}" in fields["Authentication-Results"]
    assert "dmarc=fail (p=reject)" in fields["Authentication-Results"]
    chain = await arc.evaluate(parse(raw), "", FakeResolver(WORLD))
    assert (chain.result.result, chain.sealers) == ("pass", ("darban.test", LIST))
    assert dkim.arc_verify(raw, dnsfunc=lambda name, timeout=5: rsa_record().encode())[0] == b"pass"
