"""A real OpenLDAP for tests: slapd in a temporary folder, on loopback, with TLS and StartTLS."""

from __future__ import annotations

import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

from tests import certificates

BASE = "dc=example,dc=ir"
SEARCHER, SEARCH_PASSWORD = f"cn=searcher,{BASE}", "the searcher's password"
_CONFIG = """
include /etc/ldap/schema/core.schema
include /etc/ldap/schema/cosine.schema
include /etc/ldap/schema/inetorgperson.schema
modulepath /usr/lib/ldap
moduleload back_mdb
moduleload memberof
pidfile {folder}/slapd.pid
TLSCACertificateFile {ca}
TLSCertificateFile {pem}
TLSCertificateKeyFile {key}
database mdb
suffix "dc=example,dc=ir"
directory {folder}/db
overlay memberof
access to attrs=userPassword by anonymous auth by * none
access to * by dn.exact="cn=searcher,dc=example,dc=ir" read by self read by anonymous auth by * none
"""
_ENTRIES = """
dn: dc=example,dc=ir
objectClass: domain
dc: example

dn: cn=searcher,dc=example,dc=ir
objectClass: organizationalRole
objectClass: simpleSecurityObject
cn: searcher
userPassword: the searcher's password

dn: ou=people,dc=example,dc=ir
objectClass: organizationalUnit
ou: people

dn: ou=groups,dc=example,dc=ir
objectClass: organizationalUnit
ou: groups

dn: uid=Sara,ou=people,dc=example,dc=ir
objectClass: inetOrgPerson
uid: Sara
cn: Sara Rahimi
sn: Rahimi
mail: Sara@darban.test
mail: info@darban.test
mail: sara@elsewhere.example
userPassword: sara's password

dn: uid=a*b,ou=people,dc=example,dc=ir
objectClass: inetOrgPerson
uid: a*b
cn: Star
sn: Star
mail: star@darban.test
userPassword: star's password

dn: uid=mina,ou=people,dc=example,dc=ir
objectClass: inetOrgPerson
uid: mina
cn: Mina
sn: Mina
mail: mina@darban.test
userPassword: mina's password
memberOf: cn=mail admins,ou=groups,dc=example,dc=ir

dn: cn=mail admins,ou=groups,dc=example,dc=ir
objectClass: groupOfNames
cn: mail admins
member: uid=mina,ou=people,dc=example,dc=ir
"""


@dataclass(frozen=True)
class Served:
    plain: str  # host:port, with StartTLS
    tls: str
    ca: Path


@contextmanager
def serve() -> Iterator[Served]:
    """Raises RuntimeError where there is no slapd."""
    if not Path("/usr/sbin/slapd").exists():
        raise RuntimeError("no slapd: tests/install_peers.sh installs it")
    folder = Path(tempfile.mkdtemp(prefix="darban-ldap-"))
    try:
        (folder / "db").mkdir()
        authority = certificates.authority(folder)
        mine = certificates.signed(folder, authority, "localhost")
        config, entries = folder / "slapd.conf", folder / "entries.ldif"
        config.write_text(_CONFIG.format(folder=folder, ca=authority.pem, pem=mine.pem, key=mine.key_pem))
        entries.write_text(_ENTRIES)
        subprocess.run(["/usr/sbin/slapadd", "-f", config, "-l", entries], check=True, capture_output=True, timeout=60)
        plain, tls = _free_port(), _free_port()
        command = [
            "/usr/sbin/slapd",
            "-d",
            "0",
            "-f",
            config,
            "-h",
            f"ldap://127.0.0.1:{plain} ldaps://127.0.0.1:{tls}",
        ]
        with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL) as slapd:
            try:
                _wait(plain)
                yield Served(f"localhost:{plain}", f"localhost:{tls}", authority.pem)
            finally:
                slapd.terminate()
    finally:
        shutil.rmtree(folder, ignore_errors=True)


def _free_port() -> int:
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        return one.getsockname()[1]


def _wait(port: int) -> None:
    for _ in range(200):
        with socket.socket() as one:
            if one.connect_ex(("127.0.0.1", port)) == 0:
                return
        time.sleep(0.05)
    raise RuntimeError("slapd does not answer")
