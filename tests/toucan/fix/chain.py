"""The whole way as processes: ``toucan fix`` for each firm, TCP, ``toucan fix-acceptor``, and the embedded exchange."""

from __future__ import annotations

import json
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any, Self

from tests.toucan.exchange.running import PATIENCE_S

__all__ = ["Chain", "Process", "free_port", "wait_until"]


def free_port() -> int:
    """A port that nobody has right now."""
    with socket.socket() as one:
        one.bind(("127.0.0.1", 0))
        port: int = one.getsockname()[1]
        return port


def wait_until(is_true: Callable[[], bool], patience_s: float = PATIENCE_S) -> None:
    """Fails if it does not come true."""
    deadline = time.monotonic() + patience_s
    while not is_true():
        assert time.monotonic() < deadline, "it did not come true"
        time.sleep(0.01)


class Process:
    """A command of toucan's; what it writes goes to a log in the folder."""

    def __init__(self, folder: Path, name: str, *command: str) -> None:
        self.log_path = folder / f"{name}.log"
        with self.log_path.open("ab") as log:
            self.process = subprocess.Popen(
                [sys.executable, "-W", "error", *command], stdout=subprocess.PIPE, stderr=log, cwd=folder
            )

    def wait_ready(self) -> dict[str, Any]:
        """What it says when it serves."""
        assert self.process.stdout is not None
        line = self.process.stdout.readline()
        assert line, self.log
        ready: dict[str, Any] = json.loads(line)
        return ready

    @property
    def log(self) -> str:
        """All that it wrote."""
        return self.log_path.read_text()

    def stop(self) -> int:
        """Asks it to end; gives the exit code."""
        self.process.send_signal(signal.SIGTERM)
        return self._gone()

    def kill(self) -> None:
        """kill -9."""
        if self.process.poll() is None:
            self.process.kill()
        self._gone()

    def _gone(self) -> int:
        code = self.process.wait(PATIENCE_S)
        if self.process.stdout is not None:
            self.process.stdout.close()
        return code


class Chain:
    """``symbols`` are traded, for ``firms``; ``port_of`` says where a firm's session connects to, such as a relay before the acceptor."""

    def __init__(
        self,
        folder: Path,
        firms: Iterable[str],
        symbols: Iterable[str],
        *,
        port_of: Callable[[str, int], int] = lambda firm, port: port,
        instrument: Callable[[str], str] = lambda symbol: "",
        sections: Iterable[str] = (),
        market_data: bool = True,
        own_settings: Mapping[str, str] | None = None,
        log_level: str = "info",
    ) -> None:
        self.folder = folder
        self.firms = tuple(firms)
        self.log_level = log_level
        self.port = free_port()
        self.exchange_path = folder / "exchange.sock"
        self.operator_path = folder / "operator.sock"
        instruments = folder / "instruments.toml"
        instruments.write_text(
            "".join(
                f'[[instrument]]\nsymbol = "{symbol}"\ncurrency = "USD"\nvenue = "exchange"\n{instrument(symbol)}\n'
                for symbol in symbols
            )
        )
        lines = [f"[engine]\ninstruments = {json.dumps(str(instruments))}"]
        for firm in self.firms:
            lines.append(
                f'[fix.{firm}]\nhost = "127.0.0.1"\nport = {port_of(firm, self.port)}\nsender_comp_id = "{firm.upper()}"\n'
                f'target_comp_id = "AVIARY"\nheartbeat_s = 2\nreconnect_s = 1\nmarket_data = {json.dumps(market_data)}\n'
                f"store = {json.dumps(str(folder / firm))}\nsocket = {json.dumps(str(self.socket_path(firm)))}\n"
                f"{(own_settings or {}).get(firm, '')}"
            )
        lines.append(
            f"[fix_acceptor]\nport = {self.port}\nexchange = {json.dumps(str(self.exchange_path))}\n"
            f"store = {json.dumps(str(folder / 'acceptor'))}"
        )
        lines += [f'[fix_acceptor.session.{firm.upper()}]\nfirm = "{firm}"' for firm in self.firms]
        lines += list(sections)
        self.config = folder / "toucan.toml"
        self.config.write_text("\n".join(lines) + "\n")
        self.processes: dict[str, Process] = {}

    def __enter__(self) -> Self:
        """Starts it."""
        try:
            self.start()
        except BaseException:
            self.kill()
            raise
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def kill(self) -> None:
        """kill -9 of everything."""
        for process in self.processes.values():
            process.kill()

    def socket_path(self, firm: str) -> Path:
        """Where the engine of a firm comes in."""
        return self.folder / f"{firm}.sock"

    def start(self) -> None:
        """Starts everything; sessions are logged on a moment later."""
        names = ["exchange", "acceptor", *self.firms]
        for name in names:
            self.launch(name)
        for name in names:
            self.processes[name].wait_ready()

    def wait_logged_on(self, times: int = 1) -> None:
        """Until each firm's session has been there so often."""
        for firm in self.firms:
            wait_until(lambda firm=firm: self.processes[firm].log.count("] logged on") >= times)  # type: ignore[misc]

    def launch(self, name: str) -> Process:
        """Starts one process: "exchange", "acceptor", or a firm's; it is not ready yet."""
        if name == "exchange":
            command = [
                "-m", "toucan.exchange", "--listen", str(self.exchange_path), "--operator", str(self.operator_path),
                "--instruments", str(self.folder / "instruments.toml"), "--ready",
            ]  # fmt: skip
        elif name == "acceptor":
            command = ["-m", "toucan.cli", "fix-acceptor"]
        else:
            command = ["-m", "toucan.cli", "fix", name]
        if name != "exchange":
            command += ["--config", str(self.config), "--ready", "--log-level", self.log_level]
        process = self.processes[name] = Process(self.folder, name, *command)
        return process

    def restart(self, name: str) -> None:
        """kill -9, and a new start."""
        self.processes[name].kill()
        self.launch(name).wait_ready()

    def operate(self, action: str, **fields: Any) -> list[Any]:
        """A command to the exchange's operator, which must succeed."""
        answer = self.command(action, **fields)
        assert answer["ok"], answer
        told: list[Any] = answer["told"]
        return told

    def command(self, action: str, **fields: Any) -> dict[str, Any]:
        """A command to the exchange's operator."""
        with socket.socket(socket.AF_UNIX) as channel:
            channel.settimeout(PATIENCE_S)
            channel.connect(str(self.operator_path))
            channel.sendall(json.dumps({"action": action, **fields}).encode() + b"\n")
            with channel.makefile("rb") as lines:
                answer: dict[str, Any] = json.loads(lines.readline())
        return answer

    def close(self) -> None:
        """Ends everything; nobody may have had a bug."""
        self.kill()
        for name, process in self.processes.items():
            assert "Traceback" not in process.log, f"{name}: {process.log}"
            assert "critical" not in process.log.lower(), f"{name}: {process.log}"
