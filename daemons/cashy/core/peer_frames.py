"""Frames of the peer protocol: their header, their kinds, and who may send what when. docs/peer-protocol.md is the same for people.

Law. Layout, table and limits only; no stream (that is :mod:`cashy.core.peer_wire`), no meaning of payloads. Every frame is a header of 32
bytes and a payload. The header has a checksum of its own, because its length decides how many of the next bytes are payload: one wrong
bit there and everything after it would be taken for something else. Frames of each direction are numbered, so that a lost, repeated or
reordered one shows even where its content would be legal.

DATA carries the *running* crc32c of the asked range, from its first byte to this frame's end, and not that of its own payload: the
receiver's one pass over the bytes verifies the frame and yields the block's checksum, and a frame of another read, or at another place,
does not fit. (A checksum per frame and one per block were two passes; at 6 GB/s [measured] a pass costs a third of receiving.)

Protobuf for DATA was rejected: a bytes field is a copy. Fixed little-endian fields cost one ``struct`` call.
"""

from __future__ import annotations

import struct
from enum import IntEnum

import crc32c

from cashy.errors import CashyError

__all__ = [
    "ANSWERS", "DATA_BYTES_MAX", "ENDINGS", "FIRST_DATA_BYTES", "HEADER_BYTES", "Kind", "MAGIC", "NEXT_STATE", "PAYLOAD_BYTES_MAX",
    "PEER_PROTOCOL_OLDEST",
    "PEER_PROTOCOL_VERSION", "PIECE_BYTES", "PeerError", "PeerProtocolError", "State", "WITH_REQUEST_ID", "checksum", "full_frame_end",
    "next_state", "pack_header", "unpack_header",
]  # fmt: skip

#: The newest and the oldest version spoken, said in HELLO and CHALLENGE; the highest that both sides speak counts. So a cluster can be upgraded host
#: by host, from any version that is still spoken. 4: LEAVING, OPERATE.
PEER_PROTOCOL_VERSION = 4
PEER_PROTOCOL_OLDEST = 3

#: First bytes of every frame: whoever speaks something else is noticed at the first one.
MAGIC = b"CPf1"

#: An alert and a handshake of TLS (RFC 8446 5.1), where no TLS was expected.
_TLS_BEGINS = (b"\x15\x03", b"\x16\x03")
_TLS_HINT = "; the other side speaks TLS, and this host runs with cluster.insecure = true: use certificates on all hosts, or on none"

#: Payload of one DATA frame: a frame costs each end about 40 us whatever its size [measured], and its bytes count when all of it is verified.
DATA_BYTES_MAX = 1 << 20

#: Payload of a read's first DATA frame, if all is there: somebody may wait for the first byte, 2 ms over a link of 1 Gbit/s.
FIRST_DATA_BYTES = 256 << 10

#: Received in one call: copied by the kernel and summed up by us while it is in the second-level cache, and a call costs little against it. Whole
#: frames took a twentieth more CPU at the receiver, and a tenth at the sender [measured].
PIECE_BYTES = 128 << 10

# magic, kind, flags (0), sequence, request id, payload length, offset, checksum of the payload, checksum of the 28 bytes before
_HEADER = struct.Struct("<4sBBHQIIII")
_UNSUMMED = struct.Struct("<4sBBHQIII")
_SUM = struct.Struct("<I")

HEADER_BYTES = _HEADER.size
assert HEADER_BYTES == 32
assert _UNSUMMED.size + _SUM.size == HEADER_BYTES

_KEEP_GIL = 0  # crc32c's gil_release_mode "never"


class PeerError(CashyError):
    """Base of what goes wrong between two hosts."""

    code = "ORIGIN_UNAVAILABLE"


class PeerProtocolError(PeerError):
    """The other side broke the peer protocol: a corrupt, misplaced, oversize or unasked frame. The connection ends with it."""

    code = "ORIGIN_INVALID"


class Kind(IntEnum):
    """What a frame is. Numbers are never used again for something else."""

    HELLO = 1
    CHALLENGE = 2
    PROOF = 3
    WELCOME = 4
    REFUSED = 5
    READ = 16
    HEAD = 17
    STATUS = 18
    CANCEL = 19
    PING = 20
    CHANGED = 21
    LEASE = 22
    LEAVING = 28
    OPERATE = 31
    BLOCK = 32
    DATA = 33
    META = 34
    STATUS_REPORT = 35
    ERROR = 36
    PONG = 37
    NOTED = 38
    LEASED = 39
    WAITING = 40
    OPERATED = 48


