"""The agent's program as text, and its parts that decide: frames, states of units, entries of the journal."""

from __future__ import annotations

import ast
import hashlib
import json
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from labtest.agent import payload
from labtest.agent.messages import Event, Hello, decode
from labtest.agent.payload import AgentOptions, Payload, build_payload, opening, python_command, shell_script
from labtest.agent.program import frames
from labtest.agent.program.frames import Frame, FrameError, FrameReader, pack_frame, pack_header
from labtest.agent.program.journal import Lines, parse_entry
from labtest.agent.program.limits import ENTRY_BYTES_MAX, FRAME_BYTES_MAX, LINE_CHARACTERS_MAX
from labtest.agent.program.units import parse_show
from labtest.core.actual import UnitState

PROGRAM = Path(payload.__file__).parent / "program"

# ---------------------------------------------------------------- the program as text


@pytest.mark.parametrize("path", sorted(PROGRAM.glob("*.py")), ids=lambda path: path.name)
def test_the_program_is_python_3_9_and_imports_only_itself_and_the_standard_library(path: Path) -> None:
    tree = ast.parse(path.read_text(), feature_version=(3, 9))
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            assert {alias.name.partition(".")[0] for alias in node.names} <= sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom) and node.level == 0:
            assert (node.module or "").partition(".")[0] in sys.stdlib_module_names
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 1


def test_modules_are_sent_in_an_order_in_which_each_needs_only_those_before() -> None:
    assert sorted(payload.MODULES) == sorted(
        path.stem for path in PROGRAM.glob("*.py") if path.stem != "__init__"
    )
    known: set[str] = set()
    for name in payload.MODULES:
        for node in ast.walk(ast.parse((PROGRAM / f"{name}.py").read_text())):
            if isinstance(node, ast.ImportFrom) and node.level == 1:
                needed = {node.module} if node.module else {alias.name for alias in node.names}
                assert needed <= known, name
        known.add(name)


def test_the_remote_command_is_one_line_that_any_login_shell_can_pass_on() -> None:
    for sudo in (False, True):
        script = shell_script(sudo=sudo)
        assert "\n" not in script
        assert "!" not in script  # csh takes it for history
        subprocess.run(["sh", "-n", "-c", script], check=True)


def _loaded(prefix: str, sent: bytes) -> subprocess.CompletedProcess[bytes]:
    *start, code = python_command(sys.executable)
    return subprocess.run([*start, prefix + code], input=sent, capture_output=True, timeout=30, check=False)


def test_an_old_python_is_named() -> None:
    ran = _loaded("import sys;sys.version_info=(3,8,1,'final',0);", opening(AgentOptions(), build_payload()))
    assert ran.returncode == payload.STATUS_NO_PYTHON
    assert b"python3 is 3.8, and 3.9 or newer is needed" in ran.stderr


def test_a_program_that_was_cut_or_changed_is_not_run() -> None:
    whole = opening(AgentOptions(), build_payload())
    cut = _loaded("", whole[:-10])
    assert (cut.returncode, cut.stdout) == (1, b"")
    assert b"ended within" in cut.stderr
    changed = _loaded("", whole[:-1] + bytes([whole[-1] ^ 1]))
    assert (changed.returncode, changed.stdout) == (1, b"")
    assert b"changed on its way" in changed.stderr


def test_the_digest_is_that_of_what_is_sent() -> None:
    made = build_payload()
    assert made == Payload(made.content, hashlib.sha256(made.content).hexdigest())
    assert len(made.content) < 64 * 2**10  # it goes over slow lines too


def test_an_agent_whose_connection_ends_at_once_ends_too() -> None:
    ran = _loaded("", opening(AgentOptions(), build_payload()))
    assert ran.returncode == 0
    assert ran.stdout.startswith(frames.MAGIC)
    (hello, *_) = FrameReader().feed(ran.stdout[len(frames.MAGIC) :])
    assert decode(hello.payload, Hello).digest == build_payload().digest


@pytest.mark.parametrize(
    "garbage",
    [
        b"\xff" * 100,
        pack_frame(frames.REQUEST, 1, b"no json"),
        pack_frame(frames.REQUEST, 1, b"[]"),
        pack_header(frames.REQUEST, 1, FRAME_BYTES_MAX + 1),
    ],
)
def test_an_agent_that_is_sent_garbage_ends(garbage: bytes) -> None:
    ran = _loaded("import time;", opening(AgentOptions(), build_payload()) + garbage + bytes(1000))
    assert ran.returncode == 0


# ---------------------------------------------------------------- frames

_frames = st.lists(
    st.builds(
        Frame, st.integers(frames.HELLO, frames.BEAT), st.integers(0, 2**32 - 1), st.binary(max_size=40)
    )
)


@given(_frames, st.data())
def test_any_cut_gives_the_same_frames(sent: list[Frame], data: st.DataObject) -> None:
    stream = b"".join(pack_frame(*frame) for frame in sent)
    reader = FrameReader()
    received = []
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        received += reader.feed(stream[:length])
        stream = stream[length:]
    assert received == sent
    assert reader.is_between_frames


@given(st.binary())
def test_garbage_is_refused_or_waits_for_more(garbage: bytes) -> None:
    reader = FrameReader()
    try:
        found = reader.feed(garbage)
    except FrameError:
        return
    assert sum(frames.HEADER_BYTES + len(frame.payload) for frame in found) <= len(garbage)


def test_a_frame_at_the_limit_passes_and_one_beyond_it_does_not() -> None:
    assert len(FrameReader().feed(pack_frame(frames.BLOB, 1, bytes(FRAME_BYTES_MAX)))) == 1
    with pytest.raises(FrameError, match="at most"):
        pack_frame(frames.BLOB, 1, bytes(FRAME_BYTES_MAX + 1))
    with pytest.raises(FrameError, match="at most"):
        FrameReader().feed(pack_header(frames.BLOB, 1, FRAME_BYTES_MAX + 1))


