"""Real servers for the end-to-end tests: Postfix, Dovecot, and the gateway itself, each in a folder of its own."""

from __future__ import annotations

import contextlib
import fcntl
import imaplib
import itertools
import os
import pwd
import shutil
import signal
import smtplib
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from tests import compiled_rules

ROOT = Path(__file__).parent.parent.parent


_PORTS = itertools.count(20_000 + os.getpid() % 1_000 * 10)


_RESERVED: list[int] = []  # descriptors of locked files, until this process ends


def free_port() -> int:
    """A port nobody listens on, below those the kernel hands out to connections, and never the same one twice.

    Nor one that another test has been given, whose server may be dead at this moment and about to come back: two gateways
    would share the port (SO_REUSEPORT), and each have mail of the other.
    """
    for port in _PORTS:
        if not _reserve(port):
            continue
        with socket.socket() as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            with contextlib.suppress(OSError):
                probe.bind(("127.0.0.1", port))
                return port
    raise AssertionError


def _reserve(port: int) -> bool:
    folder = Path(tempfile.gettempdir()) / f"darban-ports-{os.getuid()}"
    folder.mkdir(exist_ok=True)
    file = os.open(folder / str(port), os.O_CREAT | os.O_RDWR, 0o666)
    try:
        fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError:
        os.close(file)
        return False
    _RESERVED.append(file)
    return True


def wait_for_port(port: int, within_s: float = 60.0, process: subprocess.Popen[bytes] | None = None) -> None:
    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        if process is not None and process.poll() is not None:
            raise RuntimeError(f"ended with {process.returncode}")
        with contextlib.suppress(OSError), socket.create_connection(("127.0.0.1", port), timeout=1):
            return
        time.sleep(0.05)
    raise TimeoutError(f"nothing listens on {port}")


# --- the gateway ------------------------------------------------------------------------------------------------------


@dataclass
class Gateway:
    folder: Path
    smtp_port: int
    web_port: int
    metrics_port: int
    process: subprocess.Popen[bytes]

    @property
    def config(self) -> Path:
        return self.folder / "darban.toml"

    def processes(self) -> dict[str, int]:
        import json

        return {one["name"]: one["pid"] for one in json.loads((self.folder / "var/run/processes.json").read_text())}

    def log(self) -> str:
        return (self.folder / "log").read_text("utf-8", "replace")

    def cli(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [sys.executable, "-m", "gateway", *arguments, "--config", str(self.config)],
            capture_output=True, text=True, check=False, cwd=ROOT,
        )  # fmt: skip


STORAGE = '''database = "sqlite:///var/darban.db"
blobs = "file:///var/blobs"'''


@contextlib.contextmanager
def gateway(
    folder: Path,
    next_hop: str,
    *,
    domain: str = "darban.test",
    nameserver: str = "127.0.0.1:9",
    extra: str = "",
    smtp_extra: str = "",
    storage: str = STORAGE,
    smtp_port: int = 0,
    domain_extra: str = "",
    listen: str = "",
    prefix: Sequence[str] = (),
    environment: Mapping[str, str] | None = None,
    program: str = sys.executable,
    runs_as_other: bool = False,
) -> Iterator[Gateway]:
    """`darban run` with real processes; stopped with SIGTERM, its log printed when it did not end well.

    `listen`: one more address; `prefix`: a command that starts it; in it {smtp} stands for the port.
    """
    ports = [smtp_port or free_port(), free_port(), free_port()]
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "darban.toml").write_text(
        f"""hostname = "mx.darban.test"
[smtp]
listen = ["127.0.0.1:{ports[0]}"{f', "{listen}"' if listen else ""}]
{smtp_extra}
[[domain]]
name = "{domain}"
next_hop = "{next_hop}"
{domain_extra}
[dns]
nameservers = ["{nameserver}"]
timeout_s = {0.1 if nameserver == "127.0.0.1:9" else 2.0}
[storage]
{storage}
[web]
listen = "127.0.0.1:{ports[1]}"
[metrics]
listen = "127.0.0.1:{ports[2]}"
{extra}
"""
    )
    if not runs_as_other:
        compiled_rules.lend(folder)
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(
            [*(word.format(smtp=ports[0]) for word in prefix), program, "-m", "gateway", "run", "--config", str(folder / "darban.toml")],
            stdout=log, stderr=log, cwd=ROOT, env={**os.environ, **(environment or {})},
        )  # fmt: skip
    running = Gateway(folder, *ports, process)
    try:
        wait_for_port(ports[0], 120, process)
        wait_for_ready(running)
        yield running
    except BaseException:
        sys.stderr.write(running.log()[-6000:])
        raise
    finally:
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(60)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