#: The longest payload of each kind. What a stranger can make us keep is a greeting's.
PAYLOAD_BYTES_MAX: dict[Kind, int] = {
    Kind.HELLO: 2048,  # three names of at most 255 bytes
    Kind.CHALLENGE: 2048,
    Kind.PROOF: 64,
    Kind.WELCOME: 64,
    Kind.REFUSED: 2048,
    Kind.READ: 16
    << 10,  # a key has at most 4 KiB (a path), and comes twice, once inside the URL, where it may be longer
    Kind.HEAD: 16 << 10,
    Kind.STATUS: 16,
    Kind.CHANGED: 64 << 10,  # names of at most 4 KiB: several deletes in one frame
    Kind.NOTED: 512
    << 10,  # a cluster of a thousand hosts may hold as many promises, names of at most 255 bytes
    Kind.LEASE: 32,
    Kind.LEAVING: 16,
    Kind.OPERATE: 512
    << 10,  # a hundred names to pin, or as many bytes of names to evict as CHANGED has, with their versions
    Kind.LEASED: 64 << 10,  # as many changes as one CHANGED tells, of different hosts
    Kind.CANCEL: 0,
    Kind.PING: 0,
    Kind.BLOCK: 64
    << 10,  # S3 allows 2 KiB of user metadata and 8 KiB of headers; as text in protobuf at most three times that
    Kind.DATA: DATA_BYTES_MAX,
    Kind.META: 64 << 10,
    Kind.STATUS_REPORT: 1 << 20,  # a host of a thousand peers reports some counters of each
    Kind.ERROR: 8 << 10,
    Kind.PONG: 0,
    Kind.WAITING: 0,
    Kind.OPERATED: 1 << 20,  # two thousand events of a trace, or what is pinned
}

#: Kinds that carry the id of a request; all others carry 0.
WITH_REQUEST_ID = frozenset(
    (
        Kind.READ, Kind.HEAD, Kind.STATUS, Kind.CHANGED, Kind.LEASE, Kind.LEAVING, Kind.OPERATE, Kind.CANCEL,
        Kind.BLOCK, Kind.DATA, Kind.META, Kind.STATUS_REPORT, Kind.NOTED, Kind.LEASED, Kind.ERROR, Kind.WAITING, Kind.OPERATED,
    )
)  # fmt: skip

#: What may come for a request under way.
ANSWERS: dict[Kind, frozenset[Kind]] = {
    Kind.READ: frozenset((Kind.BLOCK, Kind.DATA, Kind.WAITING, Kind.ERROR)),
    Kind.HEAD: frozenset((Kind.META, Kind.ERROR)),
    Kind.STATUS: frozenset((Kind.STATUS_REPORT, Kind.ERROR)),
    Kind.CHANGED: frozenset((Kind.NOTED, Kind.ERROR)),
    Kind.LEASE: frozenset((Kind.LEASED, Kind.ERROR)),
    Kind.LEAVING: frozenset((Kind.NOTED, Kind.ERROR)),
    Kind.OPERATE: frozenset((Kind.OPERATED, Kind.ERROR)),
}

#: What ends a request whenever it comes. (BLOCK of length 0 and the last DATA end a READ, too.)
ENDINGS = frozenset((Kind.META, Kind.STATUS_REPORT, Kind.NOTED, Kind.LEASED, Kind.OPERATED, Kind.ERROR))


class State(IntEnum):
    """What a side waits for: the first three are of the accepting side, the next three of the connecting one."""

    AWAIT_HELLO = 1
    AWAIT_PROOF = 2
    SERVING = 3
    AWAIT_CHALLENGE = 4
    AWAIT_WELCOME = 5
    ASKING = 6
    REFUSED = 7


