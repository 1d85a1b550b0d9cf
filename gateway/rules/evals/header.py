"""Header fields and dates (Plugin::HeaderEval)."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping
from itertools import combinations

from gateway.auth.organisation import organisational_domain
from gateway.mail.date import parse_date
from gateway.rules.evals.facts import Facts, is_from_to

Function = Callable[..., bool]
_HOUR = 3600.0
_TRACE_DATE = re.compile(r"\s(.?[0-9]{1,2} [A-Za-z]{3} [0-9]{2,4} [0-9:]{5,8} \S{1,12})")
_MAX_TRACE = 100
_LOCAL_TRACE = re.compile(r"\bfrom (?:localhost\s|(?:\S+ ){1,2}\S*\b127\.0\.0\.1\b)|qmail \d+ invoked by uid \d+")
_FETCHED = re.compile(r"\bby localhost with \w+ \(fetchmail-[\d.]+")
_ILLEGAL = bytes([*range(9), 11, 12, *range(14, 32), *range(127, 256)])
_CONTROLS = bytes([*range(9), 11, 12, *range(14, 32)])
_ANSWER = re.compile(r"(?:(?:re|fwd?|aw|antwort|wg|sv|vb|vs|vl):\s*)+", re.IGNORECASE)
_SHOUTING_CHARSET = re.compile(
    r"=\?[\w-]*(?:koi|jp|jis|euc|gb|big5|isoir|cp1251|windows-1251|georgianps|pt154|tis)[\w-]*\?", re.IGNORECASE
)
_OUTLOOK_ID = re.compile(r"<[0-9a-f]{4}([0-9a-f]{8})\$[0-9a-f]{8}\$[0-9a-f]{8}@")
_OUTLOOK_TICK, _OUTLOOK_START, _OUTLOOK_SLACK = 0.0023283064365387, 27111902.8329849, 250
_TEMPLATE = re.compile(r"%[A-Z][A-Z_-]")
_MAY_HOLD_PERCENT = frozenset(
    """x-vms-to x-uidl x-face to cc from subject references in-reply-to message-id x-message-id resent-message-id
    x-original-message-id""".split()
)
_SORTED_FROM, _SIMILAR_FROM, _SIMILAR_LENGTH, _MOST_RECIPIENTS = 7, 5, 2, 100


# --- dates ----------------------------------------------------------------------------------------------------------


def shifted_date(facts: Facts, low: str, high: str) -> bool:
    """Hours between the Date field and the nearest date of a Received field: low <= hours < high."""
    return is_from_to(facts.once("date shift", _shift) / _HOUR, low, high)


def _shift(facts: Facts) -> float:
    """Seconds; 0 when either is missing."""
    written = next((at for name in ("Resent-Date", "Date") if (at := _first_date(facts, name)) is not None), None)
    traces = _trace_dates(facts)
    if written is None or not traces:
        return 0.0
    shifts = [written - at for at in traces]
    if len(shifts) > 1 and shifts[-1] == 0:  # the client's own clock, twice
        shifts.pop()
    return min(shifts, key=abs)


def _first_date(facts: Facts, name: str) -> float | None:
    return next((at for line in facts.header(name).split("\n") if line and (at := parse_date(line)) is not None), None)


def _trace_dates(facts: Facts) -> list[float]:
    found = [parse_date(match[1].strip()) for line in _traces(facts) if (match := _TRACE_DATE.search(line))]
    return [at for at in found if at is not None]


def _traces(facts: Facts) -> list[str]:
    """Received fields, the last one first, without those of a program that fetched the message from a mailbox."""
    found = [" ".join(field.text.split()) for field in facts.fields("Received")][:_MAX_TRACE]
    is_local = bool(found) and _LOCAL_TRACE.search(found[0]) is not None
    return found[is_local + 1 :] if _FETCHED.search(" ".join(found[is_local : is_local + 1])) else found


def outlook_message_id(facts: Facts) -> bool:
    """Outlook writes the time into its Message-ID: it is neither the Date nor the time of the first Received."""
    match = _OUTLOOK_ID.search(facts.header("Message-ID"))
    if match is None:
        return False
    token = int(match[1], 16)
    dates = [facts.mail.message.date or 0.0, *(_trace_dates(facts)[-1:] or [0.0])]
    return all(abs(token - int(at * _OUTLOOK_TICK + _OUTLOOK_START)) >= _OUTLOOK_SLACK for at in dates)


# --- subject --------------------------------------------------------------------------------------------------------


def subject_in_capitals(facts: Facts) -> bool:
    """More than one word, ten characters or more, all letters capitals."""
    subject = _ANSWER.sub("", facts.mail.message.subject.strip(), count=1)
    if len(subject) < 10 or len(subject.split()) < 2 or _SHOUTING_CHARSET.search(facts.raw_header("Subject")):
        return False
    letters = [char for char in subject if char.isascii() and char.isalpha()]
    return bool(letters) and all(char.isupper() for char in letters)


def recipient_in_subject(facts: Facts, what: str) -> bool:
    """what: "address", or "user" for the part before the "@" where a salutation would stand."""
    address = next(iter(facts.addresses("To")), "")
    subject = facts.mail.message.subject.strip()
    wanted = address if what == "address" else address.partition("@")[0]
    if not wanted or wanted.lower() not in subject.lower():  # before a pattern is compiled for it
        return False
    if what == "address":
        return re.search(rf"\b{re.escape(address)}\b", subject, re.IGNORECASE) is not None
    user = re.escape(address.partition("@")[0])
    forms = rf"(?:re|fw):\s*(?:\w+\s+)?{user}|{user}|,\s*{user}[,:;!?-]"
    return (
        re.fullmatch(forms, subject, re.IGNORECASE) is not None
        or re.match(rf"{user}\s*[,:;!?-](?:$|\s)", subject) is not None
    )


# --- fields ---------------------------------------------------------------------------------------------------------


def missing_recipient(facts: Facts) -> bool:
    """There is neither To nor Apparently-To."""
    return not facts.fields("To") and not facts.fields("Apparently-To")


def field_count(facts: Facts, name: str, low: str, high: str = "999") -> bool:
    """How many different fields of this name there are."""
    values = {field.text for field in facts.fields(name)}
    return float(low) <= len(values) <= float(high)


def illegal_characters(facts: Facts, name: str, ratio: str, count: str) -> bool:
    """Bytes that need encoding: at least `count`, and this share. Valid UTF-8 without controls is allowed."""
    raw = facts.raw_bytes(name.removesuffix(":raw"))
    if not raw.strip():
        return False
    illegal = len(raw) - len(raw.translate(None, _ILLEGAL))
    if not illegal:
        return float(ratio) <= 0 and float(count) <= 0
    if not raw.isascii() and _is_utf8(raw) and len(raw.translate(None, _CONTROLS)) == len(raw):
        return False
    if name.lower().startswith("subject") and sum(raw.count(sign) for sign in (b"\xa2", b"\xa3", b"\xae")) == 1:
        illegal -= 1  # one sign for cent, pound or registered is forgiven
    return illegal / len(raw) >= float(ratio) and illegal >= float(count)


def _is_utf8(raw: bytes) -> bool:
    try:
        raw.decode("utf-8")
    except UnicodeDecodeError:
        return False
    return True


def unresolved_template(facts: Facts) -> bool:
    """%NAME was left in a field where no percent sign belongs."""
    fields = facts.mail.message.fields
    return any(field.name.lower() not in _MAY_HOLD_PERCENT and _TEMPLATE.search(field.text) for field in fields)


def no_trace(facts: Facts) -> bool:
    """A list manager or group server took the Received fields away."""
    if not facts.header("Received"):
        return True
    list_manager = re.search(r"^contact \S+@\S+; run by ezmlm$", facts.header("Mailing-List"), re.MULTILINE)
    is_by_list = re.search(r"^mailing list \S+@\S+", facts.header("Delivered-To"), re.MULTILINE)
    is_handed_on = re.search(r"qmail \d+ invoked (?:from network|by )", facts.header("Received"))
    return bool(list_manager and is_by_list and is_handed_on)


# --- addresses ------------------------------------------------------------------------------------------------------


def same_sender_and_author(facts: Facts) -> bool:
    """The reverse-path is the author's address."""
    return facts.mail.envelope.reverse_path.lower() == facts.author.lower()


