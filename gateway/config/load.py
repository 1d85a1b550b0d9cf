"""The configuration file -> Settings. Whatever is wrong is one line: which table, which key, what to do.

Relative paths are taken from the file's folder, or from the current one without a file.
"""

from __future__ import annotations

import difflib
import os
import re
import secrets
import stat
import tomllib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from gateway.config.next_hop_url import FILES, parse_next_hop, with_absolute_files
from gateway.config.settings import Arc, Domain, Identity, Person, RoleGroup, Settings, SignIn, Storage
from gateway.errors import ConfigError
from gateway.mail.address import domain_of
from gateway.mail.domain import to_a_label
from gateway.types import NextHopUrls


def load_settings(path: Path | None) -> Settings:
    """The settings of this file, or the defaults (loopback, ./var). Raises ConfigError."""
    raw = _read(path) if path is not None else {}
    name = path.name if path is not None else "configuration"
    try:
        settings = Settings.model_validate(raw)
    except ValidationError as error:
        raise ConfigError(f"{name}: {_explain(error)}") from None
    base = path.resolve().parent if path is not None else Path.cwd()
    found = {
        "domain": _domains(settings, name),
        "arc": _arc(settings.arc, name),
        "identity": _identity(settings.identity, name),
        "sign_in": _sign_in(settings.sign_in, name),
    }
    settings = _absolute(settings.model_copy(update=found), base)
    _check_digests(settings, name)
    _check_files(settings, name)
    return settings


def read_secret(path: str) -> bytes:
    """The content of a file that others must not read. Raises ValueError with what is wrong, in words."""
    try:
        mode = Path(path).stat().st_mode
        content = Path(path).read_bytes()
    except OSError as error:
        raise ValueError(error.strerror) from None
    if mode & (stat.S_IRWXO | stat.S_IWGRP):
        raise ValueError("others may read or change it; chmod 600 or 640")
    return content


def read_master_keys(path: str) -> tuple[bytes, ...]:
    """Of [storage] encryption_key: one a line, the first is the one in use. Raises ConfigError."""
    try:
        lines = read_secret(path).decode("ascii", "replace").split()
    except ValueError as error:
        raise ConfigError(f"[storage] encryption_key: {path}: {error}") from None
    if not lines or not all(re.fullmatch("[0-9a-fA-F]{64}", line) for line in lines):
        raise ConfigError(f"[storage] encryption_key: {path}: holds no key; write one by: openssl rand -hex 32")
    return tuple(bytes.fromhex(line) for line in lines)


def add_master_key(path: str) -> None:
    """A new one before those that are there. Raises ConfigError, OSError."""
    _write_master_keys(path, (secrets.token_bytes(32), *read_master_keys(path)))


def keep_newest_master_key(path: str) -> None:
    """Raises ConfigError, OSError."""
    _write_master_keys(path, read_master_keys(path)[:1])


