"""``cashy get`` on its output side: a name appears only with complete contents, and a closed pipe is no crash."""

from __future__ import annotations

import os
import stat
import sys
import threading
from pathlib import Path

import pytest

from cashy.cli.get import _output


def test_file_appears_only_when_complete(tmp_path: Path) -> None:
    target = tmp_path / "target"
    with _output(str(target)) as sink:
        sink.write(b"all of it")
        assert not target.exists()
    assert target.read_bytes() == b"all of it"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_failure_leaves_the_old_file_and_no_other(tmp_path: Path) -> None:
    target = tmp_path / "target"
    target.write_bytes(b"old")

    def fail() -> None:
        with _output(str(target)) as sink:
            sink.write(b"half of")
            raise ConnectionResetError

    with pytest.raises(ConnectionResetError):
        fail()
    assert target.read_bytes() == b"old"
    assert [path.name for path in tmp_path.iterdir()] == ["target"]


def test_new_file_has_the_usual_permissions(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        with _output(str(tmp_path / "target")) as sink:
            sink.write(b"x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "target").stat().st_mode) == 0o640


def test_pipes_and_devices_are_written_to_and_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    found: list[bytes] = []
    reader = threading.Thread(target=lambda: found.append(pipe.read_bytes()))
    reader.start()
    with _output(str(pipe)) as sink:
        sink.write(b"data")
    reader.join(10)
    assert found == [b"data"]
    assert pipe.is_fifo()
    link = tmp_path / "link"
    link.symlink_to(os.devnull)
    for name in (os.devnull, str(link)):
        with _output(name) as sink:
            sink.write(b"data")
        assert stat.S_ISCHR(os.stat(name).st_mode)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "pipe"]


def test_directory_is_refused(tmp_path: Path) -> None:
    with pytest.raises(IsADirectoryError, match="name the file"), _output(str(tmp_path)):
        pass
    with pytest.raises(FileNotFoundError), _output(str(tmp_path / "missing" / "target")):
        pass


def test_standard_output_is_left_open(capfdbinary: pytest.CaptureFixture[bytes]) -> None:
    with _output("-") as sink:
        sink.write(memoryview(b"bytes"))
    assert not sys.stdout.closed
    assert capfdbinary.readouterr().out == b"bytes"