def wait_for_ready(running: Gateway, within_s: float = 60.0) -> None:
    import urllib.error
    import urllib.request

    deadline = time.monotonic() + within_s
    while time.monotonic() < deadline:
        with contextlib.suppress(urllib.error.URLError, OSError):
            with urllib.request.urlopen(f"http://127.0.0.1:{running.metrics_port}/readyz", timeout=5) as answer:
                if answer.status == 200:
                    return
        time.sleep(0.1)
    raise TimeoutError("the gateway is not ready")


def send(
    port: int, content: bytes, *, mail_from: str = "sara@example.org", rcpt_to: list[str] | None = None
) -> tuple[int, str]:
    """(code, text) of the reply to DATA, or of the first refusal."""
    with smtplib.SMTP("127.0.0.1", port, local_hostname="client.example.org", timeout=60) as client:
        try:
            refused = client.sendmail(mail_from, rcpt_to or ["you@darban.test"], content, ["BODY=8BITMIME"])
        except smtplib.SMTPRecipientsRefused as error:
            code, text = next(iter(error.recipients.values()))
            return code, text.decode()
        except smtplib.SMTPResponseException as error:
            return error.smtp_code, error.smtp_error.decode() if isinstance(
                error.smtp_error, bytes
            ) else error.smtp_error
        assert not refused
        return 250, ""


# --- Postfix ----------------------------------------------------------------------------------------------------------


