"""config/dns_lists.py: tables and presets, and what an answer's pattern fits."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from gateway.config.dns_lists import PRESETS, dns_lists, preset_findings
from gateway.config.settings import DnsList, Settings
from gateway.errors import ConfigError

ROOT = Path(__file__).parents[3]


def test_no_list_is_asked_by_default() -> None:
    assert Settings().dns_list == ()
    assert dns_lists(Settings().dns_list) == ()


@pytest.mark.parametrize("preset", PRESETS)
def test_every_preset_is_whole_scored_and_documented(preset: str) -> None:
    (spec,) = dns_lists([DnsList(preset=preset)])
    assert spec.name == preset
    assert spec.findings
    rules = (ROOT / "rules" / "12_dns_lists.cf").read_text("utf-8")
    for name in spec.findings:
        score = re.search(rf"^score +{name} (-?[0-9.]+)$", rules, re.MULTILINE)
        assert score is not None
        assert (float(score[1]) < 0) == (spec.kind == "allow")
        assert re.search(rf"^describe {name} \S", rules, re.MULTILINE)
        assert re.search(rf"^lang fa describe {name} \S", rules, re.MULTILINE)
    assert f"`{preset}`" in (ROOT / "docs" / "dns.md").read_text("utf-8")


def test_the_rule_file_scores_presets_alone() -> None:
    rules = (ROOT / "rules" / "12_dns_lists.cf").read_text("utf-8")
    assert set(re.findall(r"^score +(\w+)", rules, re.MULTILINE)) == set(preset_findings())


def test_a_table_overrides_its_preset() -> None:
    (spec,) = dns_lists([DnsList(preset="spamhaus-zen", zone="KEY.zen.dq.spamhaus.net", timeout_s=0.5)])
    assert (spec.name, spec.zone, spec.timeout_s) == ("spamhaus-zen", "key.zen.dq.spamhaus.net", 0.5)
    assert "DNSBL_SPAMHAUS_ZEN_XBL" in spec.findings


@pytest.mark.parametrize(
    ("kind", "asked", "listed", "unlisted", "finding"),
    [
        ("ip", ("client",), "127.0.0.2", "127.0.0.1", "DNSBL_MY_LIST"),
        ("allow", ("client",), "127.0.0.2", "127.0.0.1", "DNSWL_MY_LIST"),
        ("domain", ("author", "reverse_path", "helo"), "test", "invalid", "DNSBL_MY_LIST"),
        ("url", ("link",), "test", "invalid", "DNSBL_MY_LIST"),
    ],
)
def test_what_a_kind_means(kind: str, asked: tuple, listed: str, unlisted: str, finding: str) -> None:
    (spec,) = dns_lists([DnsList.model_validate({"name": "my-list", "zone": "bl.example", "kind": kind})])
    assert (spec.asked, spec.test_listed, spec.test_unlisted, spec.findings) == (asked, listed, unlisted, (finding,))


@pytest.mark.parametrize(
    ("tables", "said"),
    [
        ([{}], "name"),
        ([{"preset": "spamhouse"}], "none of spamhaus-zen"),
        ([{"name": "a"}], "zone"),
        ([{"name": "a", "zone": "no zone"}], "zone"),
        ([{"name": "a", "zone": "[127.0.0.1]"}], "zone"),
        ([{"name": "A B", "zone": "bl.example"}], "name"),
        ([{"name": "a", "zone": "bl.example", "asked": ["author"]}], "asked: author"),
        ([{"name": "a", "zone": "bl.example", "kind": "url", "asked": ["client"]}], "asked: client"),
        ([{"name": "a", "zone": "bl.example", "returns": {"10.0.0.1": "X"}}], "127.0.0.2"),
        ([{"name": "a", "zone": "bl.example", "returns": {"127.0.0": "X"}}], "127.0.0.2"),
        ([{"name": "a", "zone": "bl.example", "returns": {"127.0.0.300": "X"}}], "127.0.0.2"),
        ([{"name": "a", "zone": "bl.example", "returns": {"127.0.0.9-4": "X"}}], "127.0.0.2"),
        ([{"name": "a", "zone": "bl.example", "returns": {"127.0.0.&0": "X"}}], "127.0.0.2"),
        ([{"name": "a", "zone": "bl.example", "returns": {"127.0.0.2": "two words"}}], "label"),
        ([{"name": "a", "zone": "bl.example"}, {"name": "a", "zone": "b.example"}], "same name"),
        (
            [{"name": "a-b", "zone": "x.example"}, {"name": "a", "zone": "y.example", "returns": {"127.0.0.2": "B"}}],
            "DNSBL_A_B",
        ),
    ],
)
def test_faults_are_named(tables: list[dict], said: str) -> None:
    with pytest.raises(ConfigError, match=re.escape(said)) as caught:
        dns_lists([DnsList.model_validate(table) for table in tables])
    assert str(caught.value).startswith("[[dns_list]]")


@pytest.mark.parametrize(
    ("pattern", "fits", "fits_not"),
    [
        ("127.0.0.2", ["127.0.0.2"], ["127.0.0.3", "127.0.1.2"]),
        ("127.0.0.4-7", ["127.0.0.4", "127.0.0.7"], ["127.0.0.3", "127.0.0.8"]),
        ("127.0.*.3", ["127.0.0.3", "127.0.255.3"], ["127.1.0.3", "127.0.0.2"]),
        ("127.0.0.&8", ["127.0.0.8", "127.0.0.12", "127.0.0.255"], ["127.0.0.4", "127.0.0.64"]),
    ],
)
def test_patterns(pattern: str, fits: list[str], fits_not: list[str]) -> None:
    (spec,) = dns_lists([DnsList(name="a", zone="bl.example", returns={pattern: "X"})])
    one = spec.returns[0]
    assert [one.fits(tuple(map(int, text.split(".")))) for text in (*fits, *fits_not)] == [True] * len(fits) + [
        False
    ] * len(fits_not)
