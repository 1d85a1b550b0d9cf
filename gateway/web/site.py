"""What every page shares: who is signed in, the form token, the language, the templates, the security header fields."""

from __future__ import annotations

import hashlib
import hmac
import ipaddress
import re
import time
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextvars import ContextVar
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from fastapi import Request, Response
from fastapi.responses import HTMLResponse
from jinja2 import Environment, FileSystemLoader
from markupsafe import Markup, escape
from starlette.exceptions import HTTPException

from gateway.config.settings import Web
from gateway.policy.access import Act, covers, may, scope_of
from gateway.policy.retention import DAY_S, Retention
from gateway.ports import AccountStore, AuditLog, QuarantineStore
from gateway.scan.evidence import auth_text, evidence_text
from gateway.scan.wording import Tongue, contribution_text
from gateway.types import Account, HeldMessage
from gateway.web.language import Language, languages, pick
from gateway.web.own_words import detail_text, fault_text, reason_text

SESSION_COOKIE = "darban_session"
LANGUAGE_COOKIE = "darban_language"
_HEADERS = {
    "Content-Security-Policy": "default-src 'none'; script-src 'self'; style-src 'self'; connect-src 'self'; "
    "img-src 'self'; frame-src 'self'; form-action 'self'; frame-ancestors 'none'; base-uri 'none'",
    "X-Content-Type-Options": "nosniff",
    "Referrer-Policy": "no-referrer",
    "Cross-Origin-Opener-Policy": "same-origin",
    "Cache-Control": "no-store",
}
_REASONS_SHOWN = 2
_SOON_S = 7 * DAY_S
_POLLS = ("news", "job")  # elements that ask by themselves, which htmx names: nobody has to be there
_HOPS = 10  # of X-Forwarded-For
_MOST_ALIKE = 1000  # are counted
_OF_THE_FRAMEWORK = {
    "Not Found": "There is no such page.",
    "Method Not Allowed": "The request was not understood.",
}
# Unicode's embeddings, overrides, isolates (UAX #9 §2), and the controls that no screen shows
_UNSEEN = re.compile("[\u202a-\u202e\u2066-\u2069\\x00-\\x08\\x0b\\x0c\\x0e-\\x1f\\x7f-\\x9f]")
ACTS = {  # of the audit log -> the message id of its name
    "view": "Opened",
    "download": "Downloaded",
    "release": "Released",
    "spam": "Called spam",
    "delete": "Deleted",
    "note": "Note written",
    "redirect": "Released to another address",
    "bulk release": "Release of several messages",
    "bulk spam": "Deletion of several messages as spam",
    "bulk delete": "Deletion of several messages",
    "bulk stop": "Bulk act stopped",
    "bulk go-on": "Bulk act resumed",
    "sign-in": "Signed in",
    "sign-in-refused": "Sign-in refused",
    "sign-in-link": "Sign-in link mailed",
    "sign-out": "Signed out",
    "setup": "First account made",
    "sign-in-locked": "Sign-in has to wait",
    "password": "Password set",
    "code-on": "One-time codes on",
    "code-off": "One-time codes off",
    "recovery-codes": "New recovery codes",
    "sessions-end": "Sessions ended",
    "account-add": "Account added",
    "account-change": "Account changed",
    "account-create": "Account made on the command line",
    "account-reset": "Link for a new password made",
    "account-disable": "Account disabled",
    "account-enable": "Account enabled",
    "account-code-off": "One-time codes of an account switched off",
    "account-delete": "Account deleted",
    "sender-allow": "Sender allowed",
    "sender-block": "Sender blocked",
    "sender-remove": "Entry on a sender removed",
    "sender-import": "Senders imported",
    "token-add": "Token made",
    "token-revoke": "Token revoked",
    "teach": "Lessons taught",
    "revoke": "Lessons taken back",
    "restore": "Lessons restored",
    "expire": "Deleted by retention",
    "export": "Exported",
    "erase": "Erased what is kept of a person",
    "rotate key": "Master key changed",
    "destroy key": "Key of stored contents destroyed",
    "digest": "Digests stopped or wanted again",
}
_QUOTED = re.compile("“([^“”]*)”")
_ISOLATED = "\u2068{}\u2069"  # FSI, PDI (UAX #9 §2.4)
_SET_APART = re.compile("\u2068([^\u202a-\u202e\u2066-\u2069]*)\u2069")  # balanced, so that nothing else turns
_CLIENT: ContextVar[str] = ContextVar("client", default="")  # the address of the request being answered