@dataclass
class Postfix:
    folder: Path
    port: int
    after_port: int = 0
    inner_port: int = 0  # where a milter is not asked

    def log(self) -> str:
        return (self.folder / "mail.log").read_text("utf-8", "replace")

    def maildir(self, user: str = "you") -> Path:
        return self.folder / "mail" / user / "Maildir"

    def messages(self, user: str = "you") -> list[bytes]:
        return [file.read_bytes() for file in sorted((self.maildir(user) / "new").glob("*"))]

    def command(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        program, *rest = arguments
        return subprocess.run(
            [program, "-c", str(self.folder / "etc"), *rest], capture_output=True, text=True, check=True
        )


@contextlib.contextmanager
def postfix(
    *,
    domain: str = "darban.test",
    users: tuple[str, ...] = ("you", "reza"),
    relayhost: str = "",
    milter: str = "",
    extra: str = "",
    is_proxied: bool = False,
    place: Path | None = None,
) -> Iterator[Postfix]:
    """A whole Postfix instance: takes mail for the users of the domain into Maildirs, or hands it to `relayhost`.

    `extra` lines of main.cf override; with `is_proxied` its clients begin with a PROXY header. At `Postfix.after_port`
    mail comes back from a filter in front, with XFORWARD. With a milter there is a port more, where it is not asked.
    """
    folder = Path(tempfile.mkdtemp(prefix="darban-postfix-", dir=place))
    folder.chmod(0o755)
    port, after_port, inner_port = free_port(), free_port(), free_port()
    etc, queue, data, mail = (folder / name for name in ("etc", "queue", "data", "mail"))
    for place in (etc, queue, data, mail):
        place.mkdir()
    nobody = pwd.getpwnam("nobody")
    os.chown(mail, nobody.pw_uid, nobody.pw_gid)
    os.chown(data, pwd.getpwnam("postfix").pw_uid, -1)
    mailboxes = folder / "mailboxes"
    mailboxes.write_text("".join(f"{user}@{domain} {user}/Maildir/\n" for user in users))
    delivery = (
        f"relayhost = {relayhost}\n" if relayhost else
        f"virtual_mailbox_domains = {domain}\nvirtual_mailbox_maps = texthash:{mailboxes}\nvirtual_mailbox_base = {mail}\n"
        f"virtual_uid_maps = static:{nobody.pw_uid}\nvirtual_gid_maps = static:{nobody.pw_gid}\n"
    )  # fmt: skip
    _write_main(
        etc / "main.cf",
        f"""compatibility_level = 3.6
queue_directory = {queue}
data_directory = {data}
command_directory = /usr/sbin
daemon_directory = /usr/lib/postfix/sbin
myhostname = behind.{domain}
mydestination =
inet_interfaces = 127.0.0.1
inet_protocols = ipv4
mynetworks = 127.0.0.0/8
smtpd_recipient_restrictions = permit_mynetworks, reject_unauth_destination
smtpd_relay_restrictions = permit_mynetworks, reject
smtpd_reject_unlisted_recipient = yes
smtpd_client_connection_count_limit = 0
message_size_limit = 60000000
virtual_mailbox_limit = 0
smtputf8_enable = yes
maillog_file = {folder}/mail.log
maillog_file_prefixes = {folder}
default_process_limit = 100
smtp_dns_support_level = disabled
smtpd_upstream_proxy_protocol = {"haproxy" if is_proxied else ""}
minimal_backoff_time = 1s
queue_run_delay = 1s
{delivery}{f"smtpd_milters = {milter}" if milter else ""}
{extra}""",
    )
    services = [
        f"127.0.0.1:{port} inet n - n - - smtpd",
        f"127.0.0.1:{after_port} inet n - n - - smtpd -o smtpd_proxy_filter="
        " -o smtpd_authorized_xforward_hosts=127.0.0.0/8 -o smtpd_upstream_proxy_protocol=",
        *([f"127.0.0.1:{inner_port} inet n - n - - smtpd -o smtpd_milters="] if milter else []),
        "pickup unix n - n 60 1 pickup", "cleanup unix n - n - 0 cleanup", "qmgr unix n - n 1 1 qmgr",
        "rewrite unix - - n - - trivial-rewrite", "bounce unix - - n - 0 bounce", "defer unix - - n - 0 bounce",
        "trace unix - - n - 0 bounce", "verify unix - - n - 1 verify", "flush unix n - n 1000? 0 flush",
        "proxymap unix - - n - - proxymap", "smtp unix - - n - - smtp", "relay unix - - n - - smtp",
        "showq unix n - n - - showq", "error unix - - n - - error", "retry unix - - n - - error",
        "discard unix - - n - - discard", "local unix - n n - - local", "virtual unix - n n - - virtual",
        "anvil unix - - n - 1 anvil", "scache unix - - n - 1 scache", "tlsmgr unix - - n 1000? 1 tlsmgr",
        "postlog unix-dgram n - n - 1 postlogd",
    ]  # fmt: skip
    (etc / "master.cf").write_text("\n".join(services) + "\n")
    running = Postfix(folder, port, after_port, inner_port)
    try:
        started = subprocess.run(["postfix", "-c", str(etc), "start"], capture_output=True, text=True, check=False)
        if started.returncode:
            log = (folder / "mail.log").read_text() if (folder / "mail.log").exists() else ""
            raise RuntimeError(f"postfix: {started.stderr} {log}")
        if not is_proxied:
            wait_for_port(port)
        yield running
    finally:
        subprocess.run(["postfix", "-c", str(etc), "stop"], capture_output=True, check=False)
        shutil.rmtree(folder, ignore_errors=True)


def _write_main(path: Path, text: str) -> None:
    """The last line of a name counts: a name that comes twice is a warning of every process, and master waits for ever
    for its log to take more of them than a socket holds."""
    lines = {line.partition("=")[0].strip(): line for line in text.splitlines()}
    path.write_text("\n".join(lines.values()) + "\n")


# --- Dovecot ------------------------------------------------------------------------------------------------------


@dataclass
class Dovecot:
    folder: Path
    socket: Path
    imap_port: int

    @property
    def ca(self) -> Path:
        """The certificate it shows, which is its own authority."""
        return self.folder / "cert.pem"

    def messages(self, user: str) -> list[bytes]:
        return [file.read_bytes() for file in sorted((self.folder / "mail" / user / "new").glob("*"))]

    def reader(self, user: str) -> imaplib.IMAP4:
        """What a person's mail program is: signed in."""
        connection = imaplib.IMAP4("127.0.0.1", self.imap_port, timeout=20)
        connection.login(user, PASSWORD)
        return connection


PASSWORD = "the mailbox's password"
MASTER, MASTER_PASSWORD = "darban", "the master's password"


@contextlib.contextmanager
def dovecot(
    users: tuple[str, ...] = ("you@darban.test", "reza@darban.test"), *, extra: str = "", sieve: str = ""
) -> Iterator[Dovecot]:
    """Dovecot's LMTP on a unix socket and IMAP, for Maildirs of these users only; `sieve` runs before every delivery."""
    folder, port = Path(tempfile.mkdtemp(prefix="darban-dovecot-")), free_port()
    folder.chmod(0o755)
    nobody = pwd.getpwnam("nobody")
    (folder / "mail").mkdir()
    os.chown(folder / "mail", nobody.pw_uid, nobody.pw_gid)
    (folder / "users").write_text(
        "".join(f"{user}:{{PLAIN}}{PASSWORD}:{nobody.pw_uid}:{nobody.pw_gid}::/nonexistent::\n" for user in users)
    )
    (folder / "masters").write_text(f"{MASTER}:{{PLAIN}}{MASTER_PASSWORD}\n")
    make_certificate(folder)
    if sieve:
        (folder / "before.sieve").write_text(sieve)
        folder_mode = "protocol lmtp {\n  mail_plugins = sieve\n}\n"
        extra += f"{folder_mode}plugin {{\n  sieve_before = {folder}/before.sieve\n}}\n"
    config = folder / "dovecot.conf"
    config.write_text(
        f"""protocols = lmtp imap
base_dir = {folder}/run
state_dir = {folder}/state
log_path = {folder}/log
ssl = yes
ssl_cert = <{folder}/cert.pem
ssl_key = <{folder}/key.pem
disable_plaintext_auth = no
first_valid_uid = 1
mail_location = maildir:{folder}/mail/%u
mail_uid = {nobody.pw_uid}
mail_gid = {nobody.pw_gid}
lda_mailbox_autocreate = yes
passdb {{
  driver = passwd-file
  args = {folder}/masters
  master = yes
}}
passdb {{
  driver = passwd-file
  args = {folder}/users
}}
userdb {{
  driver = passwd-file
  args = {folder}/users
}}
namespace inbox {{
  inbox = yes
  mailbox Spam {{
    auto = subscribe
    special_use = \\Junk
  }}
  mailbox Archive {{
    auto = create
  }}
}}
default_internal_user = dovecot
default_login_user = dovenull
service lmtp {{
  unix_listener {folder}/lmtp {{
    mode = 0666
  }}
}}
service imap-login {{
  chroot =
  inet_listener imap {{
    address = 127.0.0.1
    port = {port}
  }}
  inet_listener imaps {{
    port = 0
  }}
}}
service anvil {{
  chroot =
}}
{extra}"""
    )
    process = subprocess.Popen(["dovecot", "-F", "-c", str(config)])
    running = Dovecot(folder, folder / "lmtp", port)
    try:
        deadline = time.monotonic() + 30
        while not running.socket.exists() and time.monotonic() < deadline:
            time.sleep(0.05)
        wait_for_port(port, 30, process)
        yield running
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)


