"""Engine, front end, both FIX processes and the exchange: an order by the ``toucan`` command, in flight while processes are killed."""

from __future__ import annotations

import json
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.toucan.engine.rig import Rig
from tests.toucan.fix.chain import Process, free_port, wait_until

pytestmark = pytest.mark.system


class _Host:
    """Everything on one host, as an operator would set it up."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.rig = Rig(folder)
        text = self.rig.config.read_text().replace(f"{folder}/exchange.sock", f"{folder}/fix.sock")
        self.rig.config.write_text(
            text
            + f'[fix.SIM]\nhost = "127.0.0.1"\nport = {(port := free_port())}\nsender_comp_id = "US"\ntarget_comp_id = "AVIARY"\n'
            + f'heartbeat_s = 20\nreconnect_s = 1\nstore = "{folder}/store"\nsocket = "{folder}/fix.sock"\n'
            + f'[fix_acceptor]\nport = {port}\nexchange = "{folder}/exchange.sock"\nstore = "{folder}/acceptor"\n'
            + '[fix_acceptor.session.US]\nfirm = "FIRM"\n'
        )
        self.fix: dict[str, Process] = {}

    def start(self) -> None:
        self.rig.start("exchange")
        self.launch("acceptor", "fix-acceptor")
        self.launch("fix", "fix", "SIM")
        self.rig.start("engine")
        self.rig.start("server1")

    def launch(self, name: str, *command: str) -> None:
        config = ["--config", str(self.rig.config), "--ready"]
        self.fix[name] = Process(self.folder, name, "-m", "toucan.cli", *command, *config)
        self.fix[name].wait_ready()

    def toucan(self, *arguments: str) -> subprocess.Popen[str]:
        command = [
            sys.executable,
            "-m",
            "toucan.cli",
            *arguments,
            "--server",
            self.rig.addresses["server1"],
            "--json",
        ]
        return subprocess.Popen(command, stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, text=True)

    def asked(self, *arguments: str) -> Any:
        out, _ = self.toucan(*arguments).communicate(timeout=30)
        return json.loads(out)

    def bought(self, quantity: int, price: int) -> subprocess.Popen[str]:
        return self.toucan("buy", str(quantity), "AAPL", "@", str(price), "--account", "ACC1", "--tif", "gtc")

    def orders(self) -> dict[str, dict[str, Any]]:
        """By quantity."""
        return {one["quantity"]: one for one in self.asked("orders", "--all")}

    def wait_for_venue(self, quantity: int) -> None:
        """Until an order can be sent and is acknowledged."""

        def is_acknowledged() -> bool:
            out, _ = self.bought(quantity, 90).communicate(timeout=30)
            return '"new"' in out

        wait_until(is_acknowledged, 30)

    def stop(self) -> None:
        for process in self.fix.values():
            process.kill()
        self.rig.stop()
        for name, process in self.fix.items():
            assert "Traceback" not in process.log, f"{name}: {process.log}"


@pytest.fixture
def host(tmp_path: Path) -> Iterator[_Host]:
    host = _Host(tmp_path)
    try:
        host.start()
        yield host
    finally:
        host.stop()


def test_an_order_in_flight_is_resolved_when_its_process_is_killed(host: _Host) -> None:
    host.wait_for_venue(1)
    # The acceptor stands still: what is sent has left, and nobody has read it.
    host.fix["acceptor"].process.send_signal(signal.SIGSTOP)
    arrived = host.bought(2, 91)
    wait_until(lambda: host.orders().get("2", {}).get("status") == "pending-new")
    host.fix["fix"].kill()
    host.fix["acceptor"].process.send_signal(signal.SIGCONT)
    host.launch("fix", "fix", "SIM")
    wait_until(lambda: host.orders()["2"]["status"] == "new", 30)
    arrived.communicate(timeout=30)

    # It stands still again and is killed: what it has not read was never there.
    host.fix["acceptor"].process.send_signal(signal.SIGSTOP)
    lost = host.bought(3, 92)
    wait_until(lambda: host.orders().get("3", {}).get("status") == "pending-new")
    host.fix["acceptor"].kill()
    host.launch("acceptor", "fix-acceptor")
    wait_until(lambda: host.orders()["3"]["status"] == "rejected", 30)
    assert host.orders()["3"]["reason"] == "not-received"
    lost.communicate(timeout=30)

    sold = host.asked("sell", "2", "AAPL", "@", "91", "--account", "ACC2", "--tif", "ioc")
    assert sold["cum_quantity"] == "2" or host.orders()["2"]["status"] == "filled"
    wait_until(lambda: host.orders()["2"]["status"] == "filled")
    positions = {(one["account"], one["symbol"]): one for one in host.asked("positions")}
    assert positions["ACC1", "AAPL"]["quantity"] == "2"
