"""The audit log, and the other files that are written."""

from __future__ import annotations

import json
import os
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest
import trio

from labshell.app.audit import AuditFailed, AuditFile, Who, who_is_here
from labshell.app.history import BoundedHistory
from labshell.app.limits import AUDIT_ARGUMENT_CHARACTERS_MAX, HISTORY_LINES_MAX, TRACES_KEPT_MAX
from labshell.app.traces import Traces

ANN = Who(user="root", sudo_user="ann", host="desk", tty="/dev/pts/7", client="10.0.0.9", pid=12)


def written(audit: AuditFile, *records: dict[str, Any]) -> None:
    async def main() -> None:
        for record in records:
            await audit.write(record, durable=True)

    trio.run(main)


def test_records_say_who_and_when_and_only_the_owner_reads_them(tmp_path: Path) -> None:
    path = tmp_path / "new" / "audit"
    written(AuditFile(path, environment="lab", who=ANN), {"event": "began", "command": "stop"})
    written(AuditFile(path, environment="lab", who=ANN), {"event": "ended", "command": "stop"})
    records = [json.loads(line) for line in path.read_text().splitlines()]
    assert [one["event"] for one in records] == ["began", "ended"]
    assert (
        records[0].items()
        >= {"user": "root", "sudo_user": "ann", "tty": "/dev/pts/7", "environment": "lab"}.items()
    )
    assert records[0]["at"].endswith("+00:00")
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.parent.stat().st_mode & 0o777 == 0o700


def test_secrets_are_blanked_and_long_arguments_cut(tmp_path: Path) -> None:
    long = "x" * (AUDIT_ARGUMENT_CHARACTERS_MAX + 5)
    arguments = {
        "password": "hunter2",
        "just": "x" * AUDIT_ARGUMENT_CHARACTERS_MAX,
        "long": [long],
        "odd": "\udce9",
    }
    written(AuditFile(tmp_path / "audit", who=ANN), {"arguments": arguments})
    found = json.loads((tmp_path / "audit").read_text())["arguments"]
    assert found["password"] == "[redacted]"
    assert found["just"] == arguments["just"]
    assert found["long"][0].endswith("… (5 more)")
    assert found["odd"] == "?"


def test_what_a_secret_variable_is_set_to_is_not_recorded(tmp_path: Path) -> None:
    def recorded(variable: str) -> dict[str, Any]:
        path = tmp_path / variable
        record = {
            "command": "set", "line": f"set {variable} 'hunter 2'", "arguments": {"variable": variable, "value": "hunter 2"},
        }  # fmt: skip
        written(AuditFile(path, who=ANN), record)
        found: dict[str, Any] = json.loads(path.read_text())
        return found

    secret = recorded("db_password")
    assert "hunter" not in json.dumps(secret)
    assert (secret["line"], secret["arguments"]["variable"]) == ("set db_password [redacted]", "db_password")
    assert recorded("password_file")["arguments"]["value"] == "hunter 2"


def test_what_cannot_be_written_is_an_error(tmp_path: Path) -> None:
    (tmp_path / "audit").mkdir()
    with pytest.raises(AuditFailed, match="Is a directory; nothing is changed that is not recorded"):
        written(AuditFile(tmp_path / "audit", who=ANN), {"event": "began"})
    with pytest.raises(AuditFailed, match="No space left on device"):
        written(AuditFile(Path("/dev/full"), who=ANN), {"event": "began"})


def test_many_at_once_do_not_mix(tmp_path: Path) -> None:
    audits = [AuditFile(tmp_path / "audit", who=ANN) for _ in range(3)]

    async def write(number: int) -> None:
        await audits[number % 3].write({"number": number, "pad": "x" * 2000}, durable=False)

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            for number in range(60):
                nursery.start_soon(write, number)

    trio.run(main)
    assert sorted(
        json.loads(line)["number"] for line in (tmp_path / "audit").read_text().splitlines()
    ) == list(range(60))


def test_who_is_here_is_taken_from_the_process(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SUDO_USER", "ann")
    monkeypatch.setenv("SSH_CONNECTION", "10.0.0.9 5000 10.0.0.1 22")
    who = who_is_here()
    assert (who.sudo_user, who.client, who.pid) == ("ann", "10.0.0.9", os.getpid())
    assert who.user
    assert who.host


def test_history_is_bounded_and_its_file_may_be_broken(tmp_path: Path) -> None:
    path = tmp_path / "history"
    path.write_text(
        "not json\n" + "".join(f'"line {number}"\n' for number in range(2 * HISTORY_LINES_MAX + 1))
    )
    with ThreadPoolExecutor(1) as executor:
        loaded = list(BoundedHistory(path, executor).load_history_strings())
        assert loaded[0] == f"line {2 * HISTORY_LINES_MAX}"
        assert len(loaded) == HISTORY_LINES_MAX
        history = BoundedHistory(path, executor)
        for line in ("same", "same", " secret", "two\nlines", ""):
            history.append_string(line)
        executor.shutdown()
    assert path.read_text().splitlines()[HISTORY_LINES_MAX:] == ['"same"', '"two\\nlines"']
    with ThreadPoolExecutor(1) as executor:
        nowhere = BoundedHistory(Path("/proc/nowhere/history"), executor)
        nowhere.append_string("lost")
        assert list(nowhere.load_history_strings()) == []


def test_traces_are_private_and_few(tmp_path: Path) -> None:
    traces = Traces(tmp_path)
    for number in range(TRACES_KEPT_MAX + 3):
        path = Path(traces.write(f"fault {number}", ValueError("x")))
    assert path.stat().st_mode & 0o777 == 0o600
    assert path.read_text().startswith(f"fault {TRACES_KEPT_MAX + 2}\n\nValueError: x")
    assert len(list(tmp_path.iterdir())) == TRACES_KEPT_MAX
    assert Traces(Path("/proc/nowhere")).write("x", ValueError()).startswith("not written: ")
