"""gateway.auth.advice: each topic's judgement, and the record it says to publish."""

from __future__ import annotations

from typing import Any

import pytest

from gateway.auth.advice import Facts, Record, Topic, advise, around_us
from tests.dkim_keys import ed25519_record, rsa_record

SILENT = {"error": "The resolution lifetime expired after 2.2 seconds"}
MISSING = {"valid": False, "error": "A record does not exist."}
MX = {"hosts": [{"preference": 10, "hostname": "mx.bank.example", "addresses": ["192.0.2.1"]}], "warnings": []}
SPF = {"record": "v=spf1 mx -all", "valid": True, "dns_lookups": 1, "void_dns_lookups": 0, "parsed": {"all": "fail"}}
DMARC = {"record": "v=DMARC1; p=reject", "valid": True, "tags": {"p": {"value": "reject"}}, "warnings": []}


def facts(**changes: Any) -> Facts:
    values: dict[str, Any] = {
        "domain": "bank.example", "mx": MX, "spf": SPF, "dmarc": DMARC, "mta_sts": MISSING, "tls_rpt": MISSING, "bimi": {},
        "has_dnssec": True, "hosts": ("mx.bank.example",), "next_hop": "maildir:/var/mail",
    }  # fmt: skip
    return Facts(**(values | changes))


def topic(name: str, **changes: Any) -> Topic:
    return next(one for one in advise(facts(**changes)) if one.name == name)


def hosts(*names: str) -> dict[str, Any]:
    return {
        "hosts": [
            {"preference": 10, "hostname": name, "addresses": [f"198.51.100.{place}"]}
            for place, name in enumerate(names)
        ]
    }


def test_every_topic_has_its_place_and_words() -> None:
    topics = advise(facts())
    assert [one.name for one in topics] == "MX backend SPF DKIM DMARC MTA-STS TLS-RPT DNSSEC BIMI".split()
    assert all(one.words for one in topics)


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({}, "good", "all mail comes through"),
        ({"mx": hosts("MX.bank.example")}, "good", "all mail comes through"),
        ({"mx": hosts("alias.bank.example"), "host_addresses": ("198.51.100.0",)}, "good", "all mail comes through"),
        ({"mx": hosts("mx.bank.example", "old.bank.example")}, "problem", "around this gateway, over old.bank.example"),
        ({"mx": hosts("old.bank.example")}, "problem", "does not come through"),
        (
            {"mx": hosts("old.bank.example"), "greetings": {"198.51.100.0": "220 old"}},
            "problem",
            "198.51.100.0) answers",
        ),
        ({"mx": {"hosts": []}}, "problem", "no server"),
        ({"mx": {"hosts": [], **SILENT}}, "unknown", "did not answer"),
        ({"mx": hosts("any.example"), "hosts": ()}, "good", "not one of the configured"),
    ],
)
def test_mx(changes: dict[str, Any], status: str, word: str) -> None:
    found = topic("MX", **changes)
    assert found.status == status
    assert word in " ".join(found.words)
    if status == "problem":
        assert found.publish == (Record("bank.example", "MX", "10 mx.bank.example."),)


def test_a_server_that_shares_one_address_with_us_has_others_too() -> None:
    both = {"hosts": [{"preference": 1, "hostname": "x.example", "addresses": ["192.0.2.1", "192.0.2.2"]}]}
    assert around_us(facts(mx=both, host_addresses=("192.0.2.1",))) == ("x.example",)


@pytest.mark.parametrize(
    ("changes", "status", "word"),
    [
        ({"next_hop": ""}, "unknown", "no next hop"),
        ({"next_hop": "lmtp+unix:/run/lmtp"}, "good", "not on the network"),
        ({"next_hop": "smtp://10.0.0.5:25"}, "unknown", "could not be found"),
        ({"next_hop": "smtp://10.0.0.5:25", "next_hop_addresses": ("10.0.0.5",)}, "good", "private address"),
        ({"next_hop": "smtp://b:25", "next_hop_addresses": ("10.0.0.5", "1.1.1.1")}, "unknown", "--probe"),
        ({"next_hop": "smtp://b:25", "next_hop_addresses": ("1.1.1.1",), "greetings": {"1.1.1.1": ""}}, "good", "nothing answers"),
        ({"next_hop": "smtp://b:25", "next_hop_addresses": ("1.1.1.1",), "greetings": {"1.1.1.1": "220 b"}}, "problem", "220 b"),
    ],
)  # fmt: skip
def test_the_way_around(changes: dict[str, Any], status: str, word: str) -> None:
    found = topic("backend", **changes)
    assert (found.status, word in " ".join(found.words)) == (status, True)


