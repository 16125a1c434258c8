"""Control payloads of the peer protocol and what they mean: protobuf on one side, the types of :mod:`cashy.peer.service` on the other.

What comes from another host is checked here, once: after this a request is within the limits that the rest of the program takes for
granted.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import TypeVar

from google.protobuf.message import DecodeError, Message

from aviary.cashy.v1.operate_pb2 import HostAnswer, HostRequest
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
    PeerLeaving,
    PeerListId,
    PeerMeta,
    PeerNoted,
    PeerObject,
    PeerPromise,
    PeerReadRequest,
    PeerStatusRequest,
    PeerWord,
)
from cashy.core.coherence import Change, Grant, ListId, Word
from cashy.core.hot_blocks import NOT_HOT, Hot
from cashy.core.peer_frames import PAYLOAD_BYTES_MAX, Kind, PeerProtocolError
from cashy.core.trace import TRACE_ID_BYTES
from cashy.errors import CashyError, TooLarge, error_for_code
from cashy.limits import CALLER_CHARACTERS_MAX, LOCATE_BLOCKS_PER_QUESTION
from cashy.origin.base import ObjectMeta
from cashy.peer.errors import PeerElsewhere
from cashy.peer.service import HeadAnswer, HeadRequest, Noted, PeerRead, ReadRequest

__all__ = [
    "CANCELLED",
    "block_payload",
    "changed_payload",
    "error_payload",
    "head_request_payload",
    "lease_payload",
    "lease_request_payload",
    "leaving_payload",
    "meta_payload",
    "noted_payload",
    "operate_payload",
    "operated_payload",
    "parse_block",
    "parse_changed",
    "parse_error",
    "parse_head_request",
    "parse_lease",
    "parse_lease_request",
    "parse_leaving",
    "parse_meta",
    "parse_noted",
    "parse_operate",
    "parse_operated",
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
        caller=read.caller,
        trace_id=read.trace_id,
        only_here=read.only_here,
        copies=read.copies,
        is_final=read.is_final,
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
        caller=message.caller[:CALLER_CHARACTERS_MAX],
        trace_id=message.trace_id if len(message.trace_id) == TRACE_ID_BYTES else b"",
        only_here=message.only_here,
        copies=message.copies,
        is_final=message.is_final,
    )


def head_request_payload(
    origin: str, url: str, bucket: str, key: str, revalidate: bool, left_s: float, blocks: range = range(0)
) -> bytes:
    """HEAD. Raises ``TooLarge``."""
    where = PeerObject(origin=origin, bucket=bucket, key=key, url=url)
    message = PeerHeadRequest(
        object=where, revalidate=revalidate, deadline_ms=_milliseconds(left_s), first_block=blocks.start, block_count=len(blocks)
    )  # fmt: skip
    return _serialise(Kind.HEAD, message)


def parse_head_request(payload: bytes, peer: str) -> HeadRequest:
    """HEAD from host ``peer``. Raises ``PeerProtocolError``."""
    message = _parse(Kind.HEAD, PeerHeadRequest, payload)
    where = message.object
    if message.block_count > LOCATE_BLOCKS_PER_QUESTION or message.first_block > _OFFSET_MAX:
        raise PeerProtocolError(
            f"HEAD asks where {message.block_count:,} blocks lie, {LOCATE_BLOCKS_PER_QUESTION:,} may be asked for"
        )
    return HeadRequest(
        peer=peer,
        origin=where.origin,
        bucket=where.bucket,
        key=where.key,
        url=where.url,
        revalidate=message.revalidate,
        deadline_s=message.deadline_ms / 1000,
        blocks=range(message.first_block, message.first_block + message.block_count),
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
    message = PeerNoted(
        counts_in_ms=_milliseconds_up(noted.counts_in_ns), promises=promises, word=_word_message(noted.word)
    )
    return _serialise(Kind.NOTED, message)


def parse_noted(payload: bytes) -> Noted:
    """NOTED. Raises ``PeerProtocolError``."""
    message = _parse(Kind.NOTED, PeerNoted, payload)
    promises = {promise.host: promise.left_ms * 1_000_000 for promise in message.promises}
    return Noted(message.counts_in_ms * 1_000_000, promises, _parse_word(message.word))


def _word_message(word: Word) -> PeerWord:
    counted = [PeerListId(version=each.version, digest=each.digest) for each in word.counted]
    return PeerWord(counted=counted, acts=word.acts)


def _parse_word(message: PeerWord) -> Word:
    return Word(tuple(ListId(each.version, each.digest) for each in message.counted), message.acts)


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
        word=_word_message(grant.word),
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
        word=_parse_word(message.word),
    )


def leaving_payload(left_s: float) -> bytes:
    """LEAVING."""
    return PeerLeaving(deadline_ms=_milliseconds(left_s)).SerializeToString()


def parse_leaving(payload: bytes) -> None:
    """LEAVING is answered at once. Raises ``PeerProtocolError``."""
    _parse(Kind.LEAVING, PeerLeaving, payload)


def operate_payload(request: HostRequest, left_s: float) -> bytes:
    """OPERATE. Raises ``TooLarge``."""
    request.deadline_ms = _milliseconds(left_s)
    return _serialise(Kind.OPERATE, request)


def parse_operate(payload: bytes) -> tuple[HostRequest, float]:
    """OPERATE, and in how many seconds the answer is not wanted any more. Raises ``PeerProtocolError``."""
    message = _parse(Kind.OPERATE, HostRequest, payload)
    return message, message.deadline_ms / 1000


def operated_payload(answer: HostAnswer) -> bytes:
    """OPERATED. Raises ``TooLarge``."""
    return _serialise(Kind.OPERATED, answer)


def parse_operated(payload: bytes) -> HostAnswer:
    """OPERATED. Raises ``PeerProtocolError``."""
    return _parse(Kind.OPERATED, HostAnswer, payload)


def parse_status_request(payload: bytes) -> None:
    """STATUS is answered at once, so its deadline does not matter. Raises ``PeerProtocolError``."""
    _parse(Kind.STATUS, PeerStatusRequest, payload)


def block_payload(meta: ObjectMeta, length: int, fresh_for_s: float, hot: Hot = NOT_HOT) -> bytes:
    """BLOCK. Raises ``TooLarge``."""
    message = PeerBlock(
        meta=_meta_message(meta),
        length=length,
        fresh_for_ms=_milliseconds(fresh_for_s),
        copies=hot.copies,
        hot_for_ms=_milliseconds(hot.for_s),
    )
    return _serialise(Kind.BLOCK, message)


def parse_block(payload: bytes) -> tuple[ObjectMeta, int, float, Hot]:
    """BLOCK: metadata, how many bytes come, for how many seconds the version is current, how hot. Raises ``PeerProtocolError``."""
    message = _parse(Kind.BLOCK, PeerBlock, payload)
    meta = _parse_meta(Kind.BLOCK, message.meta)
    return meta, message.length, message.fresh_for_ms / 1000, Hot(message.copies, message.hot_for_ms / 1000)


def meta_payload(answer: HeadAnswer) -> bytes:
    """META. Raises ``TooLarge``."""
    message = PeerHeadAnswer(
        meta=_meta_message(answer.meta), fresh_for_ms=_milliseconds(answer.fresh_for_s), tiers=answer.tiers
    )
    return _serialise(Kind.META, message)


def parse_meta(payload: bytes) -> HeadAnswer:
    """META. Raises ``PeerProtocolError``."""
    message = _parse(Kind.META, PeerHeadAnswer, payload)
    return HeadAnswer(_parse_meta(Kind.META, message.meta), message.fresh_for_ms / 1000, message.tiers)


def error_payload(code: str, message: str, hot: Hot = NOT_HOT) -> bytes:
    """ERROR; a message that is too long is cut."""
    failure = PeerFailure(
        code=code,
        message=message[:_MESSAGE_CHARACTERS_MAX],
        copies=hot.copies,
        hot_for_ms=_milliseconds(hot.for_s),
    )
    return failure.SerializeToString()


def parse_error(payload: bytes, peer: str) -> CashyError:
    """ERROR from host ``peer``, as the error it stands for; :class:`~cashy.peer.errors.PeerElsewhere` for a hot block. Raises
    ``PeerProtocolError``.
    """
    failure = _parse(Kind.ERROR, PeerFailure, payload)
    if failure.copies:
        return PeerElsewhere(
            f"host {peer!r}: {failure.message}", Hot(failure.copies, failure.hot_for_ms / 1000)
        )
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
