"""The checks: each looks at the mail object and reports what it saw, never a score (rules/10_findings.cf has those).

A new check is a file here, a line in the tuple below, a score and describe line in rules/, its cases and its test.
"""

from __future__ import annotations

from collections.abc import Collection
from dataclasses import replace

from gateway.auth.identity import Identity, make_identity
from gateway.checks.attachment import Attachment
from gateway.checks.authentication import Authentication
from gateway.checks.author import Author
from gateway.checks.body import Body
from gateway.checks.date import Date
from gateway.checks.domain_list import FREEMAIL, SHORTENERS
from gateway.checks.from_field import FromField
from gateway.checks.helo import Helo
from gateway.checks.html import HtmlTricks
from gateway.checks.lookalike import Lookalike
from gateway.checks.message_id import MessageId
from gateway.checks.mime import Mime
from gateway.checks.missing_field import MissingField
from gateway.checks.new_domain import NewDomain
from gateway.checks.obfuscation import Obfuscation
from gateway.checks.origin import Origin
from gateway.checks.own_domain import OwnDomain
from gateway.checks.person_name import PersonName
from gateway.checks.protocol import Protocol
from gateway.checks.recipient import RecipientField
from gateway.checks.reply_to import ReplyTo
from gateway.checks.reputation import Reputation
from gateway.checks.reverse_dns import ReverseDns
from gateway.checks.reverse_path import ReversePath
from gateway.checks.subject import Subject
from gateway.checks.url import Url
from gateway.checks.virus import Virus
from gateway.ports import ContentScanner, DomainMemory, EnvelopeCheck, MessageCheck
from gateway.types import MailObject


def make_checks(identity: Identity) -> tuple[MessageCheck, ...]:
    """The checks of messages, knowing who is who."""
    return (
        Attachment(),
        Authentication(),
        Author(identity),
        Body(),
        Date(),
        FromField(),
        Helo(),
        HtmlTricks(),
        Lookalike(identity),
        MessageId(),
        Mime(),
        MissingField(),
        Obfuscation(),
        OwnDomain(identity),
        PersonName(identity),
        Protocol(),
        RecipientField(),
        ReplyTo(identity),
        Reputation(),
        ReverseDns(),
        ReversePath(),
        Subject(),
        Url(identity),
    )


def make_envelope_checks(
    memory: DomainMemory | None = None, known: Collection[str] = (), scanner: ContentScanner | None = None
) -> tuple[EnvelopeCheck, ...]:
    """The checks that ask; `known` are domains that are nobody's discovery."""
    return (Origin(), NewDomain(memory, known), Virus(scanner))


CHECKS = make_checks(make_identity(freemail=FREEMAIL, shorteners=SHORTENERS))  # that know nobody
ENVELOPE_CHECKS = make_envelope_checks()  # that remember nothing and have no scanner


def observe(mail: MailObject) -> MailObject:
    """With what the checks see that know nobody and ask nobody: for the classifier, outside the pipeline."""
    return replace(mail, findings=tuple([finding for check in CHECKS for finding in check.check(mail)]))


FINDINGS: frozenset[str] = frozenset(
    [name for check in CHECKS for name in check.findings]
    + [name for check in ENVELOPE_CHECKS for name in check.findings]
)