@dataclass(frozen=True, slots=True)
class Site:
    """The parts that routes share. `translations`: language -> finding or rule -> its description."""

    accounts: AccountStore
    audit: AuditLog
    retention: Retention
    hostname: str
    translations: Mapping[str, Mapping[str, str]]
    languages: Mapping[str, Language]
    templates: Mapping[str, Environment]
    web: Web

    @classmethod
    def make(
        cls,
        accounts: AccountStore,
        audit: AuditLog,
        retention: Retention,
        hostname: str,
        translations: Mapping[str, Mapping[str, str]],
        web: Web,
    ) -> Site:
        """With the catalogues and templates that ship."""
        known = languages()
        templates = {code: _environment(one) for code, one in known.items()}
        return cls(accounts, audit, retention, hostname, translations, known, templates, web)

    async def guard(self, request: Request, proceed: Callable[[Request], Awaitable[Response]]) -> Response:
        """Middleware: who asks, for the audit log; the security header fields where none are stricter."""
        _CLIENT.set(self.client_ip(request))
        answer = await proceed(request)
        for name, value in _HEADERS.items():
            answer.headers.setdefault(name, value)
        return answer

    def language(self, request: Request) -> Language:
        """The reader's."""
        chosen = request.cookies.get(LANGUAGE_COOKIE, "")
        return pick(dict(self.languages), chosen, request.headers.get("accept-language", ""))

    def account(self, request: Request) -> Account:
        """Who is signed in; a dependency of the routes. Everybody else is sent to the door."""
        is_use = request.headers.get("hx-trigger") not in _POLLS
        who = self.accounts.session(request.cookies.get(SESSION_COOKIE, ""), is_use=is_use)
        if who is None and request.headers.get(
            "hx-request"
        ):  # a script follows a 303 in silence and never sees the door
            raise HTTPException(401, "Sign in again.", headers={"HX-Redirect": "/sign-in"})
        if who is None:
            raise HTTPException(303, headers={"Location": "/sign-in"})
        return who

    def allowed(self, act: Act) -> Callable[[Request], Account]:
        """A dependency of the routes: who is signed in, and may do this. Raises 403 for others."""

        def account(request: Request) -> Account:
            who = self.account(request)
            if not may(who, act):
                raise HTTPException(403, "Your account may not do that.")
            return who

        return account

    def record(self, who: Account | str, act: str, subject: str = "", detail: str = "", domain: str = "") -> None:
        """In the audit log: who did what to which message or thing, from which address.

        The domain is found by itself where the subject is a held message or an address."""
        name = who if isinstance(who, str) else who.name
        self.audit.append(name, act, subject, detail, domain=domain, client=current_client())

    def client_ip(self, request: Request) -> str:
        """Who asks: the peer, or whom it names when it is a proxy of ours; "" when there is no address."""
        peer = request.client.host if request.client else ""
        return true_client(peer, request.headers.get("x-forwarded-for", ""), self.web.trusted_proxies)

    def url(self, request: Request, path: str) -> str:
        """A page of ours as an address that a person is given."""
        return (self.web.url or str(request.base_url).rstrip("/")) + path

    def check_origin(self, request: Request) -> None:
        """Raises 403 for a form of another site's, where there is no session whose token it could lack.

        Browsers say so by themselves (Fetch Metadata). Origin says nothing: it is "null" under our Referrer-Policy.
        """
        if request.headers.get("sec-fetch-site", "none") not in ("same-origin", "none"):
            raise HTTPException(403, "The form is too old. Load the page again.")

    def check_token(self, request: Request, csrf: str) -> None:
        """Raises 403 for a form that is not ours."""
        if not hmac.compare_digest(csrf.encode(), _csrf(request).encode()):
            raise HTTPException(403, "The form is too old. Load the page again.")

    def page(self, request: Request, name: str, status: int = 200, **values: Any) -> HTMLResponse:
        """A rendered template, in the reader's language where `language` is not given.

        What is given wins over what every page has."""
        language: Language = values.get("language") or self.language(request)
        shared = {
            "csrf": _csrf(request),
            "hostname": self.hostname,
            "language": language,
            "languages": self.languages.values(),
            "here": request.url.path + (f"?{request.url.query}" if request.url.query else ""),
            "may": lambda act: values.get("who") is not None and may(values["who"], act),
            "describe": lambda hit: self.describe(language, hit),
            "reason_of": lambda hit: self.reason(language, hit),
            "days_left": lambda held: days_left(self.retention, held, time.time()),
            "because": lambda verdict, wording: self.because(language, verdict, wording),
        }
        return HTMLResponse(self.templates[language.code].get_template(name).render(shared | values), status)

    def describe(self, language: Language, hit: Mapping[str, Any]) -> str:
        """A hit's description in the reader's language, else as the verdict has it."""
        return self.translations.get(language.code, {}).get(hit["name"], str(hit["description"]))

    def why(self, language: Language, verdict: Mapping[str, Any]) -> str:
        """The reasons in one line: the heaviest hits that speak against the message."""
        against = [hit for hit in verdict["hits"] if hit["score"] > 0][:_REASONS_SHOWN]
        mark = "؛ " if language.direction == "rtl" else "; "
        first, *others = [self.reason(language, hit) for hit in against] or [""]
        return mark.join((first, *map(_inside, others)))

    def reason(self, language: Language, hit: Mapping[str, Any]) -> str:
        """A hit that speaks against the message, as a line of its own."""
        if hit["name"] == "CLASSIFIER":
            return str(language.translations.gettext("Its words read like those of spam"))
        return self.describe(language, hit)

    def because(self, language: Language, verdict: Mapping[str, Any], wording: str) -> str:
        """The same inside a sentence; `wording` stands for the classifier's opinion, which has no name of its own."""
        against = [hit for hit in verdict["hits"] if hit["score"] > 0][:_REASONS_SHOWN]
        mark = "؛ " if language.direction == "rtl" else "; "
        return mark.join(
            wording if hit["name"] == "CLASSIFIER" else _inside(self.describe(language, hit)) for hit in against
        )


