"""``cashy dev``: a whole host in the foreground, without root or systemd, gone without a trace when it ends."""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from cashy.cli.daemons import socket_answers
from cashy.cli.options import command_line_of, overrides_of, settings_options
from cashy.cli.supervisor import Child, Supervisor
from cashy.errors import ConfigError
from cashy.log import configure_logging, get_logger
from cashy.notify import NotifyReceiver
from cashy.setting_values import Address
from cashy.settings import (
    DEFAULT_SOCKET_PATH,
    SOCKET_PATH_BYTES_MAX,
    InstanceSettings,
    Settings,
    load_settings,
)

__all__ = ["dev_command"]

#: The family under which the master keeps its shared memory (/dev/shm/cashy.<uid>.<instance>…).
SHARED_MEMORY_FAMILY = "cashy"

_SOCKET_NAME = "cashy.sock"


@click.command(name="dev")
@settings_options("dev")
def dev_command(**parameters: Any) -> int:
    """Run a whole host in the foreground: one master and its S3 workers, without root or systemd.

    Prints one JSON line on standard output when it serves, {"ready": true, "s3": "http://…", "socket": "…",
    "pid": …}, and logs on standard error. Restarts what falls. SIGTERM or SIGINT ends it, and removes its
    socket and shared memory. Reads no configuration file but the one given. The socket's default is a
    private folder, the instance's a name of its own; --s3 with port 0 takes any free port. Sizes are bytes
    or have KiB, MiB or GiB; times are seconds.

    Example: cashy dev --origin s3=http://127.0.0.1:5000 --origin file=/srv/data --s3 127.0.0.1:0 --anonymous
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_private_folder())
        parameters = _with_own_names(parameters, folder)
        settings = load_settings(parameters["config"], overrides_of(parameters))
        if not settings.origins:
            raise ConfigError("no origin is configured: give --origin s3=URL or file=DIR")
        configure_logging(settings.log.level, settings.log.format)
        parameters["instance__socket"] = str(settings.instance.socket)
        parameters["instance__remove_on_exit"] = True
        stack.enter_context(_shared_memory_removed(settings))
        receiver = NotifyReceiver(folder)
        stack.callback(receiver.close)
        supervisor = stack.enter_context(Supervisor(receiver, get_logger(program="cashy dev")))
        _run_host(supervisor, settings, parameters, receiver.path, stack)
    return 0


def _with_own_names(parameters: dict[str, Any], folder: Path) -> dict[str, Any]:
    """Gives the host a socket and an instance name of its own where neither option nor file nor environment does."""
    parameters = dict(parameters)
    given = load_settings(parameters["config"], overrides_of(parameters)).instance
    if parameters["instance__name"] is None and given.name == InstanceSettings().name:
        parameters["instance__name"] = f"dev-{os.getpid()}"
    if parameters["instance__socket"] is None and given.socket == Path(DEFAULT_SOCKET_PATH):
        parameters["instance__socket"] = str(folder / _SOCKET_NAME)
    return parameters


def _run_host(
    supervisor: Supervisor,
    settings: Settings,
    parameters: dict[str, Any],
    notify_path: Path,
    stack: ExitStack,
) -> None:
    """Starts the master, then the workers, says so, and stays until a stop signal."""
    environment = {**os.environ, "NOTIFY_SOCKET": str(notify_path)}
    if settings.s3.workers:
        parameters["s3__listen"] = stack.enter_context(_reserved_address(settings.s3.listen))
    master = Child("cashy master", _arguments("master", parameters), environment)
    supervisor.start(master)
    if not supervisor.wait_ready([master]):
        return
    workers = [
        Child(f"cashy s3 ({number})", _arguments("s3", parameters), environment)
        for number in range(1, settings.s3.workers + 1)
    ]
    for worker in workers:
        supervisor.start(worker)
    if not supervisor.wait_ready(workers):
        return
    address = workers[0].notified.get("X_CASHY_S3", parameters["s3__listen"]) if workers else None
    ready = {
        "ready": True,
        "s3": f"http://{address}" if address else None,
        "socket": str(settings.instance.socket),
        "pid": os.getpid(),
    }
    print(json.dumps(ready), flush=True)
    supervisor.run()


def _arguments(command: str, parameters: Mapping[str, Any]) -> list[str]:
    return [sys.executable, "-m", "cashy", *command_line_of(command, parameters["config"], parameters)]


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder only this user can enter, short enough for socket paths; removed in the end."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp is safe there
        if parent and os.access(parent, os.W_OK) and len(os.fsencode(parent)) < SOCKET_PATH_BYTES_MAX - 40:
            break
    with tempfile.TemporaryDirectory(prefix="cashy-dev-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)


@contextmanager
def _reserved_address(listen: Address) -> Iterator[str]:
    """Holds the port while the host runs, so that a restarted worker finds it free; gives HOST:PORT with the real port.

    A bound socket that does not listen takes no connections from the workers, who share the port by
    SO_REUSEPORT. The first bind, without that option, is what notices another program on the port.
    """
    family = socket.AF_INET6 if ":" in listen.host else socket.AF_INET
    try:
        with socket.socket(family, socket.SOCK_STREAM) as probe:
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((listen.host, listen.port))
            port = probe.getsockname()[1]
        holder = socket.socket(family, socket.SOCK_STREAM)
    except OSError as error:
        raise ConfigError(
            f"cannot listen on {listen}: {error.strerror}; choose another with --s3 HOST:PORT"
        ) from None
    with holder:
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        holder.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEPORT, 1)
        holder.bind((listen.host, port))
        yield f"[{listen.host}]:{port}" if family == socket.AF_INET6 else f"{listen.host}:{port}"


@contextmanager
def _shared_memory_removed(settings: Settings) -> Iterator[None]:
    """Removes what a master left behind that could not do so itself, because it was killed."""
    try:
        yield
    finally:
        from shmipc.errors import ShmError
        from shmipc.instance import Instance

        instance = Instance(SHARED_MEMORY_FAMILY, settings.instance.name)
        if instance.folder.exists():
            try:
                instance.acquire()
                instance.remove()
            except ShmError as error:
                get_logger(program="cashy dev").warning("shared memory was not removed", error=str(error))
            finally:
                instance.close()
        path = settings.instance.socket
        if path.is_socket() and not socket_answers(
            path
        ):  # one that answers is another host's, which was in our way
            path.unlink(missing_ok=True)
