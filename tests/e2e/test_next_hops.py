"""Next hops and proxies as users have them, with the real servers: Postfix, Dovecot and HAProxy around the gateway."""

from __future__ import annotations

import contextlib
import shutil
import socket
import subprocess
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.e2e import peers
from tests.e2e.test_gateway import arrived, eventually, unique

pytestmark = pytest.mark.e2e
CLIENT, UNWANTED = "198.51.100.7", "198.51.100.66"
OPEN_TO_ALL = (
    "smtpd_recipient_restrictions = reject_unauth_destination\nsmtpd_relay_restrictions = reject_unauth_destination\n"
)
PROXIES = 'trusted_proxies = ["127.0.0.0/8"]'


def swaks(port: int, subject: str, *options: str, to: str = "you@darban.test") -> str:
    """What swaks says, for a message from a client that another names."""
    done = subprocess.run(
        ["swaks", "--server", f"127.0.0.1:{port}", "--from", "sara@example.org", "--to", to, "--helo", "client.example.org",
         "--h-Subject", subject, *options],
        capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stdout + done.stderr
    return done.stdout


def the_one(postfix: peers.Postfix, subject: str, user: str = "you") -> bytes:
    """The message, of which there is one."""
    eventually(lambda: bool(arrived(postfix, subject, user)))
    (content,) = arrived(postfix, subject, user)
    return content


def test_postfix_behind_hears_the_true_client_under_verified_tls(tmp_path: Path) -> None:
    peers.make_certificate(tmp_path)
    tls = (
        f"smtpd_tls_security_level = encrypt\nsmtpd_tls_cert_file = {tmp_path}/cert.pem\n"
        f"smtpd_tls_key_file = {tmp_path}/key.pem\nsmtpd_tls_received_header = yes\n"
    )
    (tmp_path / "unwanted").write_text(f"{UNWANTED} REJECT\n")
    tls += f"smtpd_client_restrictions = check_client_access texthash:{tmp_path}/unwanted\n"
    xclient = f"{tls}{OPEN_TO_ALL}smtpd_authorized_xclient_hosts = 127.0.0.0/8\ninet_protocols = all\n"
    with peers.postfix(extra=xclient) as behind, contextlib.ExitStack() as stack:
        url = f"smtp://127.0.0.1:{behind.port}?tls=verify&ca={tmp_path}/cert.pem&name=localhost"
        wrong = url.replace("name=localhost", "name=other.test")
        domain = f'[[domain]]\nname = "wrong.test"\nnext_hop = "{wrong}"\n'
        running = stack.enter_context(peers.gateway(tmp_path / "g", url, smtp_extra=PROXIES, extra=domain))
        for number, client in enumerate((CLIENT, "2001:db8::7", CLIENT)):
            named = f"IPV6:{client}" if ":" in client else client
            swaks(running.smtp_port, f"true client {number}", "--xclient", f"ADDR={named} NAME=[UNAVAILABLE] PORT=4711")
            content = the_one(behind, f"true client {number}")
            top = content.partition(b"Received: ")[2].partition(b"\nReceived: ")[0]
            shown = f"IPv6:{client}" if ":" in client else client
            assert f"from client.example.org (unknown [{shown}])".encode() in top
            assert b"using TLSv1.3" in top
            assert f"[{shown}]".encode() in content.partition(b"\nReceived: ")[2]  # ours says it too
        # a client that Postfix refuses is refused, and takes nobody else with it
        with pytest.raises(AssertionError, match=r"554 5.7.1 .*Access denied"):
            swaks(running.smtp_port, "refused", "--xclient", f"ADDR={UNWANTED}")
        swaks(running.smtp_port, "wanted", "--xclient", f"ADDR={CLIENT}")
        assert b"[198.51.100.7]" in the_one(behind, "wanted")
        assert not arrived(behind, "refused")
        # a certificate of another name: nothing is sent, the client keeps it
        code, _ = peers.send(running.smtp_port, unique("wrong name"), rcpt_to=["you@wrong.test"])
        assert code == 451
        assert "certificate" in running.log()


def test_postfix_in_front_as_a_proxy_filter_and_behind(tmp_path: Path) -> None:
    """smtpd_proxy_filter: XFORWARD in from the Postfix in front, XFORWARD out to it again."""
    port = peers.free_port()
    front = f"smtpd_authorized_xclient_hosts = 127.0.0.0/8\n{OPEN_TO_ALL}smtpd_proxy_filter = 127.0.0.1:{port}\n"
    with peers.postfix(extra=front) as both:
        hop = f"smtp://127.0.0.1:{both.after_port}"
        with peers.gateway(tmp_path, hop, smtp_extra=PROXIES, smtp_port=port) as running:
            swaks(both.port, "filtered", "--xclient", f"ADDR={CLIENT} NAME=[UNAVAILABLE]")
            content = the_one(both, "filtered")
            assert f"from client.example.org (unknown [{CLIENT}])".encode() in content
            assert f'"client_ip": "{CLIENT}"' in running.log()
            assert f"orig_client=unknown[{CLIENT}]" in both.log()


@contextlib.contextmanager
def haproxy(folder: Path, port: int, version: str) -> Iterator[int]:
    """A real HAProxy before this port; its own."""
    if shutil.which("haproxy", path="/usr/sbin:/usr/bin") is None:
        pytest.skip("haproxy is not installed")
    own = peers.free_port()
    (folder / "haproxy.cfg").write_text(
        f"defaults\n  mode tcp\n  timeout connect 5s\n  timeout client 30s\n  timeout server 30s\n"
        f"listen smtp\n  bind 127.0.0.1:{own}\n  server gateway 127.0.0.1:{port} {version} check inter 200ms\n"
    )
    process = subprocess.Popen(["/usr/sbin/haproxy", "-f", str(folder / "haproxy.cfg")])
    try:
        peers.wait_for_port(own, 20)
        yield own
    finally:
        process.terminate()
        process.wait(20)


@pytest.mark.parametrize("version", ["send-proxy", "send-proxy-v2"])
def test_haproxy_in_front_and_a_proxied_postfix_behind(tmp_path: Path, version: str) -> None:
    out = {"send-proxy": "v1", "send-proxy-v2": "v2"}[version]
    with (
        peers.postfix(is_proxied=True) as behind,
        running_proxied(tmp_path / "g", f"smtp://127.0.0.1:{behind.port}?proxy={out}") as running,
        haproxy(tmp_path, running.smtp_port, version) as port,
    ):
        for number in range(3):
            assert peers.send(port, unique(f"proxied {number}"))[0] == 250
            content = the_one(behind, f"proxied {number}")
            assert b"from client.example.org" in content
        assert '"client_ip": "127.0.0.1"' in running.log()
        # health checks come and go
        time.sleep(0.5)
        assert peers.send(port, unique("after checks"))[0] == 250


@contextlib.contextmanager
def running_proxied(folder: Path, hop: str) -> Iterator[peers.Gateway]:
    with peers.gateway(folder, hop, smtp_extra=f"{PROXIES}\nproxy_protocol = true") as running:
        yield running


def test_dovecot_by_lmtp_over_tcp_hears_the_true_client(tmp_path: Path) -> None:
    port = peers.free_port()
    listener = f"service lmtp {{\n  inet_listener lmtp {{\n    address = 127.0.0.1\n    port = {port}\n  }}\n}}\n"
    with peers.dovecot(extra=f"{listener}login_trusted_networks = 127.0.0.0/8\n") as behind:
        peers.wait_for_port(port, 20)
        url = f"lmtp://127.0.0.1:{port}?tls=none"
        with peers.gateway(tmp_path, url, smtp_extra=PROXIES) as running:
            for number in range(2):
                swaks(running.smtp_port, f"lmtp {number}", "--xclient", f"ADDR={CLIENT}")
                found = [one for one in behind.messages("you@darban.test") if f"Subject: lmtp {number}".encode() in one]
                assert len(found) == 1
                assert f"Received: from client.example.org ([{CLIENT}])\n\tby".encode() in found[0], found[0][:600]
                assert found[0].count(f"[{CLIENT}]".encode()) == 2  # Dovecot's own field, and ours
            code, text = peers.send(running.smtp_port, unique("nobody"), rcpt_to=["nobody@darban.test"])
            assert code == 550, text


def test_a_dead_server_gives_way_and_a_dead_route_is_told_at_rcpt(tmp_path: Path) -> None:
    dead = peers.free_port()
    with peers.postfix() as behind:
        hops = f'smtp://127.0.0.1:{dead}", "smtp://127.0.0.1:{behind.port}'
        routes = (
            f'[[domain.route]]\naddress = "lost"\nnext_hop = "smtp://127.0.0.1:{dead}"\n'
            f'[[domain.route]]\naddress = "re*"\nnext_hop = "smtp://127.0.0.1:{behind.port}"\n'
        )
        with running_with_list(tmp_path, hops, routes) as running:
            for number in range(6):
                assert peers.send(running.smtp_port, unique(f"second {number}"))[0] == 250
            assert peers.send(running.smtp_port, unique("routed"), rcpt_to=["reza@darban.test"])[0] == 250
            for number in range(6):
                the_one(behind, f"second {number}")
            the_one(behind, "routed", "reza")
            for _ in range(3):
                code, _ = peers.send(running.smtp_port, unique("lost"), rcpt_to=["lost@darban.test"])
                assert code == 451
            started = time.monotonic()
            with socket.create_connection(("127.0.0.1", running.smtp_port)) as client:
                stream = client.makefile("rwb")
                stream.readline()
                for command in (
                    "HELO client.example.org",
                    "MAIL FROM:<sara@example.org>",
                    "RCPT TO:<lost@darban.test>",
                ):
                    stream.write(f"{command}\r\n".encode())
                    stream.flush()
                    answer = stream.readline()
            assert answer.startswith(b"451 4.4.1")
            assert time.monotonic() - started < 1
            with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/metrics", timeout=5) as page:
                metrics = page.read().decode()
            assert f'darban_next_hop_up{{next_hop="smtp://127.0.0.1:{dead}"}} 0.0' in metrics
            assert f'darban_next_hop_up{{next_hop="smtp://127.0.0.1:{behind.port}"}} 1.0' in metrics


@contextlib.contextmanager
def running_with_list(folder: Path, hops: str, routes: str) -> Iterator[peers.Gateway]:
    """A domain whose next hops are a list; routes stand behind it, so the rest of the configuration comes first."""
    domain = f'[[domain]]\nname = "darban.test"\nnext_hop = ["{hops}"]\n{routes}'
    with peers.gateway(folder, f"maildir:{folder}/m", domain="other.test", extra=domain) as running:
        yield running