def true_client(peer: str, forwarded_for: str, proxies: Sequence[str]) -> str:
    """The last address that a proxy of ours did not add itself; what stands before it anybody may have written."""
    networks = [ipaddress.ip_network(one) for one in proxies]
    found = peer
    for one in reversed(forwarded_for.split(",")[-_HOPS:]):
        try:
            is_ours = any(ipaddress.ip_address(found) in network for network in networks)
            if not is_ours:
                break
            found = str(ipaddress.ip_address(one.strip()))
        except ValueError:
            break
    return found


def current_client() -> str:
    """For the audit log: the address of who asks, and his token."""
    return _CLIENT.get()


def acts_by_token(token: str) -> None:
    """What is recorded of this request names the token."""
    if token.startswith("token "):
        _CLIENT.set(f"{_CLIENT.get()} {token}".strip())


def error_page(site: Site, request: Request, error: HTTPException) -> Response:
    """A refusal as a page a person reads."""
    if error.status_code < 400:
        return Response(status_code=error.status_code, headers=error.headers)
    name = "error_line.html" if request.headers.get("hx-request") else "error.html"
    message = _OF_THE_FRAMEWORK.get(error.detail, error.detail)
    where = {} if request.method in ("GET", "HEAD") else {"here": "/"}  # no page stands where a form is sent
    answer = site.page(request, name, error.status_code, message=message, who=None, **where)
    answer.headers.update(error.headers or {})
    return answer