def different_domains(facts: Facts) -> bool:
    """The last two labels of the author's and of the reverse-path's domain differ."""
    author = _last_labels(facts.author)
    sender = _last_labels(facts.mail.envelope.reverse_path)
    return bool(author and sender and author != sender)


def _last_labels(address: str) -> str:
    return ".".join(address.rpartition("@")[2].lower().split(".")[-2:]) if "@" in address else ""


def recipient_in_sender(facts: Facts) -> bool:
    """The reverse-path holds the recipient, its domain before the user."""
    sender = facts.mail.envelope.reverse_path
    user, _, host = next(iter(facts.addresses("To")), "").rpartition("@")
    if not user or not sender or re.match(r"srs[0-9][=+-]", sender, re.IGNORECASE):
        return False
    if f"{user}@".lower() not in sender.lower():
        return False
    domain = organisational_domain(host.lower())
    form = rf"\b{re.escape(domain)}.{re.escape(user)}@"
    return "." in domain and re.search(form, sender, re.IGNORECASE) is not None


def author_in_message_id(facts: Facts) -> bool:
    """28 capitals, a dot, and the author's address as the Message-ID."""
    match = re.search(r"<[A-Z]{28}\.([^>]{1,320})>", facts.header("Message-ID"))
    return match is not None and re.search(rf'"[^"]+"\s*<{re.escape(match[1])}>', facts.header("From")) is not None


