"""Eval rules: SpamAssassin's functions over the facts we have, by name; and why the others are not run.

A function takes Facts and the rule's arguments, all of them text, and says whether it hit. What it needs it makes from
the Facts once a message (`Facts.once`). It is never called but by `Calls`, which turns a fault into a name.
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from gateway.rules.evals import authentication, body, header, html, image, lists, relay
from gateway.rules.evals.facts import Facts, Knowledge
from gateway.rules.rule import Rule

__all__ = ["FUNCTIONS", "Calls", "Facts", "Knowledge", "refusal"]

FUNCTIONS: Mapping[str, Callable[..., bool]] = {
    **authentication.FUNCTIONS,
    **body.FUNCTIONS,
    **header.FUNCTIONS,
    **html.FUNCTIONS,
    **image.FUNCTIONS,
    **lists.FUNCTIONS,
    **relay.FUNCTIONS,
}

_LISTS = "it asks a DNS list"
_SERVICE = "it asks a service outside"
_ADSP = "ADSP is historic (RFC 5617 was retired in 2013), and DMARC is asked instead"
_RELAYS_OF = "it knows one provider's Received fields of years ago; SPF, DKIM and DMARC tell forgeries"
_CHARSETS = "charsets are not judged by language"
_REASONS: Mapping[str, str] = {
    _LISTS: """check_rbl check_rbl_sub check_rbl_txt check_rbl_from_host check_rbl_from_domain check_rbl_ns_from
        check_rbl_envfrom check_rbl_headers check_uridnsbl check_dns_sender check_hashbl_emails check_hashbl_uris
        check_hashbl_bodyre check_hashbl_tag check_hashbl_attachments""",
    _SERVICE: "check_pyzor check_razor2 check_razor2_range check_dcc check_dcc_reputation_range",
    _ADSP: "check_dkim_adsp check_dkim_signall",
    "the key's test flag is not kept": "check_dkim_testing",
    _RELAYS_OF: """check_for_forged_hotmail_received_headers check_for_no_hotmail_received_headers
        check_for_forged_yahoo_received_headers check_for_forged_gmail_received_headers
        check_for_forged_juno_received_headers check_for_forged_eudoramail_received_headers
        check_for_fake_aol_relay_in_rcvd check_for_msn_groups_headers check_for_forged_gw05_received_headers""",
    _CHARSETS: """check_for_faraway_charset check_for_faraway_charset_in_headers html_charset_faraway""",
    "it looks for words of stock advertisements of 2006; write a body rule": "check_stock_info",
    "how long a URL was before it was cut is not kept": "check_uri_truncated",
}
_REASON_OF: Mapping[str, str] = {name: reason for reason, names in _REASONS.items() for name in names.split()}
_ARGUMENTS: Mapping[str, tuple[frozenset[str], str]] = {  # what the first argument may be
    "html_range": (html.NUMBERS, "number"),
    "html_eval": (html.NUMBERS, "number"),
    "html_test": (html.TESTS, "test"),
    "html_text_match": (html.TEXTS, "text"),
    "html_text_not_match": (html.TEXTS, "text"),
    "check_for_mime": (frozenset(body.MIME_FACTS), "fact"),
    "check_msg_parse_flags": (frozenset((*body.DEFECTS, *body.STRUCTURE)), "flag"),
}


def refusal(function: str, arguments: Sequence[str]) -> str:
    """Why a rule with this function cannot run; "" when it can."""
    if function not in FUNCTIONS:
        return _REASON_OF.get(function, "no such function is known")
    allowed, what = _ARGUMENTS.get(function, (frozenset[str](), ""))
    if allowed and (not arguments or arguments[0] not in allowed):
        return f"the {what} {arguments[0] if arguments else ''!r} is not known here"
    return ""


class Calls:
    """The eval rules of a set, in groups that one look at the message can rule out.

    Those named in `lazy` are called when somebody asks for one, the others for every message.
    """

    def __init__(self, rules: Iterable[Rule], lazy: Collection[str] = ()) -> None:
        self._groups: dict[str, list[Rule]] = {}
        self._lazy: dict[str, Rule] = {}
        for rule in rules:
            if rule.kind == "eval" and rule.name in lazy:
                self._lazy[rule.name] = rule
            elif rule.kind == "eval":
                self._groups.setdefault(_GROUP_OF.get(rule.function, ""), []).append(rule)

    def hits(self, facts: Facts) -> tuple[list[str], list[str]]:
        """Names of the rules that hit, and faults in words. Never raises."""
        faults: list[str] = []
        found = [
            rule.name
            for group, rules in self._groups.items()
            if not group or _CAN_HIT[group](facts)
            for rule in rules
            if _call(rule, facts, faults)
        ]
        return found, faults

    def value(self, name: str, facts: Facts, faults: list[str]) -> float:
        """Of a lazy one, 0 for any other name. Adds a fault in words. Never raises."""
        rule = self._lazy.get(name)
        if rule is None:
            return 0.0
        group = _GROUP_OF.get(rule.function, "")
        return float((not group or _CAN_HIT[group](facts)) and _call(rule, facts, faults))


def _call(rule: Rule, facts: Facts, faults: list[str]) -> bool:
    try:
        return FUNCTIONS[rule.function](facts, *rule.arguments)
    except Exception as fault:  # noqa: BLE001 - a fault of one rule is named, and counts as not hit
        faults.append(f"{rule.name}: {rule.function}: {type(fault).__name__}")
    return False


_CAN_HIT: Mapping[str, Callable[[Facts], bool]] = {
    "html": html.has_html,
    "image": lambda facts: any(part.content_type.startswith("image/") for part in facts.mail.message.parts),
    "authentication": lambda facts: bool(facts.mail.auth),
}
_GROUP_OF: Mapping[str, str] = {
    **dict.fromkeys(html.FUNCTIONS, "html"),
    **dict.fromkeys(set(image.FUNCTIONS) - {"image_count", "pixel_coverage"}, "image"),
    **dict.fromkeys(set(authentication.FUNCTIONS) - {"check_spf_skipped_noenvfrom"}, "authentication"),
}
