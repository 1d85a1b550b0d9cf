"""Signing in with the password of an LDAP directory: bind and search (RFC 4511, 4513), nothing else.

The messages are sansldap's; here are the connection, TLS and the order of things. Blocking, a few round trips; at most
10 s and 1 MiB of answers. A name is escaped wherever it goes into a filter (RFC 4515) or a DN (RFC 4514), and an
empty password is never sent: a directory takes that for an anonymous bind (RFC 4513 §5.1.2) and says yes.
"""

from __future__ import annotations

import socket
import ssl
import time
from collections.abc import Mapping, Sequence
from contextlib import closing
from dataclasses import dataclass

from sansldap import (
    BindResponse,
    ExtendedOperations,
    ExtendedResponse,
    LDAPClient,
    LDAPError,
    LDAPFilter,
    LDAPMessage,
    LDAPResult,
    LDAPResultCode,
    SearchResultDone,
    SearchResultEntry,
    SearchScope,
)

from gateway.config.settings import Ldap
from gateway.errors import ConfigError, SignInError

_TIMEOUT_S = 10.0
_MAX_ANSWERS = 1 << 20
_MAX_GROUPS = 1000
_REFUSED = (LDAPResultCode.INVALID_CREDENTIALS, LDAPResultCode.NO_SUCH_OBJECT, LDAPResultCode.INVALID_DN_SYNTAX)


@dataclass(frozen=True, slots=True)
class Entry:
    """Somebody whose password the directory knows."""

    dn: str
    name: str  # as the directory writes it, however it was typed
    addresses: tuple[str, ...]
    groups: tuple[str, ...]  # DNs


class LdapDirectory:
    """One directory. `search_password`: of the entry that searches."""

    def __init__(self, settings: Ldap, search_password: str = "") -> None:
        self._settings = settings
        self._search_password = search_password
        self._context = _context(settings) if settings.tls != "none" else None

    def authenticate(self, name: str, password: str) -> Entry | None:
        """The entry; None for a wrong name or password alike. Raises SignInError."""
        if not name or not password:
            return None
        try:
            with closing(_Connection(self._settings, self._context)) as connection:
                found = self._bound(connection, name, password)
        except (OSError, LDAPError, ValueError, RecursionError) as error:
            raise SignInError(f"directory {self._settings.server}: {type(error).__name__}: {error}") from None
        return found

    def _bound(self, connection: _Connection, name: str, password: str) -> Entry | None:
        settings = self._settings
        if settings.bind_dn:
            dn = settings.bind_dn.replace("{name}", escape_dn(name))
            if not connection.bind(dn, password):
                return None
            found = connection.search(dn, SearchScope.BASE, "(objectClass=*)", self._attributes, 1)
            if not found:
                raise SignInError(f"directory {settings.server}: {dn} may not read its own entry")
            return self._entry(connection, *found[0])
        if not connection.bind(settings.search_dn, self._search_password):
            raise SignInError(f"directory {settings.server}: it does not take search_dn and its password")
        wanted = settings.search_filter.replace("{name}", escape_filter(name))
        found = connection.search(settings.search_base, SearchScope.SUBTREE, wanted, self._attributes, 2)
        if len(found) != 1:  # nobody; or several, and who of them it is cannot be known
            return None
        entry = self._entry(connection, *found[0])  # groups are read as who searches, who may
        return entry if connection.bind(entry.dn, password) else None

    @property
    def _attributes(self) -> Sequence[str]:
        return [self._settings.name_attribute, self._settings.mail_attribute, self._settings.groups_attribute]

    def _entry(self, connection: _Connection, dn: str, values: Mapping[str, Sequence[str]]) -> Entry:
        settings = self._settings
        name = next(iter(values.get(settings.name_attribute.lower(), ())), "")
        if not name:
            raise SignInError(f"directory {settings.server}: {dn} has no {settings.name_attribute}")
        groups = list(values.get(settings.groups_attribute.lower(), ()))
        if settings.groups_base:
            wanted = settings.groups_filter.replace("{dn}", escape_filter(dn))
            found = connection.search(settings.groups_base, SearchScope.SUBTREE, wanted, ["1.1"], _MAX_GROUPS)
            groups += [group for group, _ in found]
        addresses = tuple(one.lower() for one in values.get(settings.mail_attribute.lower(), ()) if "@" in one)
        return Entry(dn, name.lower(), addresses, tuple(groups))


