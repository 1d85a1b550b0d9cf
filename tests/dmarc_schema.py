"""Is this a report as RFC 9990 appendix A has it? Order, number and values of all elements, written down from its schema.

A sequence has its order; "all" has each child in any order. `?` zero or one, `*` any number, `+` at least one.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from xml.etree.ElementTree import Element, fromstring

NAMESPACE = "{urn:ietf:params:xml:ns:dmarc-2.0}"

SEQUENCES = {
    "feedback": "version? report_metadata policy_published extension? record+",
    "feedback/record": "row identifiers auth_results",
    "feedback/record/row/policy_evaluated": "disposition dkim spf reason*",
    "feedback/record/auth_results": "dkim* spf?",
}
ALL = {
    "feedback/report_metadata": "org_name email extra_contact_info? report_id date_range error? generator?",
    "feedback/report_metadata/date_range": "begin end",
    "feedback/policy_published": "domain p sp? np? adkim? aspf? discovery_method? fo? testing?",
    "feedback/record/row": "source_ip count policy_evaluated",
    "feedback/record/row/policy_evaluated/reason": "type comment?",
    "feedback/record/identifiers": "header_from envelope_from? envelope_to?",
    "feedback/record/auth_results/dkim": "domain selector result human_result?",
    "feedback/record/auth_results/spf": "domain scope? result human_result?",
}
POLICY, ALIGNED = "none|quarantine|reject", "pass|fail"
VALUES = {
    "feedback/version": r"[0-9]+\.[0-9]+",
    "feedback/report_metadata/date_range/begin": "[0-9]+",
    "feedback/report_metadata/date_range/end": "[0-9]+",
    "feedback/policy_published/p": POLICY,
    "feedback/policy_published/sp": POLICY,
    "feedback/policy_published/np": POLICY,
    "feedback/policy_published/adkim": "r|s",
    "feedback/policy_published/aspf": "r|s",
    "feedback/policy_published/discovery_method": "psl|treewalk",
    "feedback/policy_published/testing": "n|y",
    "feedback/record/row/count": "[0-9]+",
    "feedback/record/row/policy_evaluated/disposition": "none|pass|quarantine|reject",
    "feedback/record/row/policy_evaluated/dkim": ALIGNED,
    "feedback/record/row/policy_evaluated/spf": ALIGNED,
    "feedback/record/row/policy_evaluated/reason/type": (
        "local_policy|mailing_list|other|policy_test_mode|trusted_forwarder"
    ),
    "feedback/record/auth_results/dkim/result": "none|pass|fail|policy|neutral|temperror|permerror",
    "feedback/record/auth_results/spf/result": "none|pass|fail|softfail|policy|neutral|temperror|permerror",
    "feedback/record/auth_results/spf/scope": "mfrom",
}


def problems(xml: bytes) -> list[str]:
    """What is not as the schema has it; [] for a report. Raises ParseError for what is not XML."""
    root = fromstring(xml)
    return list(_problems(root, "", "feedback"))


def _problems(element: Element, above: str, name: str) -> Iterator[str]:
    path = f"{above}/{name}" if above else name
    if element.tag != NAMESPACE + name:
        yield f"{path}: is {element.tag}"
        return
    children = [child.tag.removeprefix(NAMESPACE) for child in element]
    if path in SEQUENCES:
        if not re.fullmatch(_pattern(SEQUENCES[path]), "".join(f"{child} " for child in children)):
            yield f"{path}: has {children}, not {SEQUENCES[path]}"
    elif path in ALL:
        for word in ALL[path].split():
            number = children.count(word.rstrip("?"))
            if number > 1 or (number == 0 and not word.endswith("?")):
                yield f"{path}: {number} of {word}"
        yield from (
            f"{path}: no place for {child}" for child in children if child not in ALL[path].replace("?", "").split()
        )
    elif children:
        yield f"{path}: has {children}, not text"
    elif path in VALUES and not re.fullmatch(VALUES[path], element.text or ""):
        yield f"{path}: {element.text!r}"
    for child, child_name in zip(element, children, strict=True):
        yield from _problems(child, path, child_name)


def _pattern(sequence: str) -> str:
    return "".join(f"(?:{word.rstrip('?*+')} ){word[-1] if word[-1] in '?*+' else ''}" for word in sequence.split())