def find(quarantine: QuarantineStore, held_id: str, who: Account) -> HeldMessage:
    """Raises 404 for a message that is not there, or not his to see: nobody learns which."""
    held = quarantine.get(held_id)
    if held is None or not covers(scope_of(who), held.recipient):
        raise HTTPException(404, "There is no such message in the quarantine.")
    return held


def content(quarantine: QuarantineStore, held: HeldMessage) -> bytes:
    """The message as it was received. Raises 410 for one that was deleted, StoreError."""
    if held.state == "deleted":
        raise HTTPException(410, "The message was deleted.")
    return quarantine.content(held.id)


def state_name(held: HeldMessage) -> str:
    """The message id of a state's name in the catalogue."""
    return {"held": "Held", "releasing": "Being released", "released": "Released", "deleted": "Deleted"}[held.state]


def days_left(retention: Retention, held: HeldMessage, now: float) -> int | None:
    """Whole days until a held message is deleted by itself, when they are few enough to be told."""
    at = retention.expires_at(held) if held.state == "held" else None
    return max(0, int((at - now) // DAY_S)) if at is not None and at - now < _SOON_S else None


def seen(text: str) -> str:
    """Controls and turns of the reading direction are shown, not obeyed: "invoice_\\u202efdp.exe" reads like a PDF."""
    return _UNSEEN.sub(lambda found: f"[U+{ord(found[0]):04X}]", text or "")


def evidence(line: str) -> Markup:
    """A line of evidence. What a sentence of ours quotes, or sets apart by FSI and PDI, has a direction of its own; the
    sentence keeps its. A line without either is what stood in the message, and goes as it reads."""
    text = str(escape(line))
    parted = _QUOTED.sub(r"“<bdi>\1</bdi>”", _SET_APART.sub(r"<bdi>\1</bdi>", text))
    direction = "" if parted == text else ' dir="ltr"'
    return Markup(f"<bdi{direction}>{seen(parted)}</bdi>")  # noqa: S704  escaped above


def person(text: str) -> Markup:
    """A name and an address, each in its own direction."""
    name, opening, address = text.rpartition(" <")
    if not (opening and address.endswith(">")):
        return Markup("<bdi>{}</bdi>").format(text)
    return Markup('<bdi>{}</bdi> <bdi class="address" dir="ltr">&lt;{}</bdi>').format(name, address)


def tongue(language: Language) -> Tongue:
    """How this reader is spoken to: sentences are markup, what strangers wrote keeps its direction."""

    def shown(words: str) -> str:
        return Markup("<bdi>{}</bdi>").format(seen(words))

    return Tongue(lambda text: escape(language.translations.gettext(text)), language.number, shown)


def contribution(language: Language, one: Mapping[str, Any]) -> str:
    """What spoke for or against, as markup; of verdicts that were kept before there were kinds, the English words."""
    if "kind" not in one:
        return Markup("<bdi>{}</bdi>").format(seen(str(one["text"])))
    return contribution_text(str(one["kind"]), str(one["value"]), tongue(language))


def reason(language: Language, text: str) -> str:
    """What the gateway wrote, in the reader's words, as markup; anybody else's words stand as they are."""
    return reason_text(text, language, tongue(language)) or _as_it_is(language, text)


def auth_reason(language: Language, text: str, method: str) -> str:
    """Why a method of authentication came to its result, likewise; a line of another version stays English."""
    english = Markup('<bdi dir="ltr" lang="en">{}</bdi>')
    return auth_text(method, text, tongue(language)) or english.format(seen(text))


def detail(language: Language, text: str, act: str) -> str:
    """What the audit log adds to an act, likewise."""
    return detail_text(act, text, language, tongue(language)) or _as_it_is(language, text)


def fault(language: Language, text: str) -> str:
    """What is wrong with a line of a file, likewise."""
    return fault_text(text, language, tongue(language)) or escape(language.translations.gettext(text))


def _as_it_is(language: Language, text: str) -> str:
    if language.direction == "rtl" and text.isascii():  # a reply, or a line of another version
        return Markup('<bdi lang="en" dir="ltr">{}</bdi>').format(seen(text)) if text else ""
    return Markup("<bdi>{}</bdi>").format(seen(text)) if text else ""


def _inside(words: str) -> str:
    """A sentence's beginning in its middle; what begins like an abbreviation stays."""
    return words[:1].lower() + words[1:] if words[1:2].islower() or words.startswith("A ") else words


def _size(language: Language, size_bytes: int) -> str:
    """In the reader's digits and units."""
    for unit, factor in (("MB", 1_000_000), ("kB", 1000)):
        if size_bytes >= factor:
            shown = f"{size_bytes / factor:.1f}" if size_bytes < 10 * factor else f"{size_bytes / factor:.0f}"
            return f"{language.number(shown)} {language.translations.gettext(unit)}"
    return f"{language.number(str(size_bytes))} {language.translations.gettext('B')}"


def _csrf(request: Request) -> str:
    session = request.cookies.get(SESSION_COOKIE, "")
    return hashlib.sha256(f"csrf|{session}".encode()).hexdigest()


def _environment(language: Language) -> Environment:
    environment = Environment(
        loader=FileSystemLoader(Path(__file__).parent / "templates"),
        autoescape=True,
        extensions=["jinja2.ext.i18n"],
        trim_blocks=True,
        lstrip_blocks=True,
    )
    environment.install_gettext_translations(language.translations, newstyle=True)  # type: ignore[attr-defined]
    plain = Tongue(language.translations.gettext, language.number, seen)
    environment.filters["act"] = lambda name: language.translations.gettext(ACTS[name]) if name in ACTS else name
    environment.filters["when"] = language.when
    environment.filters["day"] = lambda at: language.when(at).partition(" ")[0]
    environment.filters["iso_day"] = lambda at: datetime.fromtimestamp(at, UTC).date().isoformat()
    environment.filters["percent"] = lambda share: f"{share:.0%}"
    environment.filters["number"] = language.number
    environment.filters["grouped"] = lambda number: f"{number:,}"
    environment.filters["alike"] = lambda number: f"{number:,}" if number <= _MOST_ALIKE else f"{_MOST_ALIKE:,}+"
    environment.filters["size"] = lambda number: _size(language, number)
    environment.filters["written_day"] = lambda day: language.when(
        datetime(day.year, day.month, day.day, tzinfo=UTC).timestamp()
    ).partition(" ")[0]
    environment.filters["seen"] = seen
    environment.filters["isolated"] = lambda text: _ISOLATED.format(seen(text))
    environment.filters["evidence"] = lambda line, name: evidence_text(name, line, tongue(language)) or evidence(line)
    environment.filters["plain_evidence"] = lambda line, name: evidence_text(name, line, plain) or seen(line)
    environment.filters["person"] = person
    environment.filters["apart"] = lambda text: Markup("<bdi>{}</bdi>").format(seen(text))
    environment.filters["reason"] = lambda text: reason(language, text)
    environment.filters["plain_reason"] = lambda text: reason_text(text, language, plain) or seen(text)
    environment.filters["auth_reason"] = lambda text, method: auth_reason(language, text, method)
    environment.filters["plain_auth_reason"] = lambda text, method: auth_text(method, text, plain) or seen(text)
    environment.filters["detail"] = lambda text, act: detail(language, text, act)
    environment.filters["contribution"] = lambda one: contribution(language, one)
    environment.filters["fault"] = lambda text: fault(language, text)
    environment.filters["state"] = lambda held: language.translations.gettext(state_name(held))
    return environment
