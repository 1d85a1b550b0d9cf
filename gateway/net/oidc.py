"""Signing in at an OpenID Connect issuer: discovery, authorization code with PKCE, the ID token verified.

OpenID Connect Core 1.0 §3.1 and Discovery 1.0, RFC 7636 (S256), RFC 9207 (whose answer it is). Authlib does the
protocol, joserfc the signatures: asymmetric ones only, by a key of the issuer's. Blocking; each request at most 10 s.
"""

from __future__ import annotations

import ssl
import threading
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from urllib.parse import urlsplit

import httpx2
from authlib.common.errors import AuthlibBaseError
from authlib.integrations.httpx_client import OAuth2Client
from authlib.oidc.core import CodeIDToken
from joserfc import jwt
from joserfc.errors import InvalidKeyIdError, JoseError
from joserfc.jwk import KeySet
from joserfc.jws import JWSRegistry

from gateway.config.settings import Oidc
from gateway.errors import ConfigError, SignInError

_TIMEOUT_S = 10.0
_FRESH_S = 3600.0  # an issuer's description and keys
_LEEWAY_S = 60  # clocks differ
_ALGORITHMS = ["RS256", "RS384", "RS512", "PS256", "PS384", "PS512", "ES256", "ES384", "ES512", "Ed25519", "EdDSA"]


@dataclass(frozen=True, slots=True)
class Asked:
    """Somebody is sent to the issuer: where to, and what has to be known when he comes back."""

    url: str
    nonce: str
    verifier: str


class OidcIssuer:
    """One issuer. `back`: our address that it sends people back to."""

    def __init__(self, settings: Oidc, client_secret: str, back: str) -> None:
        self._settings = settings
        self._secret = client_secret
        self._back = back
        self._context = _context(settings)
        self._lock = threading.Lock()
        self._described: Mapping[str, Any] = {}
        self._keys: KeySet | None = None
        self._read_at = 0.0

    @property
    def label(self) -> str:
        """The name on the button."""
        return self._settings.label or urlsplit(self._settings.issuer).hostname or ""

    def ask(self, state: str, nonce: str, verifier: str) -> Asked:
        """Where to send somebody. Raises SignInError."""
        try:
            with self._client() as client:
                endpoint = self._describe(client)["authorization_endpoint"]
                url, _ = client.create_authorization_url(endpoint, state=state, code_verifier=verifier, nonce=nonce)
        except (httpx2.HTTPError, ValueError, KeyError) as error:
            raise self._fault(error) from None
        return Asked(url, nonce, verifier)

    def claims(self, code: str, nonce: str, verifier: str, issuer: str = "") -> Mapping[str, Any]:
        """What the issuer says of who came back with the code. Raises SignInError.

        Args:
            issuer: the `iss` that came with the code, "" for none.
        """
        if issuer and issuer != self._settings.issuer:
            raise SignInError(f"issuer {self._settings.issuer}: the answer is another issuer's")
        try:
            with self._client() as client:
                endpoint = self._describe(client)["token_endpoint"]
                answer = client.fetch_token(
                    endpoint, grant_type="authorization_code", code=code, code_verifier=verifier
                )
                return self._verified(client, answer, nonce)
        except (httpx2.HTTPError, AuthlibBaseError, JoseError, ValueError, KeyError, TypeError) as error:
            raise self._fault(error) from None

    def _client(self) -> Any:
        return OAuth2Client(
            client_id=self._settings.client_id,
            client_secret=self._secret,
            scope=" ".join(self._settings.scopes),
            redirect_uri=self._back,
            code_challenge_method="S256",
            token_endpoint_auth_method=self._authenticates_by(),
            timeout=_TIMEOUT_S,
            verify=self._context,
            follow_redirects=False,
        )

    def _authenticates_by(self) -> str:
        """Basic is what holds when nothing is said (Discovery §3)."""
        offered = self._described.get("token_endpoint_auth_methods_supported") or ["client_secret_basic"]
        return "client_secret_basic" if "client_secret_basic" in offered else "client_secret_post"

    def _describe(self, client: Any) -> Mapping[str, Any]:
        with self._lock:
            if not self._described or time.monotonic() - self._read_at > _FRESH_S:
                where = self._settings.issuer.rstrip("/") + "/.well-known/openid-configuration"
                described = _json(client, where)
                if described["issuer"] != self._settings.issuer:  # Discovery §4.3
                    raise ValueError(f"it calls itself {str(described['issuer'])[:200]}")
                self._described, self._keys, self._read_at = described, None, time.monotonic()
                client.token_endpoint_auth_method = self._authenticates_by()
            return self._described

    def _key_set(self, client: Any, *, anew: bool = False) -> KeySet:
        with self._lock:
            if self._keys is None or anew:
                self._keys = KeySet.import_key_set(_json(client, self._described["jwks_uri"]))  # type: ignore[arg-type]
            return self._keys

    def _verified(self, client: Any, answer: Mapping[str, Any], nonce: str) -> Mapping[str, Any]:
        registry = JWSRegistry(algorithms=_ALGORITHMS, strict_check_header=False)
        try:
            token = jwt.decode(answer["id_token"], self._key_set(client), registry=registry)
        except InvalidKeyIdError:  # the issuer has new keys
            token = jwt.decode(answer["id_token"], self._key_set(client, anew=True), registry=registry)
        ours = self._settings.client_id
        wanted = {
            "iss": {"essential": True, "value": self._settings.issuer},
            "aud": {"essential": True, "value": ours},
            "sub": {"essential": True},
            "exp": {"essential": True},
            "iat": {"essential": True},
            "nonce": {"essential": True, "value": nonce},
        }
        params = {"nonce": nonce, "client_id": ours, "access_token": answer.get("access_token", "")}
        claims = CodeIDToken(token.claims, token.header, wanted, params)
        claims.validate(leeway=_LEEWAY_S)
        return dict(claims)

    def _fault(self, error: Exception) -> SignInError:
        return SignInError(f"issuer {self._settings.issuer}: {type(error).__name__}: {error}")


def _json(client: Any, url: str) -> Mapping[str, Any]:
    answer = client.request("GET", url, withhold_token=True)
    answer.raise_for_status()
    found = answer.json()
    if not isinstance(found, dict):
        raise ValueError(f"{url} has no object")
    return found


def _context(settings: Oidc) -> ssl.SSLContext:
    try:
        return ssl.create_default_context(cafile=settings.ca or None)
    except (ssl.SSLError, OSError) as error:
        raise ConfigError(f"[sign_in.oidc] ca {settings.ca}: {error.strerror or error}; write a PEM file") from None