def make_certificate(folder: Path, name: str = "localhost") -> None:
    """cert.pem, which signs itself, and key.pem."""
    subprocess.run(
        ["openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:prime256v1", "-nodes", "-days", "2",
         "-subj", f"/CN={name}", "-addext", f"subjectAltName=DNS:{name}",
         "-keyout", str(folder / "key.pem"), "-out", str(folder / "cert.pem")],
        check=True, capture_output=True,
    )  # fmt: skip


# --- Exim ---------------------------------------------------------------------------------------------------------


_EXIM = ("/usr/sbin/exim4", "/opt/darban-peers/exim/usr/sbin/exim4")  # Debian has one MTA at a time


def exim_program() -> str | None:
    """Where Exim is; None where it is not."""
    return next((path for path in _EXIM if Path(path).exists()), None)


@dataclass
class Exim:
    folder: Path

    def send(self, content: bytes, client_ip: str) -> str:
        """The reply to DATA, of an Exim that talks SMTP to us as to this client."""
        text = content.replace(b"\r\n", b"\n").replace(b"\n.", b"\n..").replace(b"\n", b"\r\n")
        dialogue = b"EHLO mail.example.org\r\nMAIL FROM:<sara@example.org>\r\nRCPT TO:<you@darban.test>\r\nDATA\r\n"
        told = subprocess.run(
            [str(exim_program()), "-C", str(self.folder / "exim.conf"), "-oMa", client_ip, "-odi", "-bs"],
            input=dialogue + text + b"\r\n.\r\nQUIT\r\n", capture_output=True, check=False, timeout=120,
        ).stdout.decode("utf-8", "replace")  # fmt: skip
        return told.splitlines()[-2]

    def messages(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted((self.folder / "mail" / "new").glob("*"))]


