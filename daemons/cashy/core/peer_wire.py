"""The peer protocol as two streams of bytes: :class:`FrameReader` takes one apart, :class:`FrameWriter` makes one.

Law. Bytes and frames, no socket, no loop, no clock, no protobuf. The reader decides *where the next bytes go*: a DATA payload into the
buffer of the read it belongs to, everything else into small private memory. So the pump can hand both to one ``recvmsg_into``, and bytes
land in shared memory without passing through Python. What is not known before it is there is asked for in the right order: events are
pulled one at a time, and the caller says where a read's bytes go (:meth:`FrameReader.begin`) before the next frame is looked at.

* Nothing is allocated for a length that was not checked against its kind's limit, and no more than one control payload at a time.
* DATA is summed up as it comes, in pieces that are still in the processor's cache: a pass over the whole frame afterwards fetches it anew.
* DATA is only taken for a read that was asked for, at exactly the place where that read stands, and counts only when its checksum fits.
  The watermark moves at the ends of frames, so nobody ever sees a byte that was not verified.
* A read that was given up keeps its number until the other side has ended it; what still comes for it goes to a common waste buffer.
* Every violation is a :class:`~cashy.core.peer_frames.PeerProtocolError` and final: one cannot find the next frame after a wrong one. The one
  exception is a DATA payload that does not fit its checksum: its header is right, so only that read is lost. One damaged block in a host's memory
  must not cost all the others their connection.

The private buffer of ``lookahead_bytes`` is where headers land, and what of the next frame comes with them: at least one header (a
payload is then never copied), more on a side that receives many small frames. What of a payload lies there is copied into its place.

Rejected: a reader that is pushed bytes and calls back (the callback would run with the reader half updated), and transports of the event
loop (their buffers would be one more copy, and they keep references to what they send).
"""

from __future__ import annotations

from cashy.core.peer_frames import (
    ANSWERS,
    DATA_BYTES_MAX,
    ENDINGS,
    HEADER_BYTES,
    PIECE_BYTES,
    Kind,
    PeerProtocolError,
    State,
    checksum,
    next_state,
    pack_header,
    unpack_header,
)

__all__ = ["Frame", "FrameReader", "FrameWriter", "Incoming"]

_SEQUENCE_MASK = 0xFFFF

# Looking a member up in its enum costs more than what is done with it.
_DATA = Kind.DATA
_ASKING = State.ASKING

_waste = memoryview(bytearray(DATA_BYTES_MAX))  # what nobody wants is never looked at, so all share one


class Incoming:
    """A request under way, as the asking side's reader knows it. Of a READ also how far its bytes are: ``received`` of ``length``, verified.

    ``crc`` is the crc32c of bytes ``[0, received)`` of the asked range. ``length`` is -1 until BLOCK has come. Once ``is_corrupt`` or
    ``is_unwanted``, ``received`` only counts.
    """

    __slots__ = (
        "buffer",
        "crc",
        "is_corrupt",
        "is_over",
        "is_unwanted",
        "kind",
        "length",
        "received",
        "request_id",
    )

    def __init__(self, request_id: int, kind: Kind) -> None:
        self.request_id = request_id
        self.kind = kind
        self.length = -1
        self.received = 0
        self.crc = 0
        self.buffer: memoryview | None = None
        #: A payload did not fit its checksum; it is unwanted from then on.
        self.is_corrupt = False
        #: Nobody wants the answer any more; what comes is thrown away.
        self.is_unwanted = False
        #: Its last frame has come.
        self.is_over = False


class Frame:
    """A control frame. ``incoming`` is the request that it answers, if it answers one."""

    __slots__ = ("incoming", "kind", "payload", "request_id")

    def __init__(self, kind: Kind, request_id: int, payload: bytes, incoming: Incoming | None) -> None:
        self.kind = kind
        self.request_id = request_id
        self.payload = payload
        self.incoming = incoming


