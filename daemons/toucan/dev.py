"""``toucan dev``: engine, one front end and the embedded exchange in the foreground, without root, TLS or systemd."""

from __future__ import annotations

import contextlib
import getpass
import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator
from importlib import resources
from pathlib import Path

import click
import structlog

from hostkit.log import configure_logging
from hostkit.notify import NotifyReceiver
from hostkit.supervisor import Child, ChildFailed, Supervisor
from toucan.engine.settings import EngineSection, VenueSection
from toucan.errors import ToucanError
from toucan.instrument_file import load_instruments
from toucan.risk_file import read_limits
from toucan.settings import write_settings

__all__ = ["main"]

_VENUE = "SIM"
_FILE = click.Path(path_type=Path, dir_okay=False)


@click.command(name="dev")
@click.option(
    "--listen",
    default="127.0.0.1:7070",
    show_default=True,
    metavar="HOST:PORT",
    help="gRPC address; port 0: any free one.",
)
@click.option(
    "--data", type=click.Path(path_type=Path, file_okay=False),
    help="Folder of the journal; what is in it is gone on with. [default: a new one, removed in the end]",
)  # fmt: skip
@click.option("--instruments", type=_FILE, help="Instrument table. [default: AAPL, MSFT and BTC-USD]")
@click.option("--limits", type=_FILE, help="Tree of limits. [default: accounts ACC1 and ACC2 with wide ones]")
@click.option("--users", type=_FILE, help="Users file. [default: one local user who may do everything]")
@click.option(
    "--replay", type=_FILE, help="CSV file (.gz) of recorded order events, played as background flow."
)
@click.option(
    "--replay-symbol", default="BTC-USD", show_default=True, help="Instrument into which they are played."
)
@click.option("--speed", type=float, default=1.0, show_default=True, help="2 plays them in half the time.")
@click.option(
    "--front-ends",
    type=click.IntRange(1, 16),
    default=1,
    show_default=True,
    help="Servers to run; they share the address.",
)
@click.option(
    "--metrics", default="", metavar="HOST:PORT", help="Address of the engine's /metrics. [default: none]"
)
@click.option(
    "--log-level",
    type=click.Choice(["debug", "info", "warning", "error"]),
    default="warning",
    show_default=True,
)
def main(
    listen: str, data: Path | None, instruments: Path | None, limits: Path | None, users: Path | None, replay: Path | None,
    replay_symbol: str, speed: float, front_ends: int, metrics: str, log_level: str,
) -> None:  # fmt: skip
    """Run engine, server and embedded exchange in the foreground; ends with SIGTERM or SIGINT.

    Prints one JSON line when orders can be sent: {"ready": true, "grpc": "HOST:PORT", "pid": …, "data": …, "processes": {…}}. Restarts what falls.
    """
    configure_logging(log_level, "console")
    with contextlib.ExitStack() as stack:
        folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="toucan-dev-")))
        instruments = instruments or _default(folder, "instruments.toml")
        limits = limits or _default(folder, "limits.toml")
        # Told here and at once, rather than by a child.
        table = {one.symbol: one for one in load_instruments(instruments)}
        read_limits(limits, table)
        address = stack.enter_context(_reserved(listen))
        data = (data or folder / "data").absolute()
        data.mkdir(parents=True, exist_ok=True)
        config = folder / "toucan.toml"
        write_settings(
            config,
            EngineSection(
                data=str(data), socket=str(folder / "engine.sock"), witness=str(data / "witness"),
                instruments=str(instruments.absolute()), limits=str(limits.absolute()), metrics=metrics,
            ),
            {_VENUE: VenueSection(address=str(folder / "exchange.sock"))},
            {"listen": address, **_who(users, address)},
        )  # fmt: skip
        exchange = ["--listen", str(folder / "exchange.sock"), "--operator", str(folder / "operator.sock")]
        exchange += ["--instruments", str(instruments)]
        if replay is not None:
            exchange += [
                "--replay",
                str(replay),
                "--replay-symbol",
                replay_symbol,
                "--speed",
                str(speed),
                "--repeat",
            ]
        _supervise(
            stack, folder, config, exchange, front_ends, log_level, {"grpc": address, "data": str(data)}
        )


def _who(users: Path | None, address: str) -> dict[str, object]:
    if users is not None:
        return {"users": str(users.absolute())}
    if not address.startswith(("127.", "[::1]", "localhost")):
        raise click.UsageError(
            f"--listen {address} can be reached from other hosts: give --users, or listen on 127.0.0.1"
        )
    return {"local_user": getpass.getuser()}


def _supervise(
    stack: contextlib.ExitStack, folder: Path, config: Path, exchange: list[str], front_ends: int, log_level: str,
    told: dict[str, object],
) -> None:  # fmt: skip
    receiver = NotifyReceiver(folder)
    stack.callback(receiver.close)
    supervisor = stack.enter_context(Supervisor(receiver, structlog.get_logger(program="toucan dev")))
    environment = {**os.environ, "NOTIFY_SOCKET": str(receiver.path)}
    common = ["--config", str(config), "--log-level", log_level]
    venue = Child("exchange", _python("toucan.exchange", *exchange), environment)
    engine = Child("engine", _python("toucan.engine", *common), environment)
    servers = [
        Child(f"server{number}", _python("toucan.server", *common), environment, leans_on=engine)
        for number in range(1, front_ends + 1)
    ]
    for group in ([venue], [engine], servers):
        for child in group:
            supervisor.start(child)
        if not supervisor.wait_ready(group):
            return
    pids = {child.name: child.process.pid for child in (venue, engine, *servers) if child.process is not None}
    ready = {
        "ready": True,
        **told,
        "pid": os.getpid(),
        "operator": str(folder / "operator.sock"),
        "processes": pids,
    }
    print(json.dumps(ready), flush=True)
    supervisor.run()


def _python(module: str, *arguments: str) -> list[str]:
    return [sys.executable, "-m", module, *arguments]


def _default(folder: Path, name: str) -> Path:
    path = folder / name
    path.write_text(
        (resources.files("toucan") / "defaults" / name).read_text(encoding="utf-8"), encoding="utf-8"
    )
    return path


@contextlib.contextmanager
def _reserved(listen: str) -> Iterator[str]:
    """Keeps the port for the servers' restarts: bound and not listened on; they bind it as well (SO_REUSEPORT)."""
    host, _, port = listen.rpartition(":")
    host = host.strip("[]")
    family = socket.AF_INET6 if ":" in host else socket.AF_INET
    try:
        with socket.socket(family) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((host, int(port)))
            number = probe.getsockname()[1]
        holder = socket.socket(family)
    except (OSError, ValueError) as error:
        raise ToucanError(
            f"cannot listen on {listen}: {error}; choose another address with --listen"
        ) from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((host, number))
        yield f"[{host}]:{number}" if family == socket.AF_INET6 else f"{host}:{number}"


if __name__ == "__main__":
    try:
        main()
    except (ToucanError, ChildFailed) as error:
        sys.exit(f"toucan: error: {error}")