def _write_master_keys(path: str, keys: Sequence[bytes]) -> None:
    """Whole or not at all, with the rights and the owner that the file has."""
    place, said = Path(path).resolve(), Path(path).stat()
    fresh = place.with_name(f".{place.name}.{secrets.token_hex(4)}")
    try:
        with open(os.open(fresh, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "w") as file:  # noqa: PTH123
            if os.geteuid() == 0:
                os.fchown(file.fileno(), said.st_uid, said.st_gid)
            os.fchmod(file.fileno(), stat.S_IMODE(said.st_mode))
            file.write("".join(f"{key.hex()}\n" for key in keys))
            file.flush()
            os.fsync(file.fileno())
        fresh.replace(place)
    finally:
        fresh.unlink(missing_ok=True)
    folder = os.open(place.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(folder)
    finally:
        os.close(folder)


def state_dir(settings: Settings) -> Path:
    """Where the gateway keeps what is not in the database: the folder of the SQLite file, else of the blobs."""
    database = settings.storage.database
    if settings.storage.state:
        return Path(settings.storage.state)
    if database.startswith("sqlite:///"):
        return Path(database.removeprefix("sqlite:///")).parent
    return Path(settings.storage.blobs.removeprefix("file://")).parent


def describe(settings: Settings) -> list[tuple[str, str, object, bool, str]]:
    """(table, key, value, whether it is the default, meaning) of every option. Passwords in URLs are masked."""
    rows = [("", key, value, default, text) for key, value, default, text in _options(settings) if not _is_table(value)]
    for name in type(settings).model_fields:
        value = getattr(settings, name)
        for table in value if isinstance(value, tuple) else (value,):
            if isinstance(table, BaseModel):
                shown = f"[{name}]" if isinstance(value, tuple) else name
                rows += [(shown, *option) for option in _options(table) if not _is_table(option[1])]
                rows += [
                    (f"[{name}.{key}]", *option)
                    for key, inner, _, _ in _options(table)
                    for one in (inner if _is_table(inner) and isinstance(inner, tuple) else ())
                    for option in _options(one)
                ]
    return [(table, key, _masked(value), default, text) for table, key, value, default, text in rows]


def _options(table: BaseModel) -> list[tuple[str, object, bool, str]]:
    return [
        (name, getattr(table, name), name not in table.model_fields_set, field.description or "")
        for name, field in type(table).model_fields.items()
    ]


def _is_table(value: object) -> bool:
    return isinstance(value, BaseModel) or (
        isinstance(value, tuple) and any(isinstance(one, BaseModel) for one in value)
    )


def _masked(value: object) -> object:
    if not isinstance(value, str) or "://" not in value or "@" not in value:
        return value
    scheme, _, rest = value.partition("://")
    user, _, host = rest.rpartition("@")
    return f"{scheme}://{user.partition(':')[0]}:***@{host}" if ":" in user else value


_IN_WORDS = {  # pydantic's words for Python's types, in TOML's
    "tuple_type": 'write a list: ["...", "..."]',
    "string_type": 'write a text: "..."',
    "missing": "is missing; write it",
}
_PATTERNS = {  # what to write where one of these options has not its form
    "address": "write name@domain",
    "umask": 'write an octal number: "027"',
}


# --- reading ----------------------------------------------------------------------------------------------------------


def _read(path: Path) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text("utf-8"))
    except OSError as error:
        raise ConfigError(f"{path}: {error.strerror}") from None
    except (tomllib.TOMLDecodeError, UnicodeDecodeError) as error:
        raise ConfigError(f"{path.name}: not TOML: {error}") from None


def _explain(error: ValidationError) -> str:
    """The first fault, in words."""
    first = error.errors(include_url=False, include_context=False)[0]
    place = [str(step) for step in first["loc"] if step not in ("tuple", "function-before")]
    where = f"[{'.'.join(place[:-1])}] {place[-1]}" if len(place) > 1 else (place[0] if place else "file")
    if first["type"] == "extra_forbidden":
        near = difflib.get_close_matches(place[-1], _known(place[:-1]), n=1)
        return f"{where}: unknown; did you mean {near[0]}?" if near else f"{where}: unknown; remove it"
    if first["type"] == "string_pattern_mismatch" and place[-1] in _PATTERNS:
        return f"{where}: {_PATTERNS[place[-1]]}"
    return f"{where}: {_IN_WORDS.get(first['type'], first['msg'].removeprefix('Value error, '))}"


def _known(place: list[str]) -> list[str]:
    """Option names of the table at this place."""
    model: Any = Settings
    for step in place:
        if step.isdigit():
            continue
        annotation = model.model_fields[step].annotation if step in model.model_fields else None
        candidates = [annotation, *getattr(annotation, "__args__", ())]
        model = next((one for one in candidates if isinstance(one, type) and issubclass(one, BaseModel)), Settings)
    return list(model.model_fields)


def _domains(settings: Settings, name: str) -> tuple[Domain, ...]:
    seen: dict[str, Domain] = {}
    for domain in settings.domain:
        wildcard = "*." if domain.name.startswith("*.") else ""
        label = to_a_label(domain.name.removeprefix("*."))
        if not label:
            raise ConfigError(f"{name}: [[domain]] name {domain.name!r} is not a domain name")
        if wildcard + label in seen:
            raise ConfigError(f"{name}: [[domain]] {domain.name} stands there twice; keep one")
        seen[wildcard + label] = domain.model_copy(update={"name": wildcard + label})
    return tuple(seen.values())


def _check_digests(settings: Settings, name: str) -> None:
    """They have an address to come from, and go to nobody elsewhere."""
    digests = [(domain.name, one) for domain in settings.domain for one in domain.digest]
    if digests and not settings.digest.address:
        raise ConfigError(f"{name}: [digest] address: is missing; [[domain.digest]] needs an address to come from")
    if settings.sign_in.mail_links and not settings.digest.address:
        raise ConfigError(f"{name}: [digest] address: is missing; [sign_in] mail_links needs an address to come from")
    ours = {domain.name for domain in settings.domain}
    for domain, reader in ((domain, reader) for domain, one in digests for reader in one.to):
        below = domain_of(reader)
        if below not in ours and not any(one.startswith("*.") and below.endswith(one[1:]) for one in ours):
            raise ConfigError(f"{name}: [[domain.digest]] of {domain}: to: {reader} is of no domain named here")


def _identity(identity: Identity, name: str) -> Identity:
    """Domains as A-labels, addresses in lower case."""
    found: dict[str, object] = {
        option: tuple(_label(domain, f"{name}: [identity] {option}") for domain in getattr(identity, option))
        for option in ("partners", "freemail", "shorteners")
        if option in identity.model_fields_set
    }
    if identity.person:
        found["person"] = tuple(_person(one, f"{name}: [[identity.person]] {one.name}") for one in identity.person)
    return identity.model_copy(update=found)


def _person(person: Person, where: str) -> Person:
    found: dict[str, object] = {"address": _address(person.address, f"{where}: address")}
    if "also" in person.model_fields_set:
        found["also"] = tuple(_address(one if "@" in one else f"@{one}", f"{where}: also") for one in person.also)
    return person.model_copy(update=found)


def _address(address: str, where: str) -> str:
    local, _, domain = address.rpartition("@")
    return f"{local.lower()}@{_label(domain, where)}"


def _label(domain: str, where: str) -> str:
    label = to_a_label(domain)
    if not label:
        raise ConfigError(f"{where}: {domain!r} is not a domain name")
    return label


def _arc(arc: Arc, name: str) -> Arc:
    """Domains as A-labels; what sealing needs is there."""
    missing = [option for option in ("domain", "selector", "key") if arc.seal and not getattr(arc, option)]
    if missing:
        raise ConfigError(f"{name}: [arc] {missing[0]}: is missing; sealing needs domain, selector and key")
    labels = {written: to_a_label(written) for written in (*arc.trusted_sealers, arc.domain, arc.selector) if written}
    for written, label in labels.items():
        if not label or label.startswith("["):
            raise ConfigError(f"{name}: [arc] {written!r} is not a domain name")
    return arc.model_copy(
        update={
            "trusted_sealers": tuple(labels[one] for one in arc.trusted_sealers if one),
            "domain": labels.get(arc.domain, ""),
            "selector": labels.get(arc.selector, ""),
        }
    )


def _sign_in(sign_in: SignIn, name: str) -> SignIn:
    """The groups' domains become A-labels. Raises ConfigError."""

    def group(one: RoleGroup, table: str) -> RoleGroup:
        found = []
        for domain in one.domains:
            star = "*." if domain.startswith("*.") else ""
            label = to_a_label(domain.removeprefix("*."))
            if not label:
                raise ConfigError(f"{name}: [[{table}.group]] {one.name}: {domain!r} is no domain name")
            found.append(star + label)
        return one.model_copy(update={"domains": tuple(found)})

    oidc = tuple(group(one, "sign_in.oidc") for one in sign_in.oidc.group)
    ldap = tuple(group(one, "sign_in.ldap") for one in sign_in.ldap.group)
    return sign_in.model_copy(
        update={
            "oidc": sign_in.oidc.model_copy(update={"group": oidc}),
            "ldap": sign_in.ldap.model_copy(update={"group": ldap}),
        }
    )


def _absolute(settings: Settings, base: Path) -> Settings:
    """Every path option from `base`."""

    def at(path: str) -> str:
        return str(base / path) if path else ""

    storage, oidc, ldap = settings.storage, settings.sign_in.oidc, settings.sign_in.ldap
    return settings.model_copy(
        update={
            "domain": tuple(
                one.model_copy(
                    update={
                        "next_hop": _next_hop(one.next_hop, base),
                        "route": tuple(
                            route.model_copy(update={"next_hop": _next_hop(route.next_hop, base)})
                            for route in one.route
                        ),
                    }
                )
                for one in settings.domain
            ),
            "smtp": settings.smtp.model_copy(
                update={"tls_certificate": at(settings.smtp.tls_certificate), "tls_key": at(settings.smtp.tls_key)}
            ),
            "arc": settings.arc.model_copy(update={"key": at(settings.arc.key)}),
            "rules": settings.rules.model_copy(update={"paths": tuple(at(path) for path in settings.rules.paths)}),
            "classifier": settings.classifier.model_copy(update={"model": at(settings.classifier.model)}),
            "learning": settings.learning.model_copy(
                update={
                    "imap": tuple(
                        one.model_copy(update={"ca": at(one.ca), "password_file": at(one.password_file)})
                        for one in settings.learning.imap
                    )
                }
            ),
            "sign_in": settings.sign_in.model_copy(
                update={
                    "oidc": oidc.model_copy(
                        update={"ca": at(oidc.ca), "client_secret_file": at(oidc.client_secret_file)}
                    ),
                    "ldap": ldap.model_copy(
                        update={"ca": at(ldap.ca), "search_password_file": at(ldap.search_password_file)}
                    ),
                }
            ),
            "storage": storage.model_copy(
                update={
                    "database": _sqlite_url(storage.database, base),
                    "blobs": _file_url(storage.blobs, base),
                    "state": at(storage.state),
                    "encryption_key": at(storage.encryption_key),
                    "redis_password_file": at(storage.redis_password_file),
                }
            ),
        }
    )


def _next_hop(urls: NextHopUrls, base: Path) -> NextHopUrls:
    if isinstance(urls, str):
        return "|".join(with_absolute_files(one.strip(), base) for one in urls.split("|"))
    return tuple(str(_next_hop(one, base)) for one in urls)


def server_urls(settings: Settings) -> list[str]:
    """Each URL of a server that a domain or a route of one names."""
    said = [urls for one in settings.domain for urls in (one.next_hop, *(route.next_hop for route in one.route))]
    texts = [text for urls in said for text in ((urls,) if isinstance(urls, str) else urls)]
    return [url for text in texts for url in text.split("|") if not url.startswith("maildir:")]


def _sqlite_url(value: str, base: Path) -> str:
    return f"sqlite:///{base / value.removeprefix('sqlite:///')}" if value.startswith("sqlite:///") else value


def _file_url(value: str, base: Path) -> str:
    """file:///var/x is taken from `base`; an absolute path has four strokes, as in SQLite URLs."""
    return f"file://{base / value.removeprefix('file:///')}" if value.startswith("file:///") else value


def _check_files(settings: Settings, name: str) -> None:
    smtp = settings.smtp
    if bool(smtp.tls_certificate) != bool(smtp.tls_key):
        raise ConfigError(f"{name}: [smtp] tls_certificate and tls_key go together; set both or none")
    files: dict[str, list[str]] = {
        "[smtp] tls_certificate": [smtp.tls_certificate],
        "[smtp] tls_key": [smtp.tls_key],
        "[arc] key": [settings.arc.key],
        "[storage] encryption_key": [settings.storage.encryption_key],
        "[storage] redis_password_file": [settings.storage.redis_password_file],
        "[rules] paths": list(settings.rules.paths),
        "[classifier] model": [settings.classifier.model],
        "[[learning.imap]] ca": [one.ca for one in settings.learning.imap],
        "[[learning.imap]] password_file": [one.password_file for one in settings.learning.imap],
        "[sign_in.oidc]": [settings.sign_in.oidc.ca, settings.sign_in.oidc.client_secret_file],
        "[sign_in.ldap]": [settings.sign_in.ldap.ca, settings.sign_in.ldap.search_password_file],
    }
    for url in server_urls(settings):
        try:
            server = parse_next_hop(url)
        except ConfigError as error:
            raise ConfigError(f"{name}: {error}") from None
        files[f"next_hop {server.shown}"] = [getattr(server, option) for option in FILES]
    for option, paths in files.items():
        for path in filter(None, paths):
            if not Path(path).exists():
                raise ConfigError(f"{name}: {option}: {path} does not exist")
    if not settings.storage.database.startswith(("sqlite:///", "postgresql://")):
        raise ConfigError(f"{name}: [storage] database: write sqlite:///PATH or postgresql://...")
    redis = settings.storage.redis
    if redis and not redis.startswith(("redis://", "rediss://", "unix://")):
        raise ConfigError(f"{name}: [storage] redis: write redis://HOST:PORT/0, rediss://... or unix:///PATH")
    if settings.storage.redis_password_file and not redis:
        raise ConfigError(f"{name}: [storage] redis_password_file: no redis is named")
    _check_blobs(settings.storage, name)


def _check_blobs(storage: Storage, name: str) -> None:
    if storage.blobs == "database":
        if not storage.database.startswith("postgresql://"):
            raise ConfigError(f"{name}: [storage] blobs: in the database only where that is postgresql://...")
        if not storage.state:
            raise ConfigError(f"{name}: [storage] state: is missing; name a folder for what is this gateway's own")
    elif not storage.blobs.startswith("file://"):
        raise ConfigError(f'{name}: [storage] blobs: write file:///PATH, or "database"')