class FrameReader:
    """One direction, taken apart. The caller fills :meth:`buffers`, reports with :meth:`received`, and takes :meth:`next_event` until it is None."""

    __slots__ = (
        "_ahead", "_crc", "_due", "_end", "_has_more_data", "_header", "_incoming", "_kind", "_length", "_owned", "_request_id",
        "_requests", "_sequence", "_start", "_sum", "_sums_up", "_target", "state",
    )  # fmt: skip

    def __init__(self, state: State, lookahead_bytes: int = HEADER_BYTES) -> None:
        assert lookahead_bytes >= HEADER_BYTES
        self.state = state
        self._ahead = memoryview(bytearray(lookahead_bytes))
        self._header = self._ahead[:HEADER_BYTES]
        self._start = 0  # what lies in _ahead[_start:_end] is not looked at yet
        self._end = 0
        self._sequence = 0
        self._requests: dict[int, Incoming] = {}
        # The frame whose payload is being received; _due bytes of it are missing.
        self._due = 0
        self._kind: Kind | None = None  # None between two frames
        self._request_id = 0
        self._length = 0
        self._crc = 0
        self._incoming: Incoming | None = None
        self._has_more_data = False  # of its read, behind this frame
        self._target: memoryview | None = None  # where the missing bytes go
        self._sums_up = False  # whether they are somebody's, and summed up as they come: then they are still in the processor's cache
        self._sum = 0
        self._owned = bytearray()  # the control payload under way

    # ------------------------------------------------------------ requests

    @property
    def requests_under_way(self) -> int:
        """Requests whose last frame has not come, the unwanted ones included."""
        return len(self._requests)

    @property
    def frame_under_way(self) -> int | None:
        """Number of the frame that has come in part (as in its header); None between two frames, when :meth:`next_event` has given None."""
        if self._kind is not None:
            return (self._sequence - 1) & _SEQUENCE_MASK
        return self._sequence if self._end > self._start else None

    def expect(self, request_id: int, kind: Kind) -> Incoming:
        """Announces that a request is about to be sent; answers to anything else are violations."""
        assert request_id not in self._requests
        incoming = self._requests[request_id] = Incoming(request_id, kind)
        return incoming

    def begin(self, incoming: Incoming, length: int, buffer: memoryview | None) -> None:
        """After BLOCK: ``length`` bytes will come, into ``buffer`` (None: nobody wants them)."""
        assert incoming.length < 0
        incoming.length = length
        if length == 0:
            self._end_request(incoming)
        if buffer is None:
            incoming.is_unwanted = True
        elif len(buffer) != length:
            raise ValueError(f"a buffer of {len(buffer)} bytes for an answer of {length}")
        elif not incoming.is_unwanted:
            incoming.buffer = buffer

    def discard(self, incoming: Incoming) -> None:
        """Nobody wants the answer any more: when this returns nothing will be written into its buffer."""
        incoming.is_unwanted = True
        incoming.buffer = None
        if self._incoming is incoming and self._kind is _DATA:
            self._sums_up = False
            self._target = _waste[: self._due] if self._due else None

    # ------------------------------------------------------------ bytes in

    def buffers(self) -> list[memoryview]:
        """Where the next bytes go, in order: one or two buffers, none of them empty. Call it when :meth:`next_event` has given None."""
        start, end = self._start, self._end
        if start:
            rest = end - start  # less than a header
            if rest:
                self._ahead[:rest] = bytes(self._ahead[start:end])
            self._start, self._end = 0, rest
        if self._target is None:
            return [self._ahead[self._end :]]
        if self._due > PIECE_BYTES:
            return [self._target[:PIECE_BYTES]]
        if self._has_more_data:
            return [
                self._target,
                self._header,
            ]  # most likely DATA again: nothing of its payload is to land beside its place
        return [self._target, self._ahead]

    def received(self, count: int) -> None:
        """So many bytes have been put into :meth:`buffers`."""
        if self._target is not None:
            direct = min(count, self._due)
            count -= direct
            self._arrived(direct)
        self._end += count

    def _arrived(self, count: int) -> None:
        """So many bytes are where they belong."""
        assert self._target is not None
        if self._sums_up:
            self._sum = checksum(self._target[:count], self._sum)
        self._due -= count
        self._target = self._target[count:] if self._due else None

    def next_event(self) -> Frame | Incoming | None:
        """The next control frame, or the read that has grown (by a whole, verified DATA frame) or turned out to be corrupt; None when more
        bytes are needed.

        Raises :class:`PeerProtocolError`; nothing can be read after that.
        """
        while True:
            if self._due:
                if self._start < self._end:
                    self._take_from_ahead()
                if self._due:
                    return None
            kind = self._kind
            if kind is None:
                if self._end - self._start < HEADER_BYTES:
                    return None
                self._begin_frame()
            elif kind is _DATA:
                event = self._finish_data()
                if event is not None:
                    return event
            else:
                return self._finish_control(kind)

    # ------------------------------------------------------------ one frame

    def _begin_frame(self) -> None:
        kind, sequence, request_id, length, offset, crc = unpack_header(self._ahead, self._start)
        self._start += HEADER_BYTES
        if sequence != self._sequence:
            raise PeerProtocolError(
                f"{kind.name} is frame number {sequence}, {self._sequence} was due: frames are lost or out of order"
            )
        self._sequence = (sequence + 1) & _SEQUENCE_MASK
        following = next_state(self.state, kind)
        incoming = self._asked_for(kind, request_id) if request_id and self.state is _ASKING else None
        self.state = following
        self._kind, self._request_id, self._length, self._crc = kind, request_id, length, crc
        self._due = length
        self._incoming = incoming
        if kind is _DATA:
            assert incoming is not None
            self._target = _place(incoming, offset, length)
            self._has_more_data = offset + length < incoming.length
            self._sums_up, self._sum = incoming.buffer is not None, incoming.crc
        else:
            self._owned = bytearray(length)
            self._target = memoryview(self._owned) if length else None
            self._has_more_data = self._sums_up = False

    def _asked_for(self, kind: Kind, request_id: int) -> Incoming:
        incoming = self._requests.get(request_id)
        if incoming is None:
            raise PeerProtocolError(f"{kind.name} for request {request_id}, which is not under way")
        if kind is not _DATA:
            if kind not in ANSWERS[incoming.kind]:
                raise PeerProtocolError(f"{kind.name} as the answer to {incoming.kind.name} {request_id}")
            if kind is Kind.BLOCK and incoming.length >= 0:
                raise PeerProtocolError(f"a second BLOCK for request {request_id}")
        return incoming

    def _take_from_ahead(self) -> None:
        assert self._target is not None
        count = min(self._due, self._end - self._start)
        self._target[:count] = self._ahead[self._start : self._start + count]
        self._start += count
        self._arrived(count)

    def _finish_control(self, kind: Kind) -> Frame:
        self._kind = None
        incoming, self._incoming = self._incoming, None
        payload = bytes(self._owned)
        if checksum(payload) != self._crc:
            raise PeerProtocolError(f"the payload of {kind.name} is corrupt: its checksum is wrong")
        if incoming is not None and kind in ENDINGS:
            self._end_request(incoming)
        return Frame(kind, self._request_id, payload, incoming)

    def _finish_data(self) -> Incoming | None:
        self._kind = None
        incoming, self._incoming = self._incoming, None
        assert incoming is not None
        incoming.received += self._length
        is_wanted = incoming.buffer is not None
        if is_wanted:
            incoming.crc = self._sum
            if self._sum != self._crc:
                incoming.is_corrupt = incoming.is_unwanted = True
                incoming.buffer = None
        if incoming.received == incoming.length:
            self._end_request(incoming)
        return incoming if is_wanted else None

    def _end_request(self, incoming: Incoming) -> None:
        incoming.is_over = True
        incoming.buffer = None
        del self._requests[incoming.request_id]


