"""Who somebody is: a password of ours or of the directory, the issuer's word, or a link mailed to an address.

What is answered to a wrong name, a wrong password, a disabled account and one who has to wait is the same, and so is
the time it takes. Who an outside account is (role, domains, addresses) is said by its groups at every sign-in; an
account of ours is never taken over by an outside one of the same name. Blocking: called in a thread.
"""

from __future__ import annotations

import secrets
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

import structlog

from gateway.config.load import read_secret
from gateway.config.settings import RoleGroup, Settings
from gateway.errors import ConfigError, InputError, SignInError
from gateway.mail.address import domain_of
from gateway.policy.access import covers_domain
from gateway.policy.totp import step_of, tidy
from gateway.ports import AccountStore
from gateway.types import Account, AccountRecord, Origin, Scope

_FREE_OF_NAME = 5  # failures before a name has to wait, and an address
_FREE_OF_ADDRESS = 20
_FAILURE_S = 1.0  # what every refusal takes: longer than a password's hash, or a directory nearby
_CODE_TTL_S = 300.0
LINK_TTL_S = 900.0
_MAX_NAME = 100

log = structlog.get_logger()


@dataclass(frozen=True, slots=True)
class Entrance:
    """What became of a try. Neither account nor token: refused."""

    who: Account | None = None
    code_token: str = ""  # what was said is right, a one-time code is due
    waits: bool = False  # this failure makes the name or the address wait: told once, not for each try meanwhile


class Directory(Protocol):
    """net/ldap.py's, for this room."""

    def authenticate(self, name: str, password: str) -> Any:
        """An entry with addresses and groups, or None."""


class Issuer(Protocol):
    """net/oidc.py's, for this room."""

    @property
    def label(self) -> str:
        """The name on the button."""

    def ask(self, state: str, nonce: str, verifier: str) -> Any:
        """Where to send somebody."""

    def claims(self, code: str, nonce: str, verifier: str, issuer: str = "") -> Any:
        """What the issuer says of who came back."""


