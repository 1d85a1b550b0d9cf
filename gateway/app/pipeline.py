"""Settings -> what judges a message: the pipeline of scorers and of `darban scan`, and what it is made of."""

from __future__ import annotations

import math
from pathlib import Path
from typing import TYPE_CHECKING

from gateway.app.places import places
from gateway.config.settings import Settings
from gateway.config.shipped import model_path, rules_path
from gateway.mail.domain import to_a_label

if TYPE_CHECKING:
    from gateway.auth.identity import Identity
    from gateway.classify.model import Model
    from gateway.net.clamd import Clamd
    from gateway.net.dns import CachingResolver
    from gateway.ports import DomainMemory
    from gateway.scan.pipeline import MakePipeline, Pipeline


def rule_paths(settings: Settings) -> list[Path]:
    """What [rules] names, else what ships."""
    return [Path(path) for path in settings.rules.paths] or [rules_path()]


def rule_problems(settings: Settings) -> list[str]:
    """The rule lines that are not obeyed, with their place; notes left out. DNS lists that nobody gave a score."""
    from gateway.config.dns_lists import dns_lists
    from gateway.rules.reader import read

    files = read(rule_paths(settings))
    unscored = [name for one in dns_lists(settings.dns_list) for name in one.findings if name not in files.scores]
    return [
        *(f"{one.place}: {one.severity}: {one.reason}" for one in files.problems if one.severity != "note"),
        *(f"[[dns_list]]: {name} counts nothing: write a line `score {name} 1.0` in a rule file" for name in unscored),
    ]


def unlisted_domains(settings: Settings) -> tuple[str, ...]:
    """What no DNS list is asked about, and what is never new: our own domains, partners' and those the admin names."""
    own = (domain.name.removeprefix("*.") for domain in settings.domain)
    named = (to_a_label(name) for name in (*settings.identity.partners, *settings.dns.unlisted))
    return (*own, *filter(None, named))


def make_identity(settings: Settings) -> Identity:
    """[[domain]] and [identity], with the lists that ship."""
    from gateway.auth import identity
    from gateway.checks.domain_list import FREEMAIL, SHORTENERS

    named = settings.identity
    return identity.make_identity(
        own=[domain.name for domain in settings.domain],
        partners=named.partners,
        freemail=FREEMAIL.union(named.freemail),
        shorteners=SHORTENERS.union(named.shorteners),
        people=[identity.Person(one.name, one.address, one.also, one.role) for one in named.person],
    )


def load_model(settings: Settings) -> Model:
    """What [classifier] names, else the model that ships. Raises ConfigError."""
    from gateway import classify

    return classify.load(Path(settings.classifier.model) if settings.classifier.model else model_path())


def make_resolver(settings: Settings) -> CachingResolver:
    """[dns]'s, with a cache of its own; in the loop it is made in."""
    from gateway.net.dns import CachingResolver

    dns = settings.dns
    return CachingResolver(dns.nameservers, dns.timeout_s, dns.cache)


def make_scanner(settings: Settings) -> Clamd | None:
    """[clamav]'s; the module is not imported without it, as its metrics would speak of a daemon that nobody asks."""
    said = settings.clamav
    if not said.socket:
        return None
    from gateway.net.clamd import Clamd

    return Clamd(said.socket, said.timeout_s)


def load_pipeline(
    settings: Settings, cache: Path | None, *, offline: bool = False, explain_all: bool = False
) -> MakePipeline:
    """Load rules and model now; the function makes a pipeline with a resolver of its own (after a fork, in a loop).

    Predictions get their words from the lowest tag_at on, or all of them: what is delivered as plain mail keeps no
    verdict, and nobody would read them.

    Raises ConfigError when a rule file or the model cannot be used: a gateway that cannot judge does not start.
    """
    from gateway import rules
    from gateway.checks import make_checks, make_envelope_checks
    from gateway.checks.dns_list import DnsLists
    from gateway.classify.published import CurrentModel
    from gateway.config.dns_lists import dns_lists
    from gateway.net.dns import OfflineResolver
    from gateway.scan.pipeline import Pipeline, Trust

    lists = dns_lists(settings.dns_list)
    ruleset = rules.load(rule_paths(settings), cache)
    checks = make_checks(make_identity(settings))
    shipped, folder = load_model(settings), places(settings).model

    scanner_s = settings.clamav.timeout_s + 1 if settings.clamav.socket else 0.0  # its own limit comes before ours

    def make(memory: DomainMemory | None = None) -> Pipeline:
        dns, known = settings.dns, make_resolver(settings)
        ours = unlisted_domains(settings)
        listing = (DnsLists(lists, known, ours),) if lists else ()
        return Pipeline(
            resolver=OfflineResolver() if offline else known,
            message_checks=checks,
            envelope_checks=() if offline else (*make_envelope_checks(memory, ours, make_scanner(settings)), *listing),
            rules=ruleset,
            classifier=CurrentModel(shipped, folder) if settings.learning.enabled else shipped,
            deadline_s=min(settings.limits.scan_s / 2, max(dns.timeout_s * 5, scanner_s)),
            max_queries=dns.max_queries,
            trouble=known.trouble,
            trust_in=Trust(settings.dmarc.organisational_domain, frozenset(settings.arc.trusted_sealers)),
            explain_at=-math.inf if explain_all else min(domain.tag_at for domain in settings.domain),
        )

    return make