@contextlib.contextmanager
def exim(spamd_address: str) -> Iterator[Exim]:
    """Exim with the content scanner asked at DATA, as deploy/exim/spamd.conf says; what it takes goes into a Maildir."""
    folder = Path(tempfile.mkdtemp(prefix="darban-exim-"))
    folder.chmod(0o755)
    for place in ("spool", "log", "mail"):
        (folder / place).mkdir()
        os.chown(folder / place, pwd.getpwnam("Debian-exim").pw_uid, -1)
    snippet = (ROOT / "deploy" / "exim" / "spamd.conf").read_text().replace("127.0.0.1 783", spamd_address)
    (folder / "exim.conf").write_text(
        f"""primary_hostname = behind.darban.test
spool_directory = {folder}/spool
log_file_path = {folder}/log/%slog
acl_smtp_rcpt = acl_rcpt
tls_advertise_hosts =
host_lookup =
exim_user = Debian-exim
exim_group = Debian-exim
deliver_drop_privilege = true
keep_environment =
{snippet}
acl_rcpt:
  accept
begin routers
all:
  driver = accept
  transport = maildir
begin transports
maildir:
  driver = appendfile
  directory = {folder}/mail
  maildir_format
  user = Debian-exim
"""
    )
    try:
        yield Exim(folder)
    finally:
        shutil.rmtree(folder, ignore_errors=True)


# --- Haraka -------------------------------------------------------------------------------------------------------


HARAKA = Path("/opt/darban-peers/haraka/node_modules/.bin/haraka")


@dataclass
class Haraka:
    folder: Path
    port: int

    def messages(self) -> list[bytes]:
        return [file.read_bytes() for file in sorted((self.folder / "mail").glob("*.eml"))]


@contextlib.contextmanager
def haraka(http_port: int) -> Iterator[Haraka]:
    """Haraka with its Rspamd plugin, as docs/doors.md says; what it takes becomes a file."""
    folder, port = Path(tempfile.mkdtemp(prefix="darban-haraka-")), free_port()
    (folder / "mail").mkdir()
    config = folder / "config"
    config.mkdir()
    shutil.copy(HARAKA.parent.parent / "Haraka" / "config" / "connection.ini", config)
    for name, text in (
        ("smtp.ini", f"listen=127.0.0.1:{port}\nnodes=0\n"),
        ("plugins", "rcpt_to.in_host_list\nrspamd\nqueue/test\n"),
        ("host_list", "darban.test\n"),
        ("me", "behind.darban.test\n"),
        (
            "rspamd.ini",
            f"host = 127.0.0.1\nport = {http_port}\ntimeout = 35\n[check]\nprivate_ip = true\nlocal_ip = true\n"
            "[defer]\nerror = true\ntimeout = true\n",
        ),
    ):
        (config / name).write_text(text)
    with (folder / "log").open("wb") as log:
        environment = os.environ | {"TMPDIR": str(folder / "mail")}
        process = subprocess.Popen([str(HARAKA), "-c", str(folder)], stdout=log, stderr=log, env=environment)
    try:
        wait_for_port(port, 60, process)
        yield Haraka(folder, port)
    except BaseException:
        sys.stderr.write((folder / "log").read_text("utf-8", "replace")[-4000:])
        raise
    finally:
        process.terminate()
        process.wait(30)
        shutil.rmtree(folder, ignore_errors=True)
