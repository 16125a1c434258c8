"""docs/peer-protocol.md says what the code does: kinds, states, reasons, limits, and the frames it shows byte for byte."""

from __future__ import annotations

import re
from pathlib import Path

from aviary.cashy.v1.peer_pb2 import PeerRefusal
from cashy.core.peer_frames import (
    HEADER_BYTES,
    MAGIC,
    NEXT_STATE,
    PAYLOAD_BYTES_MAX,
    PEER_PROTOCOL_OLDEST,
    PEER_PROTOCOL_VERSION,
    WITH_REQUEST_ID,
    Kind,
    State,
    checksum,
)
from cashy.core.peer_wire import FrameWriter
from cashy.limits import PEER_READ_ROUNDS, PROGRESS_STEP_BYTES
from cashy.peer import limits

PAGE = (Path(__file__).parents[3] / "docs" / "peer-protocol.md").read_text(encoding="utf-8")


def test_kinds_are_those_of_the_code() -> None:
    rows = re.findall(
        r"^\| (\d+) \| ([A-Z_]+) \| (\w+) \| .* \| ([\d,]+) \| (yes|no) \|$", PAGE, re.MULTILINE
    )
    documented = {
        name: (int(number), who, int(limit.replace(",", "")), flag) for number, name, who, limit, flag in rows
    }
    heard_by_asking = {
        kind
        for state in (State.AWAIT_CHALLENGE, State.AWAIT_WELCOME, State.ASKING)
        for kind in NEXT_STATE[state]
    }
    expected = {
        kind.name: (
            int(kind),
            "answering" if kind in heard_by_asking else "asking",
            PAYLOAD_BYTES_MAX[kind],
            "yes" if kind in WITH_REQUEST_ID else "no",
        )
        for kind in Kind
    }
    assert documented == expected


def test_states_are_those_of_the_code() -> None:
    arrows = re.findall(r"^\s+([A-Z_]+) --> ([A-Z_]+): (.+)$", PAGE, re.MULTILINE)
    documented = {
        (State[before], Kind[kind], State[after])
        for before, after, kinds in arrows
        for kind in kinds.split(", ")
    }
    assert documented == {
        (before, kind, after) for before, row in NEXT_STATE.items() for kind, after in row.items()
    }


def test_frames_shown_are_what_is_sent() -> None:
    shown = [bytes.fromhex(text) for text in re.findall(r"```hex\n(.*?)\n```", PAGE)]
    later = FrameWriter()
    for _ in range(5):
        later.control(Kind.PING)
    data = later.data_header(7, 4, 4, checksum(b"abcdefgh")) + b"efgh"
    assert shown == [FrameWriter().control(Kind.PING), data]


def test_header_fields_fill_the_header() -> None:
    rows = re.findall(r"^\| (\d+) \| (\d+) \| [a-z ]+ \|", PAGE, re.MULTILINE)
    end = 0
    for at, size in rows:
        assert int(at) == end
        end += int(size)
    assert end == HEADER_BYTES
    assert f"`{MAGIC.decode()}` ({MAGIC.hex(' ')})" in PAGE


def test_reasons_are_all_explained() -> None:
    reasons = re.findall(r"^\| ([A-Z_]+) \| [a-z]", PAGE, re.MULTILINE)
    assert reasons == PeerRefusal.Reason.keys()[1:]


def test_numbers_in_the_text() -> None:
    for phrase in (
        f"newest protocol version ({PEER_PROTOCOL_VERSION}) and the oldest ({PEER_PROTOCOL_OLDEST})",
        f"PING after {limits.PING_S:g} s",
        f"after {limits.IDLE_PING_S:g} s otherwise",
        f"for {limits.SILENT_AFTER_S:g} s after that",
        f"Without any byte for {limits.DEAD_AFTER_S:g} s",
        f"must be complete within {limits.FRAME_S_MAX:g} s",
        f"longer than {limits.GREETING_S_MAX:g} s",
        f"sends nothing for {limits.CLIENT_SILENT_S_MAX:g} s",
        f"waits for it for {limits.RECEIVER_STALLED_S_MAX:g} s",
        f"| requests under way on a connection | {limits.REQUESTS_MAX} |",
        f"finished the greeting | {limits.GREETINGS_MAX} |",
        f"| connections of one host | {limits.CONNECTIONS_PER_HOST_MAX} |",
        f"| connections | {limits.CONNECTIONS_MAX:,} |",
        f"does not read | {limits.CONTROL_QUEUE_BYTES_MAX >> 10} KiB |",
    ):
        assert phrase in PAGE, phrase
    assert (limits.SIGNS_PER_SILENCE, PEER_READ_ROUNDS) == (4, 10)
    assert f"steps of {PROGRESS_STEP_BYTES >> 10} KiB" in " ".join(PAGE.split())
    assert "four times within the silence" in PAGE
    assert "ten times what the slowest" in PAGE
    assert limits.DEADLINE_GRACE_S == 1.0
    assert "gives up a second later" in PAGE
