"""What passes between a listener and a scorer: length-prefixed frames over a stream socket.

frame   := length (uint32, big endian, of all that follows) kind (1 byte) sequence (uint32) head's length (uint32)
           head content
request := head: JSON [envelope, stages to leave out, words wanted]; content: the message's bytes
                                                                                      (listener -> scorer, REQUEST)
hello   := head: JSON {"pid", "rules_id", "model_id"}                                 (scorer -> listener, HELLO, once)
verdict := head: JSON                                                                 (scorer -> listener, VERDICT)
fault   := head: the stage that raised                                                (scorer -> listener, FAULT)
ask     := head: JSON list of domains; sequence: the scorer's own                     (scorer -> listener, ASK)
new     := head: JSON list of those that are new, or null; sequence: the question's   (listener -> scorer, NEW)
why     := head: JSON [envelope, kept verdict's JSON, policy, entries on the sender]; content as above
                                                                                      (admin -> scorer, WHY)
flip    := head: JSON of counterfactual.flip_object                                   (scorer -> admin, FLIP)

Envelopes and verdicts are arrays, in the order of their dataclasses' fields. JSON, not pickle: a scorer has read
hostile bytes, and what it says is data. Cost: about 35 µs a message, both ways and both sides together.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from pydantic_core import PydanticSerializationError, from_json, to_json

from gateway.policy.senders import NOTHING_SAID, Limits, Said
from gateway.types import (
    AuthResult,
    Client,
    Contribution,
    DomainPolicy,
    Envelope,
    History,
    Hit,
    Past,
    Prediction,
    Recipient,
    SenderEntry,
    Summary,
    Verdict,
)

HELLO, REQUEST, VERDICT, FAULT, WHY, FLIP, ASK, NEW = 1, 2, 3, 4, 5, 6, 7, 8
MAX_ANSWER = 16 << 20  # bytes of what a listener takes from a scorer; a verdict has some thousand
_MAX_DOMAINS, _MAX_DOMAIN = 8, 253
_SAID = ("number", "act", "pattern", "recipient", "expires_at", "by", "at", "network")  # of an entry
_HEAD = struct.Struct("!IBII")
_LENGTH = struct.Struct("!I")
_BEHIND_LENGTH = _HEAD.size - _LENGTH.size


class Frame(NamedTuple):
    """One frame."""

    kind: int
    sequence: int
    head: bytes
    content: bytes


def pack(kind: int, sequence: int, head: bytes, content: bytes = b"") -> tuple[bytes, bytes]:
    """The frame, in two pieces so that megabytes are not copied."""
    return _HEAD.pack(_BEHIND_LENGTH + len(head) + len(content), kind, sequence, len(head)) + head, content


class FrameReader:
    """Bytes as they come in -> whole frames. Memory: twice the longest frame."""

    def __init__(self, max_bytes: int = 1 << 32) -> None:
        self._buffer = bytearray()
        self._max_bytes = max_bytes

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete now. Raises ValueError for what is none, or longer than max_bytes."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, kind, sequence, head_size = _HEAD.unpack_from(self._buffer)
            if length > self._max_bytes or head_size > length - _BEHIND_LENGTH:
                raise ValueError("not a frame")
            end, middle = _LENGTH.size + length, _HEAD.size + head_size
            if len(self._buffer) < end:
                return
            with memoryview(self._buffer) as view:
                frame = Frame(kind, sequence, bytes(view[_HEAD.size : middle]), bytes(view[middle:end]))
            del self._buffer[:end]
            yield frame


def pack_request(envelope: Envelope, skip: tuple[str, ...], explained: bool = False) -> bytes:
    """Head of a REQUEST; `skip` names the stages to leave out, `explained` asks for the words of any prediction."""
    return _encode((_envelope_fields(envelope), skip, explained))


def unpack_request(head: bytes) -> tuple[Envelope, tuple[str, ...], bool]:
    """Envelope, the stages to leave out, and whether the words of any prediction are wanted."""
    fields, skip, explained = _decode(head)
    return _envelope(*fields), tuple(skip), explained is True


def pack_why(envelope: Envelope, verdict_json: str, policy: DomainPolicy, said: Said = NOTHING_SAID) -> bytes:
    """Head of a WHY: the verdict as it was kept, the policy by its thresholds, what is said of the sender."""
    thresholds = (policy.name, policy.tag_at, policy.quarantine_at, policy.reject_at, policy.on_incomplete)
    entries = [[getattr(one, name) for name in _SAID] for one in said.entries]
    return _encode((_envelope_fields(envelope), verdict_json, thresholds, (entries, said.limits)))


def unpack_why(head: bytes) -> tuple[Envelope, str, DomainPolicy, Said]:
    """Envelope, kept verdict, a policy without a next hop, and entries on the sender without their notes."""
    fields, verdict_json, (name, *thresholds), (entries, limits) = _decode(head)
    said = Said(tuple([SenderEntry(**dict(zip(_SAID, one, strict=True))) for one in entries]), Limits(*limits))
    return _envelope(*fields), verdict_json, DomainPolicy(name, "", *thresholds), said


def pack_domains(domains: Iterable[str] | None) -> bytes:
    """Head of an ASK or a NEW."""
    return _encode(None if domains is None else tuple(domains))


def unpack_domains(head: bytes) -> tuple[str, ...] | None:
    """Raises ValueError when the bytes are no such list, or a longer one than anybody writes."""
    found = _decode(head)
    if found is None:
        return None
    if not isinstance(found, list) or len(found) > _MAX_DOMAINS:
        raise ValueError("not a list of domains")
    if not all(isinstance(one, str) and one.isascii() and len(one) <= _MAX_DOMAIN for one in found):
        raise ValueError("not a domain")
    return tuple(found)


def _envelope_fields(envelope: Envelope) -> tuple[Any, ...]:
    client = envelope.client
    return (
        envelope.queue_id,
        (client.ip, client.port, client.helo, client.protocol, client.tls, client.name),
        envelope.reverse_path,
        [(one.address, one.domain, one.parameters) for one in envelope.recipients],
        envelope.received_at,
        envelope.hostname,
        envelope.is_8bitmime,
        envelope.is_smtputf8,
        envelope.history and _history_fields(envelope.history),
        envelope.manner,
    )


def _envelope(*fields: Any) -> Envelope:
    queue_id, client, reverse_path, recipients, received_at, hostname, is_8bitmime, is_smtputf8, past, manner = fields
    people = tuple([Recipient(address, domain, tuple(parameters)) for address, domain, parameters in recipients])
    known = None if past is None else _history(*past)
    about = (received_at, hostname, is_8bitmime, is_smtputf8, known, tuple(manner))
    return Envelope(queue_id, Client(*client), reverse_path, people, *about)


def _history_fields(one: History) -> tuple[Any, ...]:
    return one.author, tuple(one.network), tuple(one.domain), tuple(one.address), one.known, one.met


def _history(author: str, network: Any, domain: Any, address: Any, known: Any, met: Any) -> History:
    return History(author, Past(*network), Past(*domain), Past(*address), tuple(known), tuple(met))


def pack_verdict(verdict: Verdict) -> bytes:
    """Head of a VERDICT."""
    prediction, summary = verdict.prediction, verdict.summary
    return _encode(
        (
            verdict.queue_id,
            verdict.score,
            _plain(verdict.hits),
            _plain(verdict.auth),
            prediction and (prediction.probability, prediction.model_id, _plain(prediction.contributions)),
            verdict.incomplete,
            (summary.message_id, summary.subject, summary.author, summary.size_bytes),
            verdict.rules_id,
            verdict.seconds,
            verdict.stages,
            verdict.campaign,
            verdict.attachments,
        )
    )


def unpack_verdict(head: bytes) -> Verdict:
    """Raises ValueError or TypeError when the bytes are not one."""
    queue_id, score, hits, auth, prediction, incomplete, summary, rules_id, seconds, stages, *rest = _decode(head)
    return Verdict(
        queue_id,
        score,
        tuple([Hit(name, points, text, tuple(evidence)) for name, points, text, evidence in hits]),
        tuple([_auth_result(*fields) for fields in auth]),
        None if prediction is None else _prediction(*prediction),
        tuple(incomplete),
        Summary(*summary),
        rules_id,
        seconds,
        _pairs(stages),
        *rest,
    )


def _plain(values: Iterable[tuple[Any, ...]]) -> list[tuple[Any, ...]]:
    """Named tuples as tuples, which are written three times as fast."""
    return [tuple(one) for one in values]


def _auth_result(*fields: Any) -> AuthResult:
    method, result, domain, selector, identity, policy, reason, is_aligned, properties, *rest = fields
    return AuthResult(method, result, domain, selector, identity, policy, reason, is_aligned, _pairs(properties), *rest)


def _pairs(values: list[Any]) -> tuple[tuple[str, Any], ...]:
    return tuple([(name, value) for name, value in values])


def _prediction(probability: float, model_id: str, contributions: list[Any]) -> Prediction:
    return Prediction(probability, model_id, tuple([Contribution(*one) for one in contributions]))


def _encode(value: tuple[Any, ...] | None) -> bytes:
    """JSON. The standard library's, six times slower, has the lone surrogates that UTF-8 has not."""
    try:
        return to_json(value)
    except (PydanticSerializationError, UnicodeEncodeError):
        return json.dumps(value).encode("ascii")


def _decode(head: bytes) -> Any:
    try:
        return from_json(head, cache_strings="none")
    except ValueError:
        return json.loads(head)