#: Who may hear what when, and what he waits for then. What is not here is a violation.
NEXT_STATE: dict[State, dict[Kind, State]] = {
    State.AWAIT_HELLO: {Kind.HELLO: State.AWAIT_PROOF},
    State.AWAIT_PROOF: {Kind.PROOF: State.SERVING},
    State.SERVING: dict.fromkeys(
        (
            Kind.READ,
            Kind.HEAD,
            Kind.STATUS,
            Kind.CHANGED,
            Kind.LEASE,
            Kind.LEAVING,
            Kind.OPERATE,
            Kind.CANCEL,
            Kind.PING,
        ),
        State.SERVING,
    ),
    State.AWAIT_CHALLENGE: {Kind.CHALLENGE: State.AWAIT_WELCOME, Kind.REFUSED: State.REFUSED},
    State.AWAIT_WELCOME: {Kind.WELCOME: State.ASKING, Kind.REFUSED: State.REFUSED},
    State.ASKING: dict.fromkeys(
        (
            Kind.BLOCK,
            Kind.DATA,
            Kind.META,
            Kind.STATUS_REPORT,
            Kind.NOTED,
            Kind.LEASED,
            Kind.OPERATED,
            Kind.ERROR,
            Kind.PONG,
            Kind.WAITING,
        ),
        State.ASKING,
    ),
    State.REFUSED: {},
}

# The same by number, for speed: an enum hashes in Python.
_NO_KIND = (None, 0, False)
_BY_NUMBER: list[tuple[Kind | None, int, bool]] = [_NO_KIND] * 256
for _kind in Kind:
    _BY_NUMBER[_kind] = (_kind, PAYLOAD_BYTES_MAX[_kind], _kind in WITH_REQUEST_ID)
_NEXT: list[list[State | None]] = [[None] * 256 for _ in range(len(State) + 1)]
for _state, _row in NEXT_STATE.items():
    for _kind, _following in _row.items():
        _NEXT[_state][_kind] = _following


def checksum(data: bytes | bytearray | memoryview, crc: int = 0) -> int:
    """crc32c of ``data``, going on from ``crc``. Keeps the GIL: a frame takes 40 us, getting it back from another thread can take milliseconds."""
    result: int = crc32c.crc32c(data, crc, _KEEP_GIL)
    return result


def full_frame_end(start: int) -> int:
    """Where the DATA frame that begins at byte ``start`` of the asked range ends if all its bytes are there (and the range does not end before).

    The same for all readers of a range, however its bytes came, so that the running checksum at an end is computed once.
    """
    return FIRST_DATA_BYTES if start < FIRST_DATA_BYTES else (start // DATA_BYTES_MAX + 1) * DATA_BYTES_MAX


def pack_header(kind: Kind, sequence: int, request_id: int, length: int, offset: int, crc: int) -> bytes:
    """The 32 bytes before a payload of ``length`` bytes."""
    head = _UNSUMMED.pack(MAGIC, kind, 0, sequence, request_id, length, offset, crc)
    return head + _SUM.pack(crc32c.crc32c(head, 0, _KEEP_GIL))


def unpack_header(
    buffer: bytes | bytearray | memoryview, start: int = 0
) -> tuple[Kind, int, int, int, int, int]:
    """Kind, sequence, request id, payload length, offset, checksum of the header at ``start``.

    Raises :class:`PeerProtocolError` on anything that no sender writes.
    """
    magic, number, flags, sequence, request_id, length, offset, crc, header_crc = _HEADER.unpack_from(
        buffer, start
    )
    if magic != MAGIC:
        hint = _TLS_HINT if magic[:2] in _TLS_BEGINS else ""
        raise PeerProtocolError(f"this is no frame of the peer protocol: it begins with {magic!r}{hint}")
    if crc32c.crc32c(buffer[start : start + _UNSUMMED.size], 0, _KEEP_GIL) != header_crc:
        raise PeerProtocolError("a frame's header is corrupt: its checksum is wrong")
    kind, length_max, has_id = _BY_NUMBER[number]
    if kind is None or flags:
        raise PeerProtocolError(f"a frame of unknown kind {number} with flags {flags:#x}")
    if length > length_max:
        raise PeerProtocolError(f"{kind.name} of {length} bytes; at most {length_max} are allowed")
    if (request_id != 0) is not has_id:
        raise PeerProtocolError(f"{kind.name} with request id {request_id}")
    if offset and kind is not Kind.DATA:
        raise PeerProtocolError(f"{kind.name} with offset {offset}")
    return kind, sequence, request_id, length, offset, crc


def next_state(state: State, kind: Kind) -> State:
    """What a side in ``state`` waits for when ``kind`` has come; raises :class:`PeerProtocolError` where that has no place."""
    following = _NEXT[state][kind]
    if following is None:
        raise PeerProtocolError(f"{kind.name} has no place in state {state.name}")
    return following
