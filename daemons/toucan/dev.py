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
from toucan.market.recording_files import recording_files
from toucan.risk_file import read_limits
from toucan.settings import write_settings

__all__ = ["main"]

_VENUE = "SIM"
#: Sockets of feeds: the exchange's own, and a recording's.
_FEEDS = {False: "market-data.sock", True: "replay.sock"}
_DEV_RATE = 100_000
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
@click.option(
    "--replay-market",
    type=_FILE,
    help="Market data recorded by `toucan record`, shown instead of the exchange's own; orders go to the exchange all the same.",
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
    "--web",
    metavar="HOST:PORT",
    help="Address of a gateway for browsers; port 0: any free one. [default: none]",
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
    replay_symbol: str, replay_market: Path | None, speed: float, front_ends: int, web: str | None, metrics: str, log_level: str,
) -> None:  # fmt: skip
    """Run engine, server and embedded exchange in the foreground; ends with SIGTERM or SIGINT.

    Prints one JSON line when orders can be sent: {"ready": true, "grpc": "HOST:PORT", "pid": …, "data": …, "processes": {…}}; with --web
    also "web": "HOST:PORT". Restarts what falls.
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
        web_address = None if web is None else stack.enter_context(_reserved(web, "--web"))
        data = (data or folder / "data").absolute()
        data.mkdir(parents=True, exist_ok=True)
        config = folder / "toucan.toml"
        write_settings(
            config,
            EngineSection(
                data=str(data), socket=str(folder / "engine.sock"), witness=str(data / "witness"),
                instruments=str(instruments.absolute()), limits=str(limits.absolute()), metrics=metrics,
            ),
            {_VENUE: VenueSection(str(folder / "exchange.sock"), str(folder / _FEEDS[replay_market is not None]))},
            {"listen": address, **_who(users, address)},
            None if web_address is None else _web_section(web_address, folder, users),
        )  # fmt: skip
        exchange = ["--listen", str(folder / "exchange.sock"), "--operator", str(folder / "operator.sock")]
        exchange += ["--market-data", str(folder / _FEEDS[False]), "--instruments", str(instruments)]
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
        market = []
        if replay_market is not None:
            recording_files(replay_market)  # told here and at once if there is none
            market = [
                str(replay_market),
                "--listen",
                str(folder / _FEEDS[True]),
                "--speed",
                str(speed),
                "--repeat",
            ]
        told: dict[str, object] = {
            "grpc": address,
            "data": str(data),
            "market_data": str(folder / _FEEDS[bool(market)]),
        }
        if web_address is not None:
            told["web"] = web_address
        _supervise(stack, folder, config, exchange, market, front_ends, log_level, told)


def _who(users: Path | None, address: str, option: str = "--listen") -> dict[str, object]:
    if users is not None:
        return {"users": str(users.absolute())}
    if not address.startswith(("127.", "[::1]", "localhost")):
        raise click.UsageError(
            f"{option} {address} can be reached from other hosts: give --users, or listen on 127.0.0.1"
        )
    return {"local_user": getpass.getuser()}


def _web_section(address: str, folder: Path, users: Path | None) -> dict[str, object]:
    # Whoever reaches it can do everything anyway, so nobody is held back: programs shall be tried out on it at their full rate.
    rates = ("user_requests_per_s", "user_requests_burst", "address_requests_per_s", "address_requests_burst")
    return {
        "listen": address,
        "state": str(folder / "web"),
        **dict.fromkeys(rates, _DEV_RATE),
        **_who(users, address, "--web"),
    }


def _supervise(
    stack: contextlib.ExitStack, folder: Path, config: Path, exchange: list[str], market: list[str], front_ends: int, log_level: str,
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
    if "web" in told:
        servers.append(Child("web", _python("toucan.web", *common), environment, leans_on=engine))
    feeds = [Child("replay", _python("toucan.cli", "replay", *market), environment)] if market else []
    for group in ([venue, *feeds], [engine], servers):
        for child in group:
            supervisor.start(child)
        if not supervisor.wait_ready(group):
            return
    pids = {
        child.name: child.process.pid
        for child in (venue, *feeds, engine, *servers)
        if child.process is not None
    }
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
def _reserved(listen: str, option: str = "--listen") -> Iterator[str]:
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
            f"cannot listen on {listen}: {error}; choose another address with {option}"
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
