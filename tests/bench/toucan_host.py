"""toucan as it is run: the whole of ``toucan dev``, or an engine and an exchange without a front end. Its journal is on a disk, not in memory."""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from importlib import resources
from pathlib import Path

from tests.toucan.engine.rig import rig_in

from toucan.core.requests import Submit
from toucan.journal.limits import SEGMENT_BYTES_DEFAULT
from toucan.journal.reader import read

from .generator import REPOSITORY
from .machine import LOAD_CORE, SERVER_CORE, move_to_core, pinned, stopped_in_the_end
from .row import Unavailable
from .toucan_ring import resting_order, ring_client

__all__ = ["Engine", "Toucan", "disk_folder", "journal_bytes_per_order", "started_engine", "started_toucan"]


@contextmanager
def disk_folder() -> Iterator[Path]:
    """A folder beside the repository's other build products: what is synced there takes as long as the disk takes."""
    parent = REPOSITORY / "build"
    parent.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="toucan-bench-", dir=parent) as name:
        yield Path(name)


@dataclass(frozen=True)
class Engine:
    """A running engine."""

    socket: Path
    data: Path
    pid: int


@dataclass(frozen=True)
class Toucan:
    """A running ``toucan dev``: HOST:PORT of its gRPC service, and who does the work."""

    address: str
    engine: Engine
    server_pid: int
    #: HOST:PORT of its gateway; empty: it has none.
    web: str = ""


@contextmanager
def started_toucan(data: Path, *options: str) -> Iterator[Toucan]:
    """Engine and front end on the server's core; the exchange, which stands for another firm's machine, on the load's. Ready to take orders."""
    command = [sys.executable, "-m", "toucan.dev", "--listen", "127.0.0.1:0", "--data", str(data), *options]
    with pinned(SERVER_CORE):
        process = subprocess.Popen(command, stdout=subprocess.PIPE)
    with stopped_in_the_end(process):
        assert process.stdout is not None
        line = process.stdout.readline()
        if not line:
            raise Unavailable("toucan dev did not start; its log says why")
        ready = json.loads(line)
        pids = ready["processes"]
        move_to_core(pids["exchange"], LOAD_CORE)
        engine = Engine(Path(ready["operator"]).with_name("engine.sock"), data, pids["engine"])
        with ring_client(engine.socket) as ring:
            ring.await_venue()
        yield Toucan(ready["grpc"], engine, pids["server1"], ready.get("web", ""))


@contextmanager
def started_engine(folder: Path) -> Iterator[Engine]:
    """Engine and exchange alone, with the limits of ``toucan dev``."""
    limits = (resources.files("toucan") / "defaults" / "limits.toml").read_text(encoding="utf-8")
    with ExitStack() as stack:
        with pinned(SERVER_CORE):
            rig = stack.enter_context(rig_in(folder, limits, SEGMENT_BYTES_DEFAULT))
        move_to_core(rig.processes["exchange"].pid, LOAD_CORE)
        with ring_client(rig.socket) as ring:
            ring.await_venue()
        yield Engine(rig.socket, rig.data, rig.processes["engine"].pid)


def journal_bytes_per_order(engine: Engine) -> int:
    """What one accepted order adds to the journal: its record with header and padding."""
    with ring_client(engine.socket) as ring:
        seq = ring.ask(Submit(resting_order(0))).seq
        ring.await_seq(seq)
        sizes = [one.end_offset - one.offset for one in read(engine.data, 1, seq) if one.last_seq == seq]
        ring.cancel_all()
    return sizes[0]