def _place(incoming: Incoming, offset: int, length: int) -> memoryview:
    """Where a DATA frame's payload goes."""
    if incoming.length < 0:
        raise PeerProtocolError(f"DATA before BLOCK for request {incoming.request_id}")
    if offset != incoming.received or length == 0 or offset + length > incoming.length:
        raise PeerProtocolError(
            f"DATA [{offset}, {offset + length}) for read {incoming.request_id}, which stands at {incoming.received} of {incoming.length}"
        )
    if incoming.buffer is None:
        return _waste[:length]
    return incoming.buffer[offset : offset + length]


class FrameWriter:
    """One direction, made. Frames must leave in the order in which they were made: each has its number."""

    __slots__ = ("_sequence",)

    def __init__(self) -> None:
        self._sequence = 0

    def control(self, kind: Kind, request_id: int = 0, payload: bytes = b"") -> bytes:
        """A control frame, complete."""
        sequence = self._sequence
        self._sequence = (sequence + 1) & _SEQUENCE_MASK
        return pack_header(kind, sequence, request_id, len(payload), 0, checksum(payload)) + payload

    def data_header(self, request_id: int, offset: int, length: int, crc: int) -> bytes:
        """The header of a DATA frame; ``crc`` is the crc32c of bytes ``[0, offset + length)`` of the asked range."""
        sequence = self._sequence
        self._sequence = (sequence + 1) & _SEQUENCE_MASK
        return pack_header(_DATA, sequence, request_id, length, offset, crc)
