"""scan/explain.py: the object programs rely on."""

import json
import math

import pytest

from gateway.scan.explain import auth_from_json, verdict_from_json, verdict_json, verdict_object
from gateway.types import AuthResult, Contribution, Disposition, Prediction
from tests.builders import recipient, verdict

AUTH = (
    AuthResult("iprev", "pass", "mail.example.org", identity="192.0.2.1"),
    AuthResult("spf", "pass", "example.org", identity="mailfrom", reason="ok"),
    AuthResult("spf", "fail", "mx.example.net", identity="helo", reason="no"),
    AuthResult(
        "dkim", "pass", "example.org", "s1", reason="valid", is_aligned=True, properties=(("policy.key-bits", "1024"),)
    ),
    AuthResult("dkim", "fail", "list.example", "x", reason="body changed"),
    AuthResult(
        "dmarc",
        "fail",
        "a.example.org",
        policy="reject",
        reason="no",
        override="trusted_forwarder",
        policy_domain="example.org",
    ),
)
CHAIN = AuthResult("arc", "pass", "list.example", policy="trusted", reason="sealed by list.example")


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
    assert found == {
        "result": "pass",
        "domain": "list.example",
        "reason": "sealed by list.example",
        "policy": "trusted",
    }
    assert verdict_object(verdict(), "accept", 5.0)["authentication"]["arc"]["reason"] == "not evaluated"


def test_kept_results_come_back_for_a_release() -> None:
    for auth in (AUTH, (*AUTH[:-1], CHAIN, AUTH[-1])):
        text = verdict_json(verdict(6.0, auth=auth), Disposition(recipient(), "quarantine", "why", 5.0))
        assert auth_from_json(text) == auth
    assert auth_from_json("not json") == () == auth_from_json("{}")


def test_a_kept_verdict_comes_back_for_judging_again() -> None:
    kept = verdict(6.0, auth=AUTH, incomplete=("dns: spf could not be looked up",))
    back = verdict_from_json(verdict_json(kept, Disposition(recipient(), "quarantine", "why", 5.0)))
    assert back is not None
    assert (back.score, back.hits, back.auth, back.incomplete) == (kept.score, kept.hits, kept.auth, kept.incomplete)
    assert verdict_from_json("not json") is None is verdict_from_json('{"hits": [5]}')


def test_contributions_and_the_rest_are_the_log_odds() -> None:
    made = Prediction(0.9, "m", (Contribution("words", "Click here", 1.5), Contribution("links", "0", -0.4)))
    found = verdict_object(verdict(6.0, prediction=made), "tag", 5.0)["prediction"]
    assert found["contributions"] == [
        {"text": "words “Click here”", "weight": 1.5, "kind": "words", "value": "Click here"},
        {"text": "no links", "weight": -0.4, "kind": "links", "value": "0"},
    ]
    assert 1.5 - 0.4 + found["rest"] == pytest.approx(math.log(9), abs=1e-3)
