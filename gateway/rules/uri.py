"""The URIs of a message as `uri` rules see them: those of its HTML, and what a mail reader would make one in its text.

Each stands there as it is written and, where that differs, as a reader would follow it: with a scheme, without
percent-encoding and user name, an IP address in its usual form, and where a redirector in it leads. In text a word
counts that begins with a scheme or "www.", is an address, or is a host name below a known top-level domain. Total;
bounded by MAX_URIS, and by MAX_WORDS long words of a text.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path

import idna

from gateway.rules.matcher import Matcher
from gateway.rules.rule import RuleFiles

MAX_URIS = 4000
MAX_URI = 8192
_LONG_WORD, _MAX_LONG_WORDS, _MAX_WORD = 300, 50, 4096
_MAX_FORMS = 20  # of one URI: redirectors within redirectors

_END = r"><\"`}\]{\[|\s\x1b\xa0"
_END_OF_MAIL = _END + r",('\x80-\U0010ffff"
_MAIL, _WORD_OF_MAIL = f"(?-i:[^{_END_OF_MAIL}])", f"(?-i:[^{_END_OF_MAIL}@])"  # ignoring case, U+212A is a "k"
_IN_TEXT = re.compile(
    rf"""(?:\b|(?<=[><"'`,{{\[(|\x1b\xa0]))(?:
        ((?:(?:https?|ftp)://|(?:www\d{{0,2}}|ftp)\.)[^{_END}]{{1,2048}})
        |((?:mailto:{_MAIL}{{1,2048}}|{_WORD_OF_MAIL}{{1,251}}@{_MAIL}{{1,251}}))(?=(?-i:[{_END_OF_MAIL}])|\Z)
        |(?:^|(?<=[!"#$&'()*+,/:;<=>?@\[\\\]^`{{|}}~]))
         ([a-z\d][a-z\d._-]{{0,251}}\.([a-z][a-z\d-]{{1,62}}))(?![a-z\d-]|\.[a-z\d])
         (?:\.?(?::\d{{1,5}})?(?:/[^{_END}]{{1,2048}})?)(?=[{_END}]|\Z)
    )""",
    re.IGNORECASE | re.VERBOSE,
)
_SCHEME = re.compile(r"(?:https?|ftp|mailto):", re.IGNORECASE)
_NO_URI = re.compile(r"[cm]id:|\w+:/{0,2}$", re.IGNORECASE)
_WWW = re.compile(r"www\d{0,2}\.", re.IGNORECASE)
_SAID_BEFORE_MAIL = re.compile(r"(?:skype|e?-?mail)?:+", re.IGNORECASE)
_HOST_OF_MAIL = re.compile(r"[^?@]*@([^?&>]*)")
_TRAILING = "-~!@#^&*()_+=:;'?,."

_RELATIVE = re.compile("[#?&/]")  # a reader opens //host as http://host, which is among the links too
_IS_MAIL = re.compile(r"mailto:|[^:]*@", re.IGNORECASE)
_ENCODED = re.compile(r"%([0-9a-fA-F]{2})")
_UNSAFE = re.compile(r'[\0-\x20\x7f-\xff"<>]|%(?![0-9a-fA-F]{2})')
_SLASHES = re.compile(r"^(https?:)/{0,2}", re.IGNORECASE)
_ANY_SCHEME = re.compile(r"[-_a-z0-9]+:", re.IGNORECASE)
_QUERY_AT_HOST = re.compile(r"^(https?://[^/?#]+)([?#])", re.IGNORECASE)
_REFERENCE = re.compile(r"&#(?:0*(\d{2,5})|x0*([0-9a-f]{2,4}));", re.IGNORECASE)
_DOTS = frozenset((0x2E, 0x3002, 0xFF0E, 0xFF61))
_PARTS = re.compile(r"(https?://)([^@/?#]*@)?([^/?#:]+)((?::(\d*))?.*)$", re.IGNORECASE | re.DOTALL)
# Followed as it is written: a name with a top-level domain, and nothing encoded
_PLAIN = re.compile(
    r"https?://(?!www\.[^./]*(?:/|$))(?>(?:[A-Za-z0-9][A-Za-z0-9-]*+\.)+)[A-Za-z]{2,63}(?:/[^%\\&\s]*)?"
    r"|mailto:[^@%?&\\\s]+@[^@%?&\\\s]+",
    re.ASCII,
)
_LAST_LABELS = re.compile(r"\.([a-z][a-z\d-]{1,62})", re.IGNORECASE)
_NO_PORT = re.compile(r":(?:[/?#]|$)")
_HTTP = re.compile(r"https?:/{0,2}[^&#]+", re.IGNORECASE)
_OCTETS = re.compile(r"(?:0x[0-9a-f]+|\d+)(?:\.(?:0x[0-9a-f]+|\d+)){3}", re.IGNORECASE)
_ONE_NUMBER = re.compile(r"0x[0-9a-f]{1,64}|\d{1,32}", re.IGNORECASE)
_BLANK_AT_END = re.compile(r"(?:%20)+$")
_IPV4 = re.compile(r"(?:\d{1,3}\.){3}\d{1,3}")
_LABEL = re.compile(r"[a-z0-9_](?:[a-z0-9_-]*[a-z0-9_])?")
_GENERIC = frozenset("com net org info biz edu gov mil int name pro mobi app dev xyz top online site shop club".split())


class UriReader:
    """Finds the URIs; knows the top-level domains and redirectors of the rule files. Immutable."""

    def __init__(self, files: RuleFiles | None = None, cache_dir: Path | None = None) -> None:
        self._domains = frozenset(files.lists.words.get("util_rb_tld", ())) if files else frozenset()
        self._redirectors = Matcher(files.redirectors if files else (), cache_dir)

    def read(self, linked: Iterable[str], text: str) -> list[str]:
        """All forms of all URIs, each once.

        Args:
            linked: URIs of HTML, as written.
            text: what `body` rules see, white space folded.
        """
        found: dict[str, None] = {}
        whole = [uri[:MAX_URI] for uri in linked if uri]
        whole += dict.fromkeys(self._in_text(text))
        redirecting = self._redirecting("\n".join(whole))
        for uri in whole:
            found.update(dict.fromkeys(self._forms(uri, redirecting)))
            if len(found) > MAX_URIS:
                break
        return list(found)

    # --- in text

    def _in_text(self, text: str) -> Iterator[str]:
        """Those that a reader would make links of, or could be asked to copy."""
        long_words = 0
        for word in dict.fromkeys(_likely_words(text)):
            long_words += len(word) > _LONG_WORD
            if self._may_hold_one(word) and (long_words <= _MAX_LONG_WORDS or len(word) <= _LONG_WORD):
                for match in _IN_TEXT.finditer(word[:_MAX_WORD]):
                    uri = self._linked(match)
                    if uri and self._leads_somewhere(uri):
                        yield uri

    def _may_hold_one(self, word: str) -> bool:
        """A scheme, an "@", "www.", "ftp." or a known top-level domain: one look before a dear one."""
        if "@" in word or ":" in word:
            return True
        lower = word.lower()
        return "www" in lower or "ftp." in lower or any(map(self._is_domain, _LAST_LABELS.findall(word)))

    def _linked(self, match: re.Match[str]) -> str:
        """The URI for a word, with a scheme; "" when it is none."""
        raw = match[0]
        end = raw.find(")")
        if end >= 0 and "(" not in raw[:end]:
            raw = raw[:end]
        raw = raw.rstrip(_TRAILING)
        if match[3] is not None and not (self._is_domain(match[4]) and is_host(match[3].lower())):
            return ""
        if (match[2] is not None and "@" not in raw) or _NO_URI.match(raw):
            return ""
        return raw if _SCHEME.match(raw) else _with_scheme(raw)

    def _leads_somewhere(self, uri: str) -> bool:
        """To a host below a known top-level domain, or an address; anywhere when the files name none."""
        if not self._domains:
            return True
        if uri[:7].lower() == "mailto:":
            match = _HOST_OF_MAIL.match(decoded(uri)[7:])
            return match is not None and self.is_known(_BLANK_AT_END.sub("", match[1]).rstrip("."))
        match = _PARTS.match(decoded(uri))
        if match is not None and match[5] == "" and not _NO_PORT.match(match[4]):
            return False
        host = match[3] if match else uri.partition("://")[2].partition("/")[0]
        return self.is_known(host) or _as_number(host) or (match is not None and self._leads_through(match[4]))

    def _leads_through(self, rest: str) -> bool:
        match = _HTTP.search(rest)
        inner = _PARTS.match(match[0]) if match else None
        return inner is not None and self.is_known(inner[3])

    def is_known(self, host: str) -> bool:
        """Whether it is a host below a known top-level domain, or an IPv4 address."""
        if _IPV4.fullmatch(host):
            return True
        name = host.rstrip(".").lower() if host.isascii() else ascii_host(host)
        return self._is_domain(name.rpartition(".")[2]) and is_host(name)

    def _is_domain(self, name: str) -> bool:
        name = name.lower()
        return name in self._domains if self._domains else name in _GENERIC or (len(name) == 2 and name.isalpha())

    # --- forms

    def _redirecting(self, every: str) -> Sequence[int]:
        """The redirector patterns that may match one of these."""
        return tuple(self._redirectors.candidates(every.encode("utf-8", "replace")).ends) if every else ()

    def _forms(self, uri: str, redirecting: Sequence[int]) -> list[str]:
        """As it is written, and as it is followed."""
        if not redirecting and _PLAIN.fullmatch(uri) and "http" not in uri[8:]:
            return [uri]
        forms = [uri]
        waiting = [uri]
        while waiting and len(forms) < _MAX_FORMS:
            written = "".join(waiting.pop().splitlines()).strip()
            if len(written) <= 1 or _RELATIVE.match(written):
                continue
            if _IS_MAIL.match(written):
                forms += _forms_of_mail(written)
                continue
            followed = _followed(written)
            forms.append(followed)
            match = _PARTS.match(followed)
            if match is not None:
                forms += _forms_of_host(match)
                inner = self._redirected(f"{match[1]}{match[3]}{match[4]}", match[4], redirecting)
                if inner:
                    forms.append(inner)
                    waiting.append(inner)
        return [form for form in forms if form]

    def _redirected(self, uri: str, rest: str, redirecting: Sequence[int]) -> str:
        for number in redirecting:
            inner = self._group(number, uri)
            if "." in inner:
                return inner
        match = _HTTP.search(rest)
        return match[0] if match is not None and "." in match[0] else ""

    def _group(self, number: int, uri: str) -> str:
        try:
            return self._redirectors.first_group(number, uri.encode("utf-8", "replace")).decode("utf-8", "replace")
        except TimeoutError:
            return ""


def _likely_words(text: str) -> Iterator[str]:
    """Words in which something follows a dot, or digits a scheme: no other can be a URI, and few are like that."""
    text = text.replace("\n", " ").replace("\0", " ")
    for sign, follows in ((".", str.isalnum), ("://", str.isdigit)):
        found = text.find(sign)
        while found >= 0:
            behind = found + len(sign)
            if follows(text[behind : behind + 1]):
                end = text.find(" ", found)
                end = end if end >= 0 else len(text)
                yield text[text.rfind(" ", 0, found) + 1 : end]
                behind = end
            found = text.find(sign, behind)


def is_host(name: str) -> bool:
    """A host name of at least two labels, lower case."""
    labels = name.split(".")
    if len(name) > 253 or len(labels) < 2 or "_" in labels[-1] + labels[-2]:
        return False
    return all(len(label) < 64 and _LABEL.fullmatch(label) for label in labels)


def ascii_host(host: str) -> str:
    """Lower case, A-labels where there are other letters; as it is when it cannot be."""
    if host.isascii():
        return host.lower()
    try:
        return idna.encode(host, uts46=True).decode("ascii")
    except (idna.IDNAError, UnicodeError, ValueError, IndexError):
        return host.lower()


def decoded(uri: str) -> str:
    """Percent-encoded characters as themselves, where they may stand in a URI; others encoded."""
    return _ENCODED.sub(_as_itself, _UNSAFE.sub(_encoded, uri)) if "%" in uri else uri


def _as_itself(match: re.Match[str]) -> str:
    code = int(match[1], 16)
    return chr(code) if 0x20 < code < 0x7F else match[0]


def _encoded(match: re.Match[str]) -> str:
    return f"%{ord(match[0]):02x}"


def _with_scheme(raw: str) -> str:
    if raw[:4].lower() == "ftp.":
        return f"ftp://{raw}"
    at = raw.find("@")
    if at < 0 or _WWW.match(raw) or "/" in raw[: at - 1]:
        return f"http://{raw}"
    if "." not in raw[at + 2 :] or "&nbsp;" in raw:
        return ""
    return f"mailto:{_SAID_BEFORE_MAIL.sub('', raw, count=1) if ':' in raw[:7] else raw}"


def _followed(uri: str) -> str:
    """As a reader opens it."""
    uri = _SLASHES.sub(r"\1//", uri.replace("\\", "/"), count=1)
    uri = decoded(uri)
    if not _ANY_SCHEME.match(uri):
        uri = f"ftp://{uri}" if uri.startswith("ftp.") else f"http://{uri}"
    uri = _QUERY_AT_HOST.sub(r"\1/\2", uri, count=1)
    return _REFERENCE.sub(_referred, uri) if "&#" in uri else uri


def _referred(match: re.Match[str]) -> str:
    code = int(match[1]) if match[1] else int(match[2], 16)
    return "." if code in _DOTS else chr(code) if 0x20 < code < 0x7F else match[0]


def _forms_of_mail(uri: str) -> Iterator[str]:
    """Without what stands behind the address."""
    local, at, rest = uri.partition("@")
    if not at or not local:
        return
    for sign in "?&":
        address, found, _ = rest.partition(sign)
        if found and address:
            yield f"{local}@{address}"
    if "%20" in uri:
        yield f"mailto:{local.removeprefix('mailto:').replace('%20', '')}@{re.split('[?&%]', rest, maxsplit=1)[0]}"


def _forms_of_host(parts: re.Match[str]) -> Iterator[str]:
    """Without its port where that is the usual one, and with its host as a reader looks it up."""
    scheme, user, host, rest, port = parts.groups()
    if port and port == {"http://": "80", "https://": "443"}.get(scheme.lower()):
        yield f"{scheme}{host}{rest[len(port) + 1 :]}"
    name = ascii_host(host)
    if name != host.lower():
        yield f"{scheme}{name}{rest}"
        host = name
    trimmed = re.sub(r"[^0-9A-Za-z]+$", "", "".join(char for char in host if char > " "))
    if trimmed != host:
        yield f"{scheme}{trimmed}{rest}"
    if _OCTETS.fullmatch(trimmed):
        yield f"{scheme}{'.'.join(str(_number(one)) for one in trimmed.split('.'))}{rest}"
    elif _ONE_NUMBER.fullmatch(trimmed):
        value = _number(trimmed) & 0xFFFFFFFF
        yield f"{scheme}{'.'.join(str(value >> shift & 255) for shift in (24, 16, 8, 0))}{rest}"
    elif scheme == "http://" and not user and port in (None, "", "80") and name != "localhost":
        label = name.removeprefix("www.")
        if "." not in label:
            yield f"http://www.{label}.com{rest}"


def _as_number(host: str) -> bool:
    """An address written as inet_aton takes it."""
    return _OCTETS.fullmatch(host) is not None or _ONE_NUMBER.fullmatch(host) is not None


def _number(text: str) -> int:
    """As inet_aton reads it."""
    if text[:2].lower() == "0x":
        return int(text, 16)
    try:
        return int(text, 8 if text.startswith("0") and len(text) > 1 else 10)
    except ValueError:
        return int(text)
