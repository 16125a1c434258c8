"""Control payloads of the peer protocol and what they mean: protobuf on one side, the types of :mod:`cashy.peer.service` on the other.

What comes from another host is checked here, once: after this a request is within the limits that the rest of the program takes for
granted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from aviary.cashy.v1.peer_pb2 import (
    PeerBlock,
    PeerChange,
    PeerChanged,
    PeerFailure,
    PeerHeadAnswer,
    PeerHeader,
    PeerHeadRequest,
    PeerLease,
    PeerLeaseRequest,
    PeerMeta,
    PeerNoted,
    PeerObject,
    PeerPromise,
    PeerReadRequest,
    PeerStatusRequest,
)
from cashy.core.coherence import Change, Grant
from cashy.core.peer_frames import PAYLOAD_BYTES_MAX, Kind, PeerProtocolError
from cashy.errors import CashyError, TooLarge, error_for_code
from cashy.origin.base import ObjectMeta
from cashy.peer.service import HeadAnswer, HeadRequest, Noted, PeerRead, ReadRequest

__all__ = [
    "CANCELLED",
    "block_payload",
    "changed_payload",
    "error_payload",
    "head_request_payload",
    "lease_payload",
    "lease_request_payload",
    "meta_payload",
    "noted_payload",
    "parse_block",
    "parse_changed",
    "parse_error",
    "parse_head_request",
    "parse_lease",
    "parse_lease_request",
    "parse_meta",
    "parse_noted",
    "parse_read_request",
    "parse_status_request",
    "read_request_payload",
    "status_request_payload",
]

#: Code of the ERROR that ends a cancelled request; whoever cancelled does not look at it.
CANCELLED = "CANCELLED"

#: Objects end before this; offsets beyond it would not fit the files and stores that exist.
_OFFSET_MAX = 1 << 63

_MILLISECONDS_MAX = 0xFFFFFFFF
_MESSAGE_CHARACTERS_MAX = 1000

_M = TypeVar("_M", bound=Message)


def read_request_payload(read: PeerRead, left_s: float) -> bytes:
    """READ; ``left_s`` until its deadline. Raises ``TooLarge``."""
    message = PeerReadRequest(
        object=PeerObject(origin=read.origin, bucket=read.bucket, key=read.key, url=read.url),
        offset=read.offset,
        length=read.length,
        version=read.expected_version,
        size_bytes=read.size_bytes,
        deadline_ms=_milliseconds(left_s),
        silence_ms=_milliseconds(read.silence_s),
    )
    return _serialise(Kind.READ, message)


def parse_read_request(payload: bytes, peer: str, block_bytes: int) -> ReadRequest:
    """READ from host ``peer``. Raises ``PeerProtocolError``."""
    message = _parse(Kind.READ, PeerReadRequest, payload)
    if not 1 <= message.length <= block_bytes or message.offset + message.length > _OFFSET_MAX:
        raise PeerProtocolError(
            f"READ of {message.length} bytes at {message.offset}; blocks have {block_bytes} bytes"
        )
    where = message.object
    return ReadRequest(
        peer=peer,
        origin=where.origin,
        bucket=where.bucket,
        key=where.key,
        url=where.url,
        offset=message.offset,
        length=message.length,
        version=message.version if message.HasField("version") else None,
        size_bytes=message.size_bytes if message.HasField("size_bytes") else None,
        deadline_s=message.deadline_ms / 1000,
        silence_s=message.silence_ms / 1000,
    )


def head_request_payload(
    origin: str, url: str, bucket: str, key: str, revalidate: bool, left_s: float
) -> bytes:
    """HEAD. Raises ``TooLarge``."""
    where = PeerObject(origin=origin, bucket=bucket, key=key, url=url)
    message = PeerHeadRequest(object=where, revalidate=revalidate, deadline_ms=_milliseconds(left_s))
    return _serialise(Kind.HEAD, message)


def parse_head_request(payload: bytes, peer: str) -> HeadRequest:
    """HEAD from host ``peer``. Raises ``PeerProtocolError``."""
    message = _parse(Kind.HEAD, PeerHeadRequest, payload)
    where = message.object
    return HeadRequest(
        peer=peer,
        origin=where.origin,
        bucket=where.bucket,
        key=where.key,
        url=where.url,
        revalidate=message.revalidate,
        deadline_s=message.deadline_ms / 1000,
    )


def status_request_payload(left_s: float) -> bytes:
    """STATUS."""
    return PeerStatusRequest(deadline_ms=_milliseconds(left_s)).SerializeToString()


def changed_payload(changes: Sequence[Change], left_s: float) -> bytes:
    """CHANGED, of changes that are all alike but for their names. Raises ``TooLarge``."""
    message = PeerChanged(
        names=[change.name for change in changes],
        is_over=changes[0].is_over,
        by=changes[0].by,
        deadline_ms=_milliseconds(left_s),
    )
    return _serialise(Kind.CHANGED, message)


def parse_changed(payload: bytes) -> list[Change]:
    """CHANGED, which is answered at once. Raises ``PeerProtocolError``."""
    message = _parse(Kind.CHANGED, PeerChanged, payload)
    return [Change(name, message.is_over, message.by) for name in message.names]


def noted_payload(noted: Noted) -> bytes:
    """NOTED. Lengths of time are rounded up: longer is safe."""
    promises = [
        PeerPromise(host=host, left_ms=_milliseconds_up(left_ns)) for host, left_ns in noted.promises.items()
    ]
    message = PeerNoted(counts_in_ms=_milliseconds_up(noted.counts_in_ns), promises=promises)
    return _serialise(Kind.NOTED, message)


def parse_noted(payload: bytes) -> Noted:
    """NOTED. Raises ``PeerProtocolError``."""
    message = _parse(Kind.NOTED, PeerNoted, payload)
    promises = {promise.host: promise.left_ms * 1_000_000 for promise in message.promises}
    return Noted(message.counts_in_ms * 1_000_000, promises)


def lease_request_payload(incarnation: int, number: int, left_s: float) -> bytes:
    """LEASE."""
    message = PeerLeaseRequest(incarnation=incarnation, number=number, deadline_ms=_milliseconds(left_s))
    return _serialise(Kind.LEASE, message)


def parse_lease_request(payload: bytes) -> tuple[int, int]:
    """LEASE, which is answered at once: incarnation and number. Raises ``PeerProtocolError``."""
    message = _parse(Kind.LEASE, PeerLeaseRequest, payload)
    return message.incarnation, message.number


def lease_payload(grant: Grant) -> bytes:
    """LEASED. Raises ``TooLarge``."""
    message = PeerLease(
        incarnation=grant.incarnation,
        number=grant.number,
        duration_ms=grant.duration_ns // 1_000_000,
        is_complete=grant.is_complete,
        changes=[
            PeerChange(name=change.name, is_over=change.is_over, by=change.by) for change in grant.changes
        ],
    )
    return _serialise(Kind.LEASED, message)


def parse_lease(payload: bytes) -> Grant:
    """LEASED. Raises ``PeerProtocolError``."""
    message = _parse(Kind.LEASED, PeerLease, payload)
    return Grant(
        incarnation=message.incarnation,
        number=message.number,
        duration_ns=message.duration_ms * 1_000_000,
        is_complete=message.is_complete,
        changes=tuple(Change(change.name, change.is_over, change.by) for change in message.changes),
    )


def parse_status_request(payload: bytes) -> None:
    """STATUS is answered at once, so its deadline does not matter. Raises ``PeerProtocolError``."""
    _parse(Kind.STATUS, PeerStatusRequest, payload)


def block_payload(meta: ObjectMeta, length: int, fresh_for_s: float) -> bytes:
    """BLOCK. Raises ``TooLarge``."""
    message = PeerBlock(meta=_meta_message(meta), length=length, fresh_for_ms=_milliseconds(fresh_for_s))
    return _serialise(Kind.BLOCK, message)


def parse_block(payload: bytes) -> tuple[ObjectMeta, int, float]:
    """BLOCK: metadata, how many bytes come, for how many seconds the version is current. Raises ``PeerProtocolError``."""
    message = _parse(Kind.BLOCK, PeerBlock, payload)
    return _parse_meta(Kind.BLOCK, message.meta), message.length, message.fresh_for_ms / 1000


def meta_payload(answer: HeadAnswer) -> bytes:
    """META. Raises ``TooLarge``."""
    message = PeerHeadAnswer(meta=_meta_message(answer.meta), fresh_for_ms=_milliseconds(answer.fresh_for_s))
    return _serialise(Kind.META, message)


def parse_meta(payload: bytes) -> HeadAnswer:
    """META. Raises ``PeerProtocolError``."""
    message = _parse(Kind.META, PeerHeadAnswer, payload)
    return HeadAnswer(_parse_meta(Kind.META, message.meta), message.fresh_for_ms / 1000)


def error_payload(code: str, message: str) -> bytes:
    """ERROR; a message that is too long is cut."""
    return PeerFailure(code=code, message=message[:_MESSAGE_CHARACTERS_MAX]).SerializeToString()


def parse_error(payload: bytes, peer: str) -> CashyError:
    """ERROR from host ``peer``, as the error it stands for. Raises ``PeerProtocolError``."""
    failure = _parse(Kind.ERROR, PeerFailure, payload)
    return error_for_code(failure.code, f"host {peer!r}: {failure.message}")


def _meta_message(meta: ObjectMeta) -> PeerMeta:
    return PeerMeta(
        version=meta.version,
        size_bytes=meta.size_bytes,
        last_modified=meta.last_modified,
        content_type=meta.content_type,
        headers=_header_messages(meta.headers),
        user_metadata=_header_messages(meta.user_metadata),
    )


def _header_messages(headers: Iterable[tuple[str, str]]) -> list[PeerHeader]:
    return [PeerHeader(name=name, value=value) for name, value in headers]


def _parse_meta(kind: Kind, message: PeerMeta) -> ObjectMeta:
    if not message.version or message.size_bytes > _OFFSET_MAX or not math.isfinite(message.last_modified):
        raise PeerProtocolError(f"{kind.name} with impossible metadata")
    return ObjectMeta(
        version=message.version,
        size_bytes=message.size_bytes,
        last_modified=message.last_modified,
        content_type=message.content_type,
        headers=tuple((header.name, header.value) for header in message.headers),
        user_metadata=tuple((header.name, header.value) for header in message.user_metadata),
    )


def _milliseconds(seconds: float) -> int:
    return min(max(0, int(seconds * 1000)), _MILLISECONDS_MAX)


def _milliseconds_up(nanoseconds: int) -> int:
    return min(-(-max(0, nanoseconds) // 1_000_000), _MILLISECONDS_MAX)


def _serialise(kind: Kind, message: Message) -> bytes:
    payload = message.SerializeToString()
    if len(payload) > PAYLOAD_BYTES_MAX[kind]:
        raise TooLarge(
            f"{len(payload)} bytes of names or metadata do not fit the peer protocol's {kind.name} ({PAYLOAD_BYTES_MAX[kind]})"
        )
    return payload


def _parse(kind: Kind, message_type: type[_M], payload: bytes) -> _M:
    try:
        return message_type.FromString(payload)
    except DecodeError as error:
        raise PeerProtocolError(f"the payload of {kind.name} is not what it should be: {error}") from error
