"""A verdict as the JSON object that programs read (DESIGN §5): `darban scan --json`, the API, and each held message."""

from __future__ import annotations

import json
import math
from collections.abc import Iterable, Mapping
from typing import Any

from gateway.scan.wording import contribution_text
from gateway.types import AuthResult, Contribution, Disposition, Hit, Summary, Verdict

_NO_SPF: dict[str, str] = {"result": "none", "domain": "", "reason": "not evaluated"}
_NO_DMARC: dict[str, str] = {"result": "none", "policy": "", "domain": "", "reason": "not evaluated"}
_NO_ARC: dict[str, str] = {"result": "none", "domain": "", "reason": "not evaluated"}
_NO_CHAIN = _NO_ARC | {"reason": "the message carries no ARC set"}


def verdict_object(verdict: Verdict, action: str, required_score: float, path: str = "") -> dict[str, Any]:
    """The contract's object. Keys are only ever added."""
    summary, prediction = verdict.summary, verdict.prediction
    return {
        "path": path,
        "queue_id": verdict.queue_id,
        "message_id": summary.message_id,
        "subject": summary.subject,
        "author": summary.author,
        "size": summary.size_bytes,
        "score": round(verdict.score, 3),
        "required_score": required_score,
        "action": action,
        "hits": [
            {
                "name": hit.name,
                "score": round(hit.score, 3),
                "description": hit.description,
                "evidence": list(hit.evidence),
            }
            for hit in verdict.hits
        ],
        "authentication": _authentication(verdict.auth),
        "prediction": None
        if prediction is None
        else {
            "probability": round(prediction.probability, 6),
            "model_id": prediction.model_id,
            "contributions": [_contribution(one) for one in prediction.contributions],
            "rest": round(_log_odds(prediction.probability) - sum(one.weight for one in prediction.contributions), 3),
        },
        "incomplete": list(verdict.incomplete),
        "rules_id": verdict.rules_id,
        "seconds": round(verdict.seconds, 6),
        "stages": {name: round(seconds, 6) for name, seconds in verdict.stages},
    }


def _contribution(one: Contribution) -> dict[str, Any]:
    return {
        "text": contribution_text(one.kind, one.value),
        "weight": round(one.weight, 3),
        "kind": one.kind,
        "value": one.value,
    }


def _log_odds(probability: float) -> float:
    """What the contributions and the rest add up to."""
    probability = min(max(probability, 1e-13), 1 - 1e-13)
    return math.log(probability / (1 - probability))


def verdict_json(verdict: Verdict, wanted: Disposition) -> str:
    """The object in one line, as it is kept with a held message."""
    return json.dumps(verdict_object(verdict, wanted.action, wanted.required_score), ensure_ascii=False)


def verdict_from_json(text: str) -> Verdict | None:
    """Of a kept object what judging it again needs: hits, authentication, what was missing; None when it is not one."""
    try:
        found = json.loads(text)
        hits = [
            Hit(str(one["name"]), float(one["score"]), str(one["description"]), tuple(map(str, one["evidence"])))
            for one in found["hits"]
        ]
        missing = tuple(map(str, found["incomplete"]))
        return Verdict(
            str(found["queue_id"]),
            float(found["score"]),
            tuple(hits),
            auth_from_json(text),
            None,
            missing,
            Summary(),
            str(found.get("rules_id", "")),
        )
    except (ValueError, KeyError, TypeError, AttributeError):
        return None


def auth_from_json(text: str) -> tuple[AuthResult, ...]:
    """The authentication results of a kept object, in their order; () when the text is not one."""
    try:
        found = json.loads(text)["authentication"]
        results = [_result("spf", one) for one in (found["spf"], found.get("spf_helo")) if one]
        results += [_result("dkim", one) for one in found["dkim"]]
        results += [_result("dmarc", found["dmarc"])]
        if found.get("arc", _NO_ARC)["result"] != "none":
            results.insert(-1, _result("arc", found["arc"]))
        if found.get("iprev"):
            results.insert(0, _result("iprev", found["iprev"]))
    except (ValueError, KeyError, TypeError, AttributeError):
        return ()
    return tuple(results)


def _authentication(auth: Iterable[AuthResult]) -> dict[str, Any]:
    found: dict[str, Any] = {
        "iprev": None,
        "spf": _NO_SPF,
        "spf_helo": None,  # of HELO besides MAIL FROM; "spf" is what DMARC looks at
        "dkim": [],
        "dmarc": _NO_DMARC,
        "arc": _NO_ARC,
    }
    for result in auth:
        if found["arc"] is _NO_ARC:  # authentication ran; a message without a chain has no result for it
            found["arc"] = _NO_CHAIN
        entry = {"result": result.result, "domain": result.domain, "reason": result.reason}
        if result.method == "dkim":
            said = {"selector": result.selector, "aligned": result.is_aligned, "properties": dict(result.properties)}
            found["dkim"].append(entry | said)
        elif result.method == "spf":
            place = "spf" if found["spf"] is _NO_SPF else "spf_helo"  # the main identity stands first
            found[place] = entry | {"identity": result.identity, "aligned": result.is_aligned}
        elif result.method == "dmarc":
            found["dmarc"] = entry | {
                "policy": result.policy,
                "policy_domain": result.policy_domain,
                "override": result.override,
            }
        elif result.method == "iprev":
            found["iprev"] = entry | {"identity": result.identity}
        else:
            found["arc"] = entry | {"policy": result.policy}
    return found


def _result(method: Any, entry: Mapping[str, Any]) -> AuthResult:
    return AuthResult(
        method=method,
        result=str(entry["result"]),
        domain=str(entry.get("domain", "")),
        selector=str(entry.get("selector", "")),
        identity=str(entry.get("identity", "")),
        policy=str(entry.get("policy", "")),
        reason=str(entry.get("reason", "")),
        is_aligned=entry.get("aligned") is True,
        properties=tuple((str(name), str(value)) for name, value in entry.get("properties", {}).items()),
        override=str(entry.get("override", "")),
        policy_domain=str(entry.get("policy_domain", "")),
    )
