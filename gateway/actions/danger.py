"""What kind of unwanted mail a held message is, by its hits: who may release it, and how long it is kept, follow that.

A statement about what was seen, not about what the message is: a program in an archive that nobody opened is "spam".
"""

from __future__ import annotations

from collections.abc import Sequence

from gateway.types import HeldKind, Hit

_PHISHING_FROM = 2.0  # points of such hits together; one weak sign makes no phish
_MALWARE = frozenset(
    (
        "ATTACHMENT_EXECUTABLE", "ATTACHMENT_DISGUISED", "ATTACHMENT_DOUBLE_EXTENSION", "ATTACHMENT_NAME_OVERRIDE",
        "ATTACHMENT_SHORTCUT", "ATTACHMENT_MACRO", "URL_PROGRAM", "FA_APK",
    )
)  # fmt: skip
_PHISHING = frozenset(
    (
        "ATTACHMENT_HTML", "COMBO_DIRECTOR", "COMBO_FA_PHISH", "COMBO_PHISH_LINK", "COMBO_STRANGER_AS_ONE_OF_US",
        "FA_BANK_BLOCKED", "FA_MAILBOX", "FA_SANA", "FA_SECOND_PASSWORD", "FA_SUBSIDY", "FORM_PASSWORD_FIELD",
        "OWN_DOMAIN_SPOOF", "SCAM_BANK_CHANGE", "SCAM_GIFT_CARDS", "URL_TEXT_MISMATCH", "URL_USERINFO",
    )
)  # fmt: skip
_PHISHING_TOPICS = ("PHISH_", "IMPOSTURE_", "LOOKALIKE_", "PERSON_NAME_", "ORGANISATION_")
_ENDS = {"_MALWARE": "malware", "_BOTNET": "malware", "_PHISH": "phishing"}  # of DNS lists
_MALWARE_TOPICS = ("VIRUS_", "MALWARE_")


def kind_of(hits: Sequence[Hit]) -> HeldKind:
    """The worst that the hits speak of."""
    against = [hit for hit in hits if hit.score > 0]
    if any(_is_malware(hit.name) for hit in against):
        return "malware"
    points = sum(hit.score for hit in against if _is_phishing(hit.name))
    return "phishing" if points >= _PHISHING_FROM else "spam"


def _is_malware(name: str) -> bool:
    return name in _MALWARE or name.startswith(_MALWARE_TOPICS) or _of_list(name) == "malware"


def _is_phishing(name: str) -> bool:
    return name in _PHISHING or name.startswith(_PHISHING_TOPICS) or _of_list(name) == "phishing"


def _of_list(name: str) -> str:
    return next((kind for end, kind in _ENDS.items() if name.startswith("DNSBL_") and name.endswith(end)), "")