class SignIn:
    """The ways in. `is_ours`: whether a domain is one whose mail comes through here."""

    def __init__(
        self,
        accounts: AccountStore,
        settings: Settings,
        *,
        directory: Directory | None = None,
        issuer: Issuer | None = None,
        clock: Callable[[], float] = time.time,
        failure_s: float = _FAILURE_S,
    ) -> None:
        self._accounts = accounts
        self._settings = settings.sign_in
        self._ours = Scope(domains=tuple(one.name for one in settings.domain))
        self._directory = directory
        self._clock = clock
        self.issuer = issuer
        self.failure_s = failure_s

    def now(self) -> float:
        """What one-time codes are judged by."""
        return self._clock()

    # --- ways in ------------------------------------------------------------------------------------------------------

    def by_password(self, name: str, password: str, client_ip: str) -> Entrance:
        """A name and its password, ours or the directory's."""
        if self._waits(name, client_ip):
            return Entrance()
        try:
            who = self._known(name, password)
        except SignInError as error:  # not the caller's failure; what he hears is the same
            log.warning("sign_in_unavailable", error=str(error))
            return Entrance()
        return self._enter(who, client_ip) if who else self._refuse(name, client_ip)

    def by_code(self, token: str, code: str, client_ip: str) -> Entrance:
        """The second step: a code of the app, or a recovery code. The token stays good for another try."""
        found = self._accounts.token("code", token)
        if found is None:
            return Entrance()
        name = found.account
        if self._waits(name, client_ip):
            return Entrance(code_token=token)
        if not self.takes_code(name, code):
            return Entrance(code_token=token, waits=self._refuse(name, client_ip).waits)
        record = self._accounts.record(name)
        if record is None or record.is_disabled or self._accounts.take_token("code", token) is None:
            return Entrance()
        return self._arrive(record.account, client_ip)

    def link_for(self, address: str) -> str | None:
        """A token for the link that is mailed to this address; None when it is not ours to sign in by one."""
        found = address.strip().lower()
        if not self._is_ours(found) or not self._may_be("link", found):
            return None
        return self._accounts.new_token("link", LINK_TTL_S, subject=found)

    def by_link(self, token: str, client_ip: str) -> Entrance:
        """Who has the link reads the address's mail."""
        found = self._accounts.take_token("link", token)
        who = self._outside("link", found.subject, (found.subject,), (), ()) if found else None
        return self._enter(who, client_ip) if who else Entrance()

    def ask_issuer(self) -> tuple[str, str]:
        """Where to send somebody, and what his browser keeps meanwhile. Raises SignInError."""
        if self.issuer is None:
            raise SignInError("no issuer is configured")
        state, nonce, verifier = (secrets.token_urlsafe(48) for _ in range(3))
        return str(self.issuer.ask(state, nonce, verifier).url), f"{state}.{nonce}.{verifier}"

    def by_issuer(self, kept: str, state: str, code: str, issuer: str, client_ip: str) -> Entrance:
        """Somebody came back from the issuer with a code; `kept` is what his browser had. Raises SignInError."""
        parts = kept.split(".")
        if self.issuer is None or len(parts) != 3 or not secrets.compare_digest(parts[0].encode(), state.encode()):
            return Entrance()
        claims = self.issuer.claims(code, parts[1], parts[2], issuer)
        oidc = self._settings.oidc
        email = str(claims.get(oidc.email_claim) or "").strip().lower()
        if claims.get("email_verified") is not True and not oidc.trust_email:
            email = ""
        groups = claims.get(oidc.groups_claim) or ()
        names = [groups] if isinstance(groups, str) else [str(one) for one in groups]
        name = (email or f"{claims['sub']}")[:_MAX_NAME]
        who = self._outside("oidc", name, (email,) if email else (), names, oidc.group)
        return self._enter(who, client_ip, has_second_step=True) if who else Entrance()

    # --- for somebody who is in ---------------------------------------------------------------------------------------

    def verifies(self, who: Account, password: str, client_ip: str) -> bool:
        """Whether it is his password, before something that an unwatched browser must not do."""
        if self._waits(who.name, client_ip):
            return False
        try:
            is_right = self._known(who.name, password) is not None
        except SignInError as error:
            log.warning("sign_in_unavailable", error=str(error))
            return False
        if not is_right:
            self._refuse(who.name, client_ip)
        return is_right

    def takes_code(self, name: str, code: str) -> bool:
        """Whether it is a code of now or a recovery code, that was not taken before; now it is."""
        secret = self._accounts.code_secret(name)
        if not secret:
            return False
        step = step_of(secret, code, self._clock())
        if step is not None:
            return self._accounts.take_step(name, step)
        return self._accounts.take_recovery(name, tidy(code))

    # --- pieces -------------------------------------------------------------------------------------------------------

    def _known(self, name: str, password: str) -> Account | None:
        """The same work for every name: a hash, and a round trip where there is a directory."""
        record = self._accounts.record(name)
        is_right = self._accounts.is_password(name, password)
        if record is not None and record.origin == "local":
            if self._directory is not None and not is_right:
                self._directory.authenticate(secrets.token_hex(8), secrets.token_hex(8))
            return record.account if is_right and not record.is_disabled else None
        if self._directory is None or len(name) > _MAX_NAME or not name.isprintable():
            return None
        found = self._directory.authenticate(name, password)
        if found is None:
            return None
        return self._outside("ldap", found.name, found.addresses, _names(found.groups), self._settings.ldap.group)

    def _outside(
        self,
        origin: Origin,
        name: str,
        addresses: Sequence[str],
        groups: Sequence[str],
        mapping: Sequence[RoleGroup],
    ) -> Account | None:
        """The account of somebody whom others vouch for, made or brought up to date. None: he is nobody here."""
        ours = tuple(one for one in addresses if self._is_ours(one))
        lower = {one.lower() for one in groups}
        group = next((one for one in mapping if one.name.lower() in lower), None)
        if group is not None:
            who = Account(name, group.role, group.domains)
        elif ours:
            who = Account(name, "recipient", (), ours)
        else:
            log.info("sign_in_refused", account=name, origin=origin, reason="no group with a role, no address of ours")
            return None
        record = self._accounts.record(name)
        if not _is_free(record, origin, who):
            log.warning("sign_in_refused", account=name, origin=origin, reason="disabled, or of another origin")
            return None
        try:
            if record is None:
                self._accounts.add(who, origin)
            elif record.origin == origin and record.account != who:
                self._accounts.change(who)
        except InputError as error:
            log.warning("sign_in_refused", account=name, origin=origin, reason=str(error))
            return None
        return who

    def _may_be(self, origin: Origin, name: str) -> bool:
        return _is_free(self._accounts.record(name), origin, Account(name, "recipient", (), (name,)))

    def _is_ours(self, address: str) -> bool:
        return address.count("@") == 1 and address.isprintable() and covers_domain(self._ours, domain_of(address))

    def _enter(self, who: Account, client_ip: str, *, has_second_step: bool = False) -> Entrance:
        """`has_second_step`: somebody else's matter, as an issuer's."""
        if not has_second_step and self._accounts.code_secret(who.name):
            return Entrance(code_token=self._accounts.new_token("code", _CODE_TTL_S, who.name))
        return self._arrive(who, client_ip)

    def _arrive(self, who: Account, client_ip: str) -> Entrance:
        self._accounts.succeed(_of_name(who.name), _of_address(client_ip))
        self._accounts.note_sign_in(who.name)
        return Entrance(who)

    def _waits(self, name: str, client_ip: str) -> bool:
        return bool(
            self._accounts.wait_s(_of_name(name), _FREE_OF_NAME)
            or self._accounts.wait_s(_of_address(client_ip), _FREE_OF_ADDRESS)
        )

    def _refuse(self, name: str, client_ip: str) -> Entrance:
        of_name = self._accounts.fail(_of_name(name))
        of_address = self._accounts.fail(_of_address(client_ip))
        return Entrance(waits=of_name >= _FREE_OF_NAME or of_address >= _FREE_OF_ADDRESS)


