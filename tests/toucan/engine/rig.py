"""A real engine and a real exchange, as processes of their own in a folder of their own, to be killed and started again."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

__all__ = ["LIMITS", "Rig", "rig_in"]

INSTRUMENTS = """
[[instrument]]
symbol = "AAPL"
currency = "USD"
venue = "SIM"
[[instrument]]
symbol = "MSFT"
currency = "USD"
venue = "SIM"
"""
LIMITS = """
base_currency = "USD"
[firm]
[team.alpha]
accounts = ["ACC1", "ACC2"]
"""
START_TIMEOUT_S = 20.0
SEGMENT_BYTES = 1 << 20


class Rig:
    """Processes by name: ``exchange``, ``engine``, front ends ``server1``, ``server2``, and gateways ``web1``, ``web2``."""

    def __init__(self, folder: Path, limits: str = LIMITS, segment_bytes: int = SEGMENT_BYTES) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.socket = folder / "engine.sock"
        self.processes: dict[str, subprocess.Popen[bytes]] = {}
        (folder / "instruments.toml").write_text(INSTRUMENTS)
        (folder / "limits.toml").write_text(limits)
        self.addresses = {f"server{number}": f"127.0.0.1:{_free_port()}" for number in (1, 2)}
        self.web_addresses = {f"web{number}": f"127.0.0.1:{_free_port()}" for number in (1, 2)}
        self.config = folder / "toucan.toml"
        self.config.write_text(
            f'[engine]\ndata = "{self.data}"\nsocket = "{self.socket}"\nwitness = "{folder}/witness"\n'
            f'segment_bytes = {segment_bytes}\ninstruments = "{folder}/instruments.toml"\nlimits = "{folder}/limits.toml"\n'
            f'[venue.SIM]\naddress = "{folder}/exchange.sock"\n'
        )

    def start(self, name: str, *, environment: dict[str, str] | None = None, wait: bool = True) -> None:
        """Starts a process; ``wait``: until it says that it serves."""
        command = [sys.executable, "-m", f"toucan.{name.rstrip('12')}"]
        if name in self.addresses:
            config = self.folder / f"{name}.toml"
            section = f'[server]\nlisten = "{self.addresses[name]}"\nlocal_user = "local"\n'
            config.write_text(self.config.read_text() + section)
            command += ["--config", str(config)]
        elif name in self.web_addresses:
            config = self.folder / f"{name}.toml"
            section = f'[web]\nlisten = "{self.web_addresses[name]}"\nlocal_user = "local"\nstate = "{self.folder}/web"\n'
            config.write_text(self.config.read_text() + section)
            command += ["--config", str(config)]
        elif name == "exchange":
            command += [
                "--listen",
                f"{self.folder}/exchange.sock",
                "--operator",
                f"{self.folder}/operator.sock",
            ]
            command += ["--instruments", f"{self.folder}/instruments.toml", "--ready"]
        else:
            command += ["--config", str(self.config)]
        with self._ready_socket() as ready, (self.folder / f"{name}.log").open("ab") as log:
            process = subprocess.Popen(
                command,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE if name == "exchange" else log,
                stderr=log,
                env={**os.environ, "NOTIFY_SOCKET": str(self.folder / "notify"), **(environment or {})},
            )
            self.processes[name] = process
            if name == "exchange":
                assert process.stdout is not None
                assert json.loads(process.stdout.readline())["ready"], self.log(name)
            elif wait:
                self._await_ready(name, ready, process)

    @contextlib.contextmanager
    def _ready_socket(self) -> Iterator[socket.socket]:
        path = self.folder / "notify"
        path.unlink(missing_ok=True)
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as ready:
            ready.bind(str(path))
            ready.settimeout(0.1)
            yield ready

    def _await_ready(self, name: str, ready: socket.socket, process: subprocess.Popen[bytes]) -> None:
        deadline = time.monotonic() + START_TIMEOUT_S
        while time.monotonic() < deadline and process.poll() is None:
            with contextlib.suppress(TimeoutError):
                if b"READY=1" in ready.recv(4096):
                    return
        raise AssertionError(f"no start (exit code {process.poll()}):\n{self.log(name)}")

    def log(self, name: str) -> str:
        """What a process has logged so far."""
        return (self.folder / f"{name}.log").read_text()

    def kill(self, name: str, number: int = signal.SIGKILL) -> int:
        """Sends a signal, and waits for the end; gives the exit code."""
        process = self.processes.pop(name)
        process.send_signal(number)
        if process.stdout is not None:
            process.stdout.close()
        return process.wait(timeout=20)

    def operate(self, **command: Any) -> dict[str, Any]:
        """One command of the exchange's operator."""
        with socket.socket(socket.AF_UNIX) as operator:
            operator.settimeout(10)
            operator.connect(str(self.folder / "operator.sock"))
            operator.sendall(json.dumps(command).encode() + b"\n")
            answer: dict[str, Any] = json.loads(operator.makefile().readline())
            return answer

    def stop(self) -> None:
        """Kills what still runs."""
        for name in [*self.processes]:
            self.kill(name)


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port: int = free.getsockname()[1]
        return port


@contextlib.contextmanager
def rig_in(folder: Path, limits: str = LIMITS, segment_bytes: int = SEGMENT_BYTES) -> Iterator[Rig]:
    """A rig with everything started, and nothing left of it afterwards."""
    rig = Rig(folder, limits, segment_bytes)
    try:
        rig.start("exchange")
        rig.start("engine")
        yield rig
    finally:
        rig.stop()