def escape_filter(text: str) -> str:
    """A value within a filter: every octet that is not a letter or a digit as \\\\xx (RFC 4515 §3)."""
    return "".join(chr(one) if chr(one).isalnum() and one < 128 else f"\\{one:02x}" for one in text.encode())


def escape_dn(text: str) -> str:
    """A value within a DN: every octet that is not a letter or a digit as \\\\xx (RFC 4514 §2.4)."""
    return escape_filter(text)


class _Connection:
    def __init__(self, settings: Ldap, context: ssl.SSLContext | None) -> None:
        host, _, port = settings.server.rpartition(":")
        host = host.strip("[]")
        self._ends_at = time.monotonic() + _TIMEOUT_S
        self._left = _MAX_ANSWERS
        self._session = LDAPClient()
        self._socket = socket.create_connection((host, int(port)), timeout=_TIMEOUT_S)
        try:
            if context is not None:
                if settings.tls == "starttls":
                    self._start_tls()
                self._socket = context.wrap_socket(self._socket, server_hostname=host)
        except BaseException:
            self._socket.close()
            raise

    def close(self) -> None:
        self._socket.close()

    def bind(self, dn: str, password: str) -> bool:
        """Whether the directory takes it. Raises SignInError for an answer that is neither yes nor no."""
        answer = self._ask(self._session.bind_simple(dn, password))[-1]
        if not isinstance(answer, BindResponse):
            raise SignInError("directory: a bind was answered by something else")
        if answer.result.result_code in _REFUSED:
            return False
        _need_success(answer.result, "bind")
        return True

    def search(
        self, base: str, scope: SearchScope, wanted: str, attributes: Sequence[str], limit: int
    ) -> list[tuple[str, dict[str, list[str]]]]:
        """DN and values by lower-case attribute; no more than `limit` entries."""
        asked = self._session.search_request(
            base, scope, size_limit=limit, filter=LDAPFilter.from_string(wanted), attributes=list(attributes)
        )
        *entries, done = self._ask(asked)
        if not isinstance(done, SearchResultDone):
            raise SignInError("directory: a search was answered by something else")
        if done.result.result_code not in (LDAPResultCode.SIZE_LIMIT_EXCEEDED, LDAPResultCode.NO_SUCH_OBJECT):
            _need_success(done.result, "search")
        found = [one for one in entries if isinstance(one, SearchResultEntry)]
        return [(one.object_name, _values(one)) for one in found[:limit]]

    def _start_tls(self) -> None:
        """RFC 4511 §4.14. What came in plain text is forgotten: the session begins anew under TLS."""
        answers = self._ask(self._session.extended_request(ExtendedOperations.LDAP_START_TLS.value))
        if len(answers) != 1 or not isinstance(answers[0], ExtendedResponse):
            raise SignInError("directory: StartTLS was answered by something else")
        _need_success(answers[0].result, "StartTLS")
        self._session = LDAPClient()

    def _ask(self, message_id: int) -> list[LDAPMessage]:
        """What is answered, up to what ends the answer."""
        self._socket.sendall(self._session.data_to_send())
        answers: list[LDAPMessage] = []
        while not answers or isinstance(answers[-1], SearchResultEntry) or answers[-1].message_id != message_id:
            left_s = self._ends_at - time.monotonic()
            if left_s <= 0:
                raise TimeoutError("it takes too long")
            self._socket.settimeout(left_s)
            data = self._socket.recv(65_536)
            self._left -= len(data)
            if not data or self._left < 0:
                raise SignInError("directory: it answers too much" if data else "directory: the connection was closed")
            answers += self._session.receive(data)
            if answers and _is_reference(answers[-1]):
                answers.pop()
        return answers


def _is_reference(message: LDAPMessage) -> bool:
    """A referral to another directory, which is not followed."""
    return type(message).__name__ == "SearchResultReference"


def _values(entry: SearchResultEntry) -> dict[str, list[str]]:
    return {one.name.lower(): [value.decode("utf-8", "replace") for value in one.values] for one in entry.attributes}


def _need_success(result: LDAPResult, what: str) -> None:
    if result.result_code != LDAPResultCode.SUCCESS:
        raise SignInError(f"directory: {what}: {result.result_code.name} {result.diagnostics_message}".strip())


def _context(settings: Ldap) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca or None)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"[sign_in.ldap] ca {settings.ca}: {error.strerror or error}; write a PEM file") from None