def sorted_recipients(facts: Facts) -> bool:
    """Seven recipients or more, in alphabetical order."""
    recipients = facts.once("recipients in order", _in_order)
    return len(recipients) >= _SORTED_FROM and recipients == sorted(recipients)


def similar_recipients(facts: Facts, low: str, high: str = "undef") -> bool:
    """The share of pairs whose addresses begin alike, among five recipients or more."""
    return is_from_to(facts.once("similarity", _similarity), low, high)


def _in_order(facts: Facts) -> list[str]:
    fields = [*facts.fields("To"), *facts.fields("Cc"), *facts.fields("Bcc")]
    if sum(one.raw.count(b"@") for one in fields) < _SIMILAR_FROM:
        return []
    found = facts.addresses("To", "Cc")
    if len(found) < _SIMILAR_FROM:
        found = found + facts.addresses("Bcc")
    return [one for before, one in zip(["", *found], found, strict=False) if one.lower() != before.lower()]


def _similarity(facts: Facts) -> float:
    recipients = facts.once("recipients in order", _in_order)[:_MOST_RECIPIENTS]
    if len(recipients) < _SIMILAR_FROM:
        return 0.0
    heads = [(one[:_SIMILAR_LENGTH], one.rpartition("@")[2]) for one in recipients]
    pairs = list(combinations(heads, 2))
    alike = sum(one[0] == other[0] for one, other in pairs)
    alike += sum(one[1][:_SIMILAR_LENGTH] == other[1][:_SIMILAR_LENGTH] and one[1] != other[1] for one, other in pairs)
    return alike / len(pairs)


FUNCTIONS: Mapping[str, Function] = {
    "check_for_shifted_date": shifted_date,
    "check_outlook_message_id": outlook_message_id,
    "subject_is_all_caps": subject_in_capitals,
    "check_for_to_in_subject": recipient_in_subject,
    "check_for_missing_to_header": missing_recipient,
    "check_header_count_range": field_count,
    "check_illegal_chars": illegal_characters,
    "check_unresolved_template": unresolved_template,
    "gated_through_received_hdr_remover": no_trace,
    "check_for_matching_env_and_hdr_from": same_sender_and_author,
    "check_equal_from_domains": different_domains,
    "check_ratware_envelope_from": recipient_in_sender,
    "check_ratware_name_id": author_in_message_id,
    "sorted_recipients": sorted_recipients,
    "similar_recipients": similar_recipients,
    "check_for_unique_subject_id": lambda facts: False,  # never hits in SpamAssassin 4 either
}
