"""scan/explain.py: the object programs rely on."""

import json

from gateway.scan.explain import auth_from_json, verdict_json, verdict_object
from gateway.types import AuthResult, Disposition
from tests.builders import recipient, verdict

AUTH = (
    AuthResult("iprev", "pass", "mail.example.org", identity="192.0.2.1"),
    AuthResult("spf", "pass", "example.org", identity="mailfrom", reason="ok"),
    AuthResult("spf", "fail", "mx.example.net", identity="helo", reason="no"),
    AuthResult("dkim", "pass", "example.org", "s1", reason="valid"),
    AuthResult("dkim", "fail", "list.example", "x", reason="body changed"),
    AuthResult("dmarc", "pass", "example.org", policy="reject", reason="aligned"),
)
CHAIN = AuthResult("arc", "pass", "list.example", reason="sealed by list.example")


def test_keys_of_the_contract() -> None:
    found = verdict_object(verdict(6.0, auth=AUTH), "tag", 5.0, "a.eml")
    assert {"path", "queue_id", "message_id", "score", "required_score", "action", "hits", "authentication", "prediction", "incomplete",
            "seconds"} <= set(found)  # fmt: skip
    assert found["hits"] == [
        {"name": "TEST_HIT", "score": 6.0, "description": "A hit of the tests", "evidence": ["evidence"]}
    ]
    assert {"result", "domain", "reason"} <= set(found["authentication"]["spf"])
    assert [found["authentication"][key]["result"] for key in ("spf", "spf_helo")] == ["pass", "fail"]
    assert {"result", "policy", "domain", "reason"} <= set(found["authentication"]["dmarc"])
    assert [one["selector"] for one in found["authentication"]["dkim"]] == ["s1", "x"]
    assert found["authentication"]["arc"] == {
        "result": "none",
        "domain": "",
        "reason": "the message carries no ARC set",
    }
    json.dumps(found)


def test_a_chain_and_its_absence() -> None:
    found = verdict_object(verdict(auth=(*AUTH, CHAIN)), "accept", 5.0)["authentication"]["arc"]
    assert found == {"result": "pass", "domain": "list.example", "reason": "sealed by list.example"}
    assert verdict_object(verdict(), "accept", 5.0)["authentication"]["arc"]["reason"] == "not evaluated"


def test_kept_results_come_back_for_a_release() -> None:
    for auth in (AUTH, (*AUTH[:-1], CHAIN, AUTH[-1])):
        text = verdict_json(verdict(6.0, auth=auth), Disposition(recipient(), "quarantine", "why", 5.0))
        assert [(one.method, one.result, one.domain) for one in auth_from_json(text)] == [
            (one.method, one.result, one.domain) for one in auth
        ]
    assert auth_from_json("not json") == () == auth_from_json("{}")
