"""Daemons as processes of the test's own, each started and ended by it, as an operator's supervisor would."""

from __future__ import annotations

import os
import signal
import socket
import subprocess
import sys
import uuid
from collections.abc import Sequence
from pathlib import Path
from typing import Self

from tests.cashy.cluster_certificates import certified

import cashy
from cashy.cli.ports import listening
from cashy.setting_values import Address
from hostkit.supervisor import Child
from shmipc.instance import Instance

from .harness import free_port, wait_until

__all__ = ["LoneHost", "LoneMaster", "joined"]


class LoneMaster:
    """``cashy master`` without anybody who would start it again; its memory stays until :meth:`close`. A context manager."""

    def __init__(self, folder: Path, config: str, *, memory: str = "16MiB", block: str = "64KiB") -> None:
        self.name = folder.name
        self.instance = f"d-{uuid.uuid4().hex[:8]}"
        self.socket = folder / "cashy.sock"
        self.config = folder / "cashy.toml"
        self.config.write_text(
            f'[instance]\nname = "{self.instance}"\nsocket = "{self.socket}"\n'
            f'[memory]\nsize = "{memory}"\nblock_size = "{block}"\n{config}'
        )
        self.log_file = folder / "log"
        daemon = [sys.executable, "-m", "cashy", "master", "--config", str(self.config)]
        command = ["/bin/sh", "-c", 'exec "$@" 2>>"$0"', str(self.log_file), *daemon]
        self._master = Child(f"master of {self.name}", command, os.environ)  # dies with the test

    def start(self) -> None:
        """Starts it, and waits until it answers."""
        self._master.start()
        wait_until(self._answers, 30, "the master's answer")

    @property
    def process(self) -> subprocess.Popen[bytes] | None:
        """Its present process."""
        return self._master.process

    def _answers(self) -> bool:
        assert self.process is not None
        assert self.process.poll() is None, "it has ended"
        try:
            with cashy.connect(self.socket, timeout_s=1) as cache:
                return cache.status().pid == self.process.pid
        except cashy.CashyError:
            return False

    def connect(self, **options: float) -> cashy.Cache:
        """A client of it."""
        return cashy.connect(self.socket, **options)

    def counters(self) -> dict[str, int]:
        """Its counters."""
        with self.connect() as cache:
            return dict(cache.status().counters)

    def kill(self) -> None:
        """SIGKILL."""
        self.stop(signal.SIGKILL)

    def stop(self, number: signal.Signals = signal.SIGTERM) -> None:
        """Ends it."""
        if self.process is not None:
            self.process.send_signal(number)
            self.process.wait(20)

    def segment(self) -> Path:
        """The file of its arena."""
        instance = Instance("cashy", self.instance)
        name = instance.current_segment()
        assert name is not None
        return instance.folder.parent / name

    def close(self) -> None:
        """Ends it and removes what it leaves."""
        self.stop()
        instance = Instance("cashy", self.instance)
        instance.acquire()
        instance.remove()
        instance.close()

    def __enter__(self) -> Self:
        self.start()
        return self

    def __exit__(self, *_: object) -> None:
        self.close()


class LoneHost(LoneMaster):
    """The same with an S3 worker, whose listening socket stays while it is restarted."""

    def __init__(self, folder: Path, config: str, **options: str) -> None:
        super().__init__(folder, config, **options)
        self._listening = listening(Address(f"127.0.0.1:{free_port()}"))
        self._listener: socket.socket = self._listening.__enter__()
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        command = [sys.executable, "-m", "cashy", "s3", "--config", str(self.config)]
        self._worker = Child(f"s3 of {self.name}", command, os.environ, listeners=[self._listener])

    def start_worker(self) -> None:
        """Starts the worker; who connects waits until it serves."""
        self._worker.start()

    def stop_worker(self) -> None:
        """An orderly end of the worker."""
        self._worker.signal(signal.SIGTERM)
        if self._worker.process is not None:
            assert self._worker.process.wait(20) == 0

    def __enter__(self) -> Self:
        super().__enter__()
        self.start_worker()
        return self

    def __exit__(self, *_: object) -> None:
        self.stop_worker()
        self._listening.__exit__(None, None, None)
        super().__exit__()


def joined(folder: Path, names: Sequence[str], config: str, **options: str) -> list[LoneHost]:
    """Hosts of one cluster, not started yet."""
    certificates = certified(folder / "ca", names)
    peers = "".join(f'[[peer]]\nname = "{name}"\naddress = "127.0.0.1:{free_port()}"\n' for name in names)
    hosts = []
    for name in names:
        (folder / name).mkdir()
        own = f'{config}[cluster]\nhost = "{name}"\n{certificates[name]}{peers}'
        hosts.append(LoneHost(folder / name, own, **options))
    return hosts