@pytest.mark.parametrize(
    ("result", "status", "word", "publish"),
    [
        (SPF, "good", "1 of 10 look-ups, 0 of 2", ""),
        (
            SPF | {"record": None, "error": "An SPF record does not exist."},
            "problem",
            "anyone may send",
            "v=spf1 mx ~all",
        ),
        (SPF | {"record": None} | SILENT, "unknown", "did not answer", ""),
        (SPF | {"error": "Parsing requires 11/10 maximum DNS lookups"}, "problem", "instead of includes", ""),
        (SPF | {"error": "ipv4:x: Expected mechanism"}, "problem", "Expected", ""),
        (SPF | {"record": "v=spf1 mx +all", "parsed": {"all": "pass"}}, "problem", "whole world", "v=spf1 mx ~all"),
        (SPF | {"record": "v=spf1 all", "parsed": {"all": "pass"}}, "problem", "whole world", "v=spf1 ~all"),
        (SPF | {"record": "v=spf1 mx", "parsed": {"all": None}}, "advice", "end it in ~all", "v=spf1 mx ~all"),
        (SPF | {"record": "v=spf1 ?all", "parsed": {"all": "neutral"}}, "advice", "end it in ~all", "v=spf1 ~all"),
        (SPF | {"parsed": {"all": None, "redirect": {"domain": "x"}}}, "good", "look-ups", ""),
        (SPF | {"warnings": ["ptr is slow"]}, "advice", "ptr is slow", ""),
    ],
)
def test_spf(result: dict[str, Any], status: str, word: str, publish: str) -> None:
    found = topic("SPF", spf=result)
    assert (found.status, word in " ".join(found.words)) == (status, True), found
    assert [one.value for one in found.publish] == ([publish] if publish else [])


@pytest.mark.parametrize(
    ("keys", "wanted", "status", "word"),
    [
        ({}, (), "unknown", "--selector"),
        ({"s1": rsa_record(2048)}, ("s1",), "good", "s1: RSA, 2048 bits"),
        ({"s1": ed25519_record()}, (), "good", "ED25519"),
        ({"s1": rsa_record(1024)}, (), "advice", "make a new key of 2048 bits"),
        ({"s1": rsa_record(2048, tags="t=y")}, (), "advice", "test"),
        ({"s1": "v=DKIM1; p="}, (), "advice", "revoked"),
        ({"s1": "v=DKIM1; p=AAAA"}, (), "problem", "cannot be read"),
        ({"s1": rsa_record(2048)}, ("mine",), "problem", "no key at mine._domainkey.bank.example"),
    ],
)
def test_dkim(keys: dict[str, str], wanted: tuple[str, ...], status: str, word: str) -> None:
    found = topic("DKIM", keys=keys, wanted=wanted)
    assert (found.status, word in " ".join(found.words)) == (status, True), found


@pytest.mark.parametrize(
    ("result", "status", "publish"),
    [
        (DMARC, "good", ""),
        (DMARC | {"warnings": ["no rua"]}, "advice", ""),
        ({"record": None, "valid": False, "error": "x"}, "problem", "v=DMARC1; p=none; rua=mailto:dmarc@bank.example"),
        ({"record": None, "valid": False} | SILENT, "unknown", ""),
        ({"record": "v=DMARC1; p=no", "valid": False, "error": "x"}, "problem", "v=DMARC1; p=none; rua=mailto:dmarc@bank.example"),
        ({"record": "v=DMARC1; p=none; rua=mailto:a@b.example", "valid": True, "tags": {"p": {"value": "none"}}}, "advice",
         "v=DMARC1; p=quarantine; rua=mailto:a@b.example"),
    ],
)  # fmt: skip
def test_dmarc(result: dict[str, Any], status: str, publish: str) -> None:
    found = topic("DMARC", dmarc=result)
    assert found.status == status
    assert found.publish == ((Record("_dmarc.bank.example", "TXT", publish),) if publish else ())


@pytest.mark.parametrize(
    ("name", "changes", "status"),
    [
        ("MTA-STS", {}, "advice"),
        ("MTA-STS", {"mta_sts": {"valid": True, "policy": {"mode": "enforce"}, "warnings": []}}, "good"),
        ("MTA-STS", {"mta_sts": {"valid": False, "error": "the policy returned HTTP 404"}}, "problem"),
        ("MTA-STS", {"mta_sts": SILENT}, "unknown"),
        ("TLS-RPT", {}, "advice"),
        ("TLS-RPT", {"tls_rpt": {"valid": True, "tags": {"rua": {}}}}, "good"),
        ("TLS-RPT", {"tls_rpt": {"valid": False, "error": "rua is missing"}}, "problem"),
        ("TLS-RPT", {"tls_rpt": SILENT}, "unknown"),
        ("DNSSEC", {}, "good"),
        ("DNSSEC", {"has_dnssec": False}, "advice"),
        ("DNSSEC", {"has_dnssec": None}, "unknown"),
        ("BIMI", {}, "good"),
        ("BIMI", {"bimi": SILENT}, "unknown"),
        ("BIMI", {"bimi": {"valid": True, "record": "v=BIMI1; l=x"}}, "good"),
        ("BIMI", {"bimi": {"valid": True, "record": "v=BIMI1; l=x", "warnings": ["the image is large"]}}, "advice"),
        ("BIMI", {"bimi": {"valid": False, "record": "v=BIMI1", "error": "l is missing"}}, "advice"),
    ],
)
def test_the_rest(name: str, changes: dict[str, Any], status: str) -> None:
    assert topic(name, **changes).status == status


def test_the_policy_file_names_our_servers() -> None:
    record, file = topic("MTA-STS", hosts=("mx1.bank.example", "mx2.bank.example")).publish
    assert record.name == "_mta-sts.bank.example"
    assert file.name == "https://mta-sts.bank.example/.well-known/mta-sts.txt"
    assert "mx: mx1.bank.example\nmx: mx2.bank.example\n" in file.value


def test_what_others_publish_is_bounded_and_on_one_line() -> None:
    found = topic("SPF", spf=SPF | {"record": "v=spf1 \x1b[31m\r\n" + "a:b.example " * 200})
    assert len(found.found) <= 300 and found.found.isprintable()
