"""Two namespace hosts, a web server on both and a clock on one, and the real program to work with them."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.labtest.namespaces.support import need_labs
from tests.labtest.run.small_environment import write_spec

from labtest.namespaces import Lab

__all__ = ["Floor", "Said", "laid_out", "until"]

PATIENCE_S = 60.0


class Said:
    """What one run of the program has said."""

    def __init__(self, code: int, out: str, err: str) -> None:
        self.code = code
        self.out = out
        self.err = err

    @property
    def text(self) -> str:
        return self.out + self.err

    def lines(self) -> list[dict[str, Any]]:
        """With ``--json``: one object for each command."""
        return [json.loads(line) for line in self.out.splitlines()]

    @property
    def result(self) -> Any:
        return self.lines()[-1]["result"]

    def __repr__(self) -> str:
        return f"exit {self.code}\n{self.out}\n{self.err}"


class Floor:
    """The environment, and who uses it."""

    def __init__(self, folder: Path, lab: Lab | None, name: str) -> None:
        self.folder = folder
        self.lab = lab
        self.spec = write_spec(folder, name)

    def start(self, *arguments: str, spec: Path | None = None) -> subprocess.Popen[str]:
        """Starts the program."""
        return subprocess.Popen(
            [sys.executable, "-m", "labshell", str(spec or self.spec), *arguments],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
            env={**os.environ, "HOME": str(self.folder)},
        )

    def run(self, *arguments: str, spec: Path | None = None) -> Said:
        """Runs the program to its end."""
        program = self.start(*arguments, spec=spec)
        return self.ends(program)

    def ends(self, program: subprocess.Popen[str]) -> Said:
        """Waits for the end of a program."""
        try:
            out, err = program.communicate(timeout=PATIENCE_S)
        except subprocess.TimeoutExpired:
            program.send_signal(signal.SIGKILL)
            program.communicate()
            raise
        return Said(program.returncode, out, err)

    def do(self, commands: str, *options: str) -> Said:
        """Runs commands."""
        return self.run(*options, "-c", commands)

    def json(self, commands: str, *options: str) -> Said:
        """The same, with ``--json``."""
        return self.run("--json", *options, "-c", commands)

    def invocation(self, host: str, unit: str) -> str:
        """Another one after each start of a unit."""
        assert self.lab is not None
        command = ["systemctl", "show", "--value", "-p", "InvocationID", unit]
        return self.lab.hosts[host].run(command, check=True).stdout.strip()

    def replace(self, file: str, old: str, new: str) -> None:
        """Edits a file of the spec's folder."""
        path = self.folder / file
        text = path.read_text()
        assert old in text
        path.write_text(text.replace(old, new))


@contextmanager
def laid_out(folder: Path, name: str) -> Iterator[Floor]:
    """Hosts that are up, with everything deployed on them."""
    need_labs()
    with Lab(name, ["a", "b"]) as lab:
        floor = Floor(folder, lab, name)
        said = floor.do("apply --yes")
        assert said.code == 0, said
        yield floor


def until(is_so: Callable[[], bool], what: str) -> None:
    """Waits for something."""
    deadline_s = time.monotonic() + PATIENCE_S
    while not is_so():
        assert time.monotonic() < deadline_s, f"never came: {what}"
        time.sleep(0.02)
