"""SPF, DKIM, ARC and DMARC (Plugin::SPF, ::DKIM, ::DMARC), from the results of the gateway's own authentication.

Both of SPF's identities are there: the _helo_ functions look at HELO, which is the main one where the reverse-path is
null (RFC 7208 §2.4).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from gateway.rules.evals.facts import Facts

Function = Callable[..., bool]


def _spf(identity: str, result: str) -> Function:
    def check(facts: Facts, *_: str) -> bool:
        return any(one.result == result and one.identity == identity for one in facts.results("spf"))

    check.__doc__ = f"SPF's result for the {identity} identity is {result}."
    return check


def _spf_lists(*names: str) -> Function:
    """The envelope's sender is on a list, and SPF passed for it."""

    def check(facts: Facts, *_: str) -> bool:
        sender = facts.mail.envelope.reverse_path
        passed = _spf("mailfrom", "pass")(facts)
        return passed and any(facts.knowledge.addresses(name).has(sender) for name in names)

    check.__doc__ = f"SPF passed for the reverse-path, which is on {' or '.join(names)}."
    return check


def _valid_domains(facts: Facts) -> set[str]:
    return {one.domain for one in facts.results("dkim") if one.result == "pass"}


def dkim_signed(facts: Facts, *domains: str) -> bool:
    """There is a signature, by one of the domains if some are named; ".example.org" covers those below it."""
    signed = {one.domain for one in facts.results("dkim") if one.result != "none"}
    return bool(signed) if not domains else any(_is_by(one, domains) for one in signed)


def dkim_valid(facts: Facts, *domains: str) -> bool:
    """The same of signatures that verified."""
    valid = _valid_domains(facts)
    return bool(valid) if not domains else any(_is_by(one, domains) for one in valid)


def _is_by(domain: str, wanted: tuple[str, ...]) -> bool:
    for one in wanted:
        base = one.lower().removeprefix("*")
        if domain == base.removeprefix(".") or (base.startswith(".") and domain.endswith(base)):
            return True
    return False


def dkim_valid_author(facts: Facts, *domains: str) -> bool:
    """A signature by the author's domain verified."""
    author = {box.domain for box in facts.mail.message.author} & _valid_domains(facts)
    return any(_is_by(one, domains) for one in author) if domains else bool(author)


def dkim_valid_envelope(facts: Facts, *_: str) -> bool:
    """A signature by the reverse-path's domain verified."""
    domain = facts.mail.envelope.reverse_path.rpartition("@")[2].lower()
    return bool(domain) and domain in _valid_domains(facts)


def dkim_dependable(facts: Facts, *_: str) -> bool:
    """The signatures could be looked at, keys included."""
    results = facts.results("dkim")
    return bool(results) and all(one.result != "temperror" for one in results)


def arc_signed(facts: Facts, *domains: str) -> bool:
    """There is an ARC set, of one of the newest sealers that are named if some are."""
    return any(not domains or _is_by(one.domain, domains) for one in facts.results("arc"))


def arc_valid(facts: Facts, *domains: str) -> bool:
    """The same of a chain that passed."""
    return any(one.result == "pass" for one in facts.results("arc")) and arc_signed(facts, *domains)


def _dkim_lists(with_domain: str, plain: str) -> Function:
    """A sender is on a list, and the domain that has to sign for it did."""

    def check(facts: Facts, *_: str) -> bool:
        valid = _valid_domains(facts)
        return bool(valid) and any(
            _is_signed_for(facts, sender, valid, with_domain, plain) for sender in facts.senders()
        )

    check.__doc__ = f"A sender is on {with_domain} or {plain}, and the domain that has to sign for it did."
    return check


def _is_signed_for(facts: Facts, sender: str, valid: set[str], with_domain: str, plain: str) -> bool:
    own = sender.rpartition("@")[2].lower()
    signers = [one or own for one in facts.knowledge.addresses(with_domain).conditions(sender)]
    if facts.knowledge.addresses(plain).has(sender):
        signers.append(own)
    return any(one in valid or _is_by_any(valid, one) for one in signers)


def _is_by_any(valid: set[str], wanted: str) -> bool:
    return any(_is_by(one, (wanted,)) for one in valid)


def _dmarc(result: str, policy: str = "") -> Function:
    def check(facts: Facts, *_: str) -> bool:
        return any(one.result == result and (not policy or one.policy == policy) for one in facts.results("dmarc"))

    wanted = f" under the policy {policy}" if policy else ""
    check.__doc__ = f"DMARC's result is {result}{wanted}."
    return check


FUNCTIONS: Mapping[str, Function] = {
    **{
        f"check_for_spf_{prefix}{result}": _spf(identity, result)
        for prefix, identity in (("", "mailfrom"), ("helo_", "helo"))
        for result in ("pass", "fail", "softfail", "neutral", "none", "permerror", "temperror")
    },
    "check_spf_skipped_noenvfrom": lambda facts, *_: not facts.mail.envelope.reverse_path,
    "check_for_spf_welcomelist_from": _spf_lists("welcomelist_from_spf", "welcomelist_auth"),
    "check_for_def_spf_welcomelist_from": _spf_lists("def_welcomelist_from_spf", "def_welcomelist_auth"),
    "check_dkim_signed": dkim_signed,
    "check_dkim_valid": dkim_valid,
    "check_dkim_verified": dkim_valid,
    "check_dkim_valid_author_sig": dkim_valid_author,
    "check_dkim_valid_envelopefrom": dkim_valid_envelope,
    "check_dkim_dependable": dkim_dependable,
    "check_arc_signed": arc_signed,
    "check_arc_valid": arc_valid,
    "check_dkim_signsome": lambda facts, *_: False,  # never hits in SpamAssassin either
    "check_for_dkim_welcomelist_from": _dkim_lists("welcomelist_from_dkim", "welcomelist_auth"),
    "check_for_def_dkim_welcomelist_from": _dkim_lists("def_welcomelist_from_dkim", "def_welcomelist_auth"),
    "check_dmarc_pass": _dmarc("pass"),
    "check_dmarc_reject": _dmarc("fail", "reject"),
    "check_dmarc_quarantine": _dmarc("fail", "quarantine"),
    "check_dmarc_none": _dmarc("fail", "none"),
    "check_dmarc_missing": _dmarc("none"),
}