# ---------------------------------------------------------------- units

_SHOWN = """Id=a.service
LoadState=loaded
ActiveState=active
SubState=running
Result=success
StatusText=serving 3=three
MainPID=12
NRestarts=1
ActiveEnterTimestampMonotonic=5
InvocationID=abc
MemoryCurrent=[not set]
Type=notify

MemoryCurrent=18446744073709551615
Id=b.target
LoadState=not-found
ActiveState=inactive
SubState=dead
"""


def test_what_systemctl_shows_is_read() -> None:
    first, second = parse_show(_SHOWN, clock_offset_ns=1000)
    assert first["type"] == "notify"
    assert msgspec.convert(first, UnitState) == UnitState(
        unit="a.service",
        load="loaded",
        active="active",
        sub="running",
        result="success",
        status="serving 3=three",
        main_pid=12,
        restarts=1,
        active_since_ns=6000,
        invocation="abc",
        memory_bytes=0,
    )
    assert msgspec.convert(second, UnitState) == UnitState(
        unit="b.target", load="not-found", active="inactive", sub="dead"
    )


@given(st.text())
def test_whatever_systemctl_says_is_read_without_harm(text: str) -> None:
    for state in parse_show(text, 0):
        msgspec.convert(state, UnitState)


# ---------------------------------------------------------------- the journal


def _entry(**fields: object) -> bytes:
    return json.dumps({"__REALTIME_TIMESTAMP": "1000", "__CURSOR": "c", **fields}).encode()


def _parsed(**fields: object) -> list[object]:
    parsed = parse_entry(_entry(**fields))
    assert parsed is not None
    return parsed[0]


def test_an_entry_is_read() -> None:
    assert _parsed(MESSAGE="hello", _SYSTEMD_UNIT="a.service", _PID="7", PRIORITY="3") == [
        1_000_000,
        "a.service",
        7,
        3,
        "hello",
    ]


def test_what_systemd_says_of_a_unit_is_the_units() -> None:
    assert (
        _parsed(MESSAGE="Started.", _SYSTEMD_UNIT="init.scope", UNIT="a.service", _PID="1")[1] == "a.service"
    )


def test_bytes_that_are_no_text_and_fields_given_twice_are_read() -> None:
    assert _parsed(MESSAGE=[27, 91, 49, 255])[4] == "\x1b[1�"
    assert _parsed(MESSAGE=["one", "two"])[4] == "one two"
    assert _parsed(MESSAGE=None)[4] == ""


def test_a_line_at_the_limit_is_whole_and_one_beyond_says_that_it_was_cut() -> None:
    assert _parsed(MESSAGE="x" * LINE_CHARACTERS_MAX)[4] == "x" * LINE_CHARACTERS_MAX
    cut = _parsed(MESSAGE="x" * (LINE_CHARACTERS_MAX + 1))[4]
    assert cut == "x" * LINE_CHARACTERS_MAX + "… [1 more characters]"


@given(st.binary())
def test_whatever_journalctl_says_is_read_without_harm(entry: bytes) -> None:
    parse_entry(entry)


@given(st.lists(st.binary(max_size=20).map(lambda line: line.replace(b"\n", b""))), st.data())
def test_each_entry_is_kept_or_counted_and_the_newest_are_kept(
    entries: list[bytes], data: st.DataObject
) -> None:
    stream = b"".join(entry + b"\n" for entry in entries)
    lines = Lines(pending_max=3)
    while stream:
        length = data.draw(st.integers(1, len(stream)))
        lines.feed(stream[:length], may_drop=True)
        stream = stream[length:]
    assert list(lines.pending) == entries[-3:]
    assert lines.dropped + len(lines.pending) == len(entries)


def test_an_entry_without_an_end_takes_no_memory_and_is_counted() -> None:
    lines = Lines()
    for _ in range(5):
        lines.feed(bytes(ENTRY_BYTES_MAX), may_drop=True)
    lines.feed(b"\nnext\n", may_drop=True)
    assert (list(lines.pending), lines.dropped) == ([b"next"], 1)


def test_an_event_of_every_kind_is_read() -> None:
    assert decode(b'{"need":"ab","offset":1,"length":2}', Event) == Event(need="ab", offset=1, length=2)
    assert decode(b'{"lines":[[1,"a",2,3,"x"]],"dropped":4,"cursor":"c"}', Event).lines == (
        (1, "a", 2, 3, "x"),
    )
    with pytest.raises(msgspec.ValidationError):
        decode(b'{"lines":[[1,"a"]]}', Event)


_ASKS = """
from labtest.agent.program.processes import Guard, Processes
from labtest.agent.program.units import Units
print(Units(Processes(Guard())).state("web.service")["active"])
"""


@pytest.mark.parametrize(
    ("silent", "end"),
    [(1, "active\n"), (9, "systemctl show answered for 0 of 1 units: web.service")],
)
def test_systemctl_that_leaves_a_unit_out_is_asked_again(tmp_path: Path, silent: int, end: str) -> None:
    program = tmp_path / "systemctl"
    program.write_text(
        f"#!/bin/sh\ncd {tmp_path}; echo >> calls\n"
        f'[ $(wc -l < calls) -le {silent} ] || printf "Id=web.service\\nActiveState=active\\n"\n'
    )
    program.chmod(0o755)
    asked = subprocess.run(
        [sys.executable, "-c", _ASKS],
        env={"PATH": f"{tmp_path}:/usr/bin:/bin"},
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert (asked.stdout or asked.stderr.strip()).endswith(end)
