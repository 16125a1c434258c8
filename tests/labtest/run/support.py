"""What tests of the plugin and of the closed loop share: real pytest and labtest in processes of their own, and what they have left behind."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from tests.labtest.namespaces.support import left_of

from labtest.namespaces import all_labs
from labtest.namespaces.removal import lab_folders, link_of, number_of

__all__ = ["Workplace", "left_of_lab", "until", "workplace"]

_TIMEOUT_S = 90.0


@dataclass
class Workplace:
    """A folder with a spec and tests, and a folder for what runs; both are this test's alone."""

    folder: Path
    #: ``$XDG_RUNTIME_DIR``: sockets and state of whatever is started here. Short, since paths of sockets are.
    runtime: Path
    name: str
    environment: dict[str, str] = field(default_factory=dict)

    def write(self, name: str, text: str) -> Path:
        """A file in the folder."""
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text)
        return path

    def pytest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """pytest with the plugin, and no other."""
        return self._run(sys.executable, "-m", "pytest", "-p", "labtest.plugin", *arguments)

    def labtest(self, *arguments: str) -> subprocess.CompletedProcess[str]:
        """The command."""
        return self._run(sys.executable, "-m", "labtest.cli", *arguments)

    def start_labtest(self, *arguments: str) -> subprocess.Popen[str]:
        """The command, running; in a session of its own, as one that no terminal belongs to."""
        return subprocess.Popen(
            [sys.executable, "-m", "labtest.cli", *arguments],
            cwd=self.folder,
            env=self._environment(),
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            start_new_session=True,
        )

    def lab_ids(self) -> list[str]:
        """Labs of this place's environment that are up."""
        return [lab.id for lab in all_labs() if lab.name == self.name]

    def processes(self) -> list[str]:
        """What still runs of all that was started here."""
        mark = f"XDG_RUNTIME_DIR={self.runtime}\0".encode()
        found = []
        for process in Path("/proc").glob("[0-9]*"):
            try:
                if mark in (process / "environ").read_bytes():
                    found.append((process / "cmdline").read_text().replace("\0", " "))
            except OSError:
                pass  # it has just ended
        return found

    def left(self) -> list[str]:
        """Everything that is still there."""
        return [*self.lab_ids(), *self.processes(), *(str(path) for path in self.runtime.iterdir())]

    def _run(self, *argv: str) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            argv,
            cwd=self.folder,
            env=self._environment(),
            capture_output=True,
            text=True,
            check=False,
            timeout=_TIMEOUT_S,
        )

    def _environment(self) -> dict[str, str]:
        own = {"PYTEST_DISABLE_PLUGIN_AUTOLOAD": "1", "XDG_RUNTIME_DIR": str(self.runtime)}
        kept = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "COV_"))}
        return kept | own | self.environment


@contextmanager
def workplace(folder: Path, name: str) -> Iterator[Workplace]:
    """A place in ``folder`` for an environment of that name. Its labs are taken down at the end, whatever happened."""
    runtime = Path(tempfile.mkdtemp(prefix="lt"))
    place = Workplace(folder, runtime, name)
    try:
        yield place
    finally:
        for lab in all_labs():
            if lab.name == name:
                lab.down()
        shutil.rmtree(runtime, ignore_errors=True)


def left_of_lab(lab_id: str) -> list[str]:
    """What is still on this machine of a lab. Its number, and so its interface, may be another lab's by now."""
    others = {number_of(folder.path.name) for folder in lab_folders() if folder.path.name != lab_id}
    left = left_of(lab_id)
    return [one for one in left if number_of(lab_id) not in others or not one.endswith(f"/{link_of(lab_id)}")]


def until(is_so: Callable[[], object], what: str) -> None:
    """Waits for something, and fails with ``what`` it was if it never comes."""
    deadline = time.monotonic() + _TIMEOUT_S
    while not is_so():
        assert time.monotonic() < deadline, f"never came: {what}"
        time.sleep(0.05)
