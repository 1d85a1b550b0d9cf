"""What one message adds to the DMARC reports of the domain it claims to come from (RFC 9990 §3.1.1).

One row for each domain of ours it was for, and each thing that became of it there. A message that we deferred is still
with its sender and will be counted when it comes again; one without a policy, or whose policy asks for no reports, is
not counted (RFC 9989 §4.7 rua).

The disposition is what DMARC brought about, and no more than that: a message that other hits refused under p=none
counts as "none". Tagged mail is filed as junk by whoever reads the tag, so it counts as "quarantine".
"""

from __future__ import annotations

import re

from gateway.types import AuthResult, DmarcRow, Envelope, Outcome

MAX_SIGNATURES = 10  # of one row, the telling ones first (RFC 9990 §3.1.3: at most 100)
_SEVERITY = {"none": 0, "quarantine": 1, "reject": 2}
_DONE = {"accept": "none", "tag": "quarantine", "quarantine": "quarantine", "reject": "reject"}
_ASKS = re.compile(r";[ \t]*rua[ \t]*=", re.IGNORECASE)


def dmarc_rows(outcome: Outcome, envelope: Envelope) -> tuple[DmarcRow, ...]:
    """The rows of one message; () for most."""
    verdict = outcome.verdict
    if verdict is None or outcome.reply.code // 100 not in (2, 5) or not envelope.client.ip:
        return ()
    policy = next((one for one in verdict.auth if one.method == "dmarc"), None)
    if policy is None or not policy.domain or not _ASKS.search(policy.policy_record):
        return ()
    spf = next((one for one in verdict.auth if one.method == "spf"), AuthResult("spf", "none"))
    signatures = sorted((one for one in verdict.auth if one.method == "dkim"), key=lambda one: _rank(one, policy))
    became = {(one.recipient.domain, _disposition(policy, one.action)): None for one in outcome.deliveries}
    return tuple(
        DmarcRow(
            at=envelope.received_at,
            domain=policy.policy_domain,
            published=policy.policy_record,
            source_ip=envelope.client.ip,
            header_from=policy.domain,
            envelope_from=spf.domain if spf.identity != "helo" else "",
            envelope_to=domain,
            disposition=disposition,
            is_dkim_aligned=any(one.is_aligned for one in signatures),
            is_spf_aligned=spf.is_aligned,
            overrides=overrides,
            dkim=tuple((one.domain, one.selector, one.result) for one in signatures if one.domain and one.selector)[
                :MAX_SIGNATURES
            ],
            spf=(spf.domain, spf.result),
        )
        for domain, (disposition, overrides) in became
    )


def _disposition(policy: AuthResult, action: str) -> tuple[str, tuple[str, ...]]:
    """(what DMARC brought about, why that is not what is published)."""
    if policy.result == "pass":
        return ("none" if policy.policy == "none" else "pass"), ()
    if policy.result != "fail":  # it could not be told, so no policy was applied (RFC 9989 §5.3.6)
        return "none", () if policy.policy == "none" else ("other",)
    wanted = "none" if policy.override == "trusted_forwarder" else policy.policy
    done = min(wanted, _DONE[action], key=lambda one: _SEVERITY.get(one, 0))
    reasons = [policy.override, "local_policy" if done != wanted else ""]
    return done, tuple(one for one in reasons if one)


def _rank(signature: AuthResult, policy: AuthResult) -> int:
    """Which signatures tell most (RFC 9990 §3.1.3)."""
    if signature.is_aligned:
        return 0 if signature.domain == policy.domain else 1
    return 2 if signature.result == "pass" else 3
