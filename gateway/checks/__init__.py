"""The checks: each looks at the mail object and reports what it saw, never a score (rules/10_findings.cf has those).

A new check is a file here, a line in the tuple below, a score and describe line in rules/, its cases and its test.
"""

from __future__ import annotations

from gateway.checks.attachment import Attachment
from gateway.checks.authentication import Authentication
from gateway.checks.author import Author
from gateway.checks.body import Body
from gateway.checks.date import Date
from gateway.checks.from_field import FromField
from gateway.checks.helo import Helo
from gateway.checks.html import HtmlTricks
from gateway.checks.message_id import MessageId
from gateway.checks.mime import Mime
from gateway.checks.missing_field import MissingField
from gateway.checks.obfuscation import Obfuscation
from gateway.checks.origin import Origin
from gateway.checks.own_domain import OwnDomain
from gateway.checks.recipient import RecipientField
from gateway.checks.reply_to import ReplyTo
from gateway.checks.reverse_dns import ReverseDns
from gateway.checks.reverse_path import ReversePath
from gateway.checks.subject import Subject
from gateway.checks.url import Url
from gateway.ports import EnvelopeCheck, MessageCheck

CHECKS: tuple[MessageCheck, ...] = (
    Attachment(),
    Authentication(),
    Author(),
    Body(),
    Date(),
    FromField(),
    Helo(),
    HtmlTricks(),
    MessageId(),
    Mime(),
    MissingField(),
    Obfuscation(),
    OwnDomain(),
    RecipientField(),
    ReplyTo(),
    ReverseDns(),
    ReversePath(),
    Subject(),
    Url(),
)

ENVELOPE_CHECKS: tuple[EnvelopeCheck, ...] = (Origin(),)

FINDINGS: frozenset[str] = frozenset(
    [name for check in CHECKS for name in check.findings]
    + [name for check in ENVELOPE_CHECKS for name in check.findings]
)
