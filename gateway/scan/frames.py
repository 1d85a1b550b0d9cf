"""What passes between a listener and a scorer: length-prefixed frames over a stream socket.

frame   := length (uint32, big endian, of all that follows) kind (1 byte) sequence (uint32) payload
request := JSON header, NUL, the message's bytes                       (listener -> scorer, kind REQUEST)
hello   := JSON {"pid", "rules_id", "model_id"}                        (scorer -> listener, kind HELLO, once)
verdict := JSON, dataclasses as arrays in the order of their fields    (scorer -> listener, kind VERDICT)
fault   := text                                                        (scorer -> listener, kind FAULT)

JSON, not pickle: a scorer has read hostile bytes, and what it says is data. Cost: about 20 µs a message both ways.
"""

from __future__ import annotations

import json
import struct
from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

from gateway.types import AuthResult, Client, Contribution, Envelope, Hit, Prediction, Recipient, Summary, Verdict

HELLO, REQUEST, VERDICT, FAULT = 1, 2, 3, 4
_HEAD = struct.Struct("!IBI")
_LENGTH = struct.Struct("!I")
_BEHIND_LENGTH = _HEAD.size - _LENGTH.size


@dataclass(frozen=True, slots=True)
class Frame:
    """One frame."""

    kind: int
    sequence: int
    payload: bytes


def pack(kind: int, sequence: int, payload: bytes) -> bytes:
    """The frame as bytes."""
    return _HEAD.pack(_BEHIND_LENGTH + len(payload), kind, sequence) + payload


class FrameReader:
    """Bytes as they come in -> whole frames. Memory: one frame."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes) -> Iterator[Frame]:
        """Every frame that is complete now."""
        self._buffer += data
        while len(self._buffer) >= _HEAD.size:
            length, kind, sequence = _HEAD.unpack_from(self._buffer)
            end = _LENGTH.size + length
            if len(self._buffer) < end:
                return
            payload = bytes(memoryview(self._buffer)[_HEAD.size : end])
            del self._buffer[:end]
            yield Frame(kind, sequence, payload)


def pack_request(envelope: Envelope, content: bytes, skip: tuple[str, ...]) -> bytes:
    """Payload of a REQUEST; `skip` names the stages to leave out."""
    return json.dumps([_plain(envelope), skip]).encode("ascii") + b"\0" + content


def unpack_request(payload: bytes) -> tuple[Envelope, bytes, tuple[str, ...]]:
    """Envelope, content and the stages to leave out."""
    header, _, content = payload.partition(b"\0")
    fields, skip = json.loads(header)
    queue_id, client, reverse_path, recipients, *rest = fields
    people = tuple(Recipient(address, domain, tuple(parameters)) for address, domain, parameters in recipients)
    return Envelope(queue_id, Client(*client), reverse_path, people, *rest), content, tuple(skip)


def pack_verdict(verdict: Verdict) -> bytes:
    """Payload of a VERDICT."""
    return json.dumps(_plain(verdict)).encode("ascii")


def unpack_verdict(payload: bytes) -> Verdict:
    """Raises ValueError or TypeError when the payload is not one."""
    queue_id, score, hits, auth, prediction, incomplete, summary, rules_id, seconds, stages = json.loads(payload)
    return Verdict(
        queue_id=queue_id,
        score=score,
        hits=tuple(Hit(name, points, text, tuple(evidence)) for name, points, text, evidence in hits),
        auth=tuple(_auth_result(one) for one in auth),
        prediction=None
        if prediction is None
        else Prediction(prediction[0], prediction[1], tuple(Contribution(*one) for one in prediction[2])),
        incomplete=tuple(incomplete),
        summary=Summary(*summary),
        rules_id=rules_id,
        seconds=seconds,
        stages=tuple((name, spent) for name, spent in stages),
    )


def _auth_result(fields: list[Any]) -> AuthResult:
    values = dict(zip(AuthResult.__slots__, fields, strict=True))
    return AuthResult(**values | {"properties": tuple((name, value) for name, value in values["properties"])})


def _plain(value: Any) -> Any:
    """Dataclasses as lists of their fields, tuples as lists."""
    if hasattr(value, "__slots__"):
        return [_plain(getattr(value, name)) for name in value.__slots__]
    if isinstance(value, tuple):
        return [_plain(one) for one in value]
    return value