def make_sign_in(settings: Settings, accounts: AccountStore) -> SignIn:
    """As configured. Raises ConfigError for a secret's file or a certificate that cannot be used."""
    return SignIn(accounts, settings, directory=make_directory(settings), issuer=make_issuer(settings))


def make_directory(settings: Settings) -> Directory | None:
    """[sign_in.ldap]; None when it is off. Raises ConfigError."""
    from gateway.net.ldap import LdapDirectory

    ldap = settings.sign_in.ldap
    secret = _secret("[sign_in.ldap] search_password_file", ldap.search_password_file)
    return LdapDirectory(ldap, secret) if ldap.server else None


def make_issuer(settings: Settings) -> Issuer | None:
    """[sign_in.oidc]; None when it is off. Raises ConfigError."""
    oidc = settings.sign_in.oidc
    if not oidc.issuer:
        return None
    from gateway.net.oidc import OidcIssuer

    back = (settings.web.url or f"http://{settings.web.listen}") + "/sign-in/oidc/back"
    return OidcIssuer(oidc, _secret("[sign_in.oidc] client_secret_file", oidc.client_secret_file), back)


def _secret(option: str, path: str) -> str:
    if not path:
        return ""
    try:
        return read_secret(path).decode().strip("\r\n")
    except ValueError as error:
        raise ConfigError(f"{option} {path}: {error}") from None


def _is_free(record: AccountRecord | None, origin: Origin, who: Account) -> bool:
    """Whether he may be the account of this name: a new one, his own, or by a mailed link a recipient's of ours."""
    if record is None:
        return True
    if record.is_disabled:
        return False
    is_his = record.account.role == "recipient" and set(who.addresses) <= set(record.account.addresses)
    return record.origin == origin or (origin == "link" and is_his)


def _names(groups: Iterable[str]) -> list[str]:
    """DNs, and the common name that each begins with."""
    found = list(groups)
    return found + [dn.partition("=")[2].partition(",")[0] for dn in found if dn.lower().startswith("cn=")]


def _of_name(name: str) -> str:
    return f"name:{name.strip().lower()}"  # a directory takes it however it is typed


def _of_address(client_ip: str) -> str:
    return f"address:{client_ip}"
