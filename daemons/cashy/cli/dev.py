"""``cashy dev``: whole hosts in the foreground, without root or systemd, gone without a trace when it ends."""

from __future__ import annotations

import json
import os
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import click

from cashy.cli.dev_hosts import HOSTS_MAX, DevHost, plan_hosts
from cashy.cli.options import overrides_of, settings_options
from cashy.errors import ConfigError
from cashy.settings import DEFAULT_SOCKET_PATH, SOCKET_PATH_BYTES_MAX, InstanceSettings, load_settings
from hostkit.log import configure_logging, get_logger
from hostkit.notify import NotifyReceiver
from hostkit.supervisor import Supervisor

__all__ = ["dev_command"]

_SOCKET_NAME = "cashy.sock"
#: Enough bytes for what stands behind the private folder's parent: its own name, and a host's socket in it.
_NAMES_BYTES_MAX = 40


@click.command(name="dev")
@click.option(
    "--hosts",
    "host_count",
    type=click.IntRange(1, HOSTS_MAX),
    default=1,
    metavar="N",
    help=f"Hosts to run, joined to one cluster if they are several; at most {HOSTS_MAX}. [default: 1]",
)
@settings_options("dev")
def dev_command(host_count: int, **parameters: Any) -> int:
    """Run a whole host, or a cluster of them, in the foreground: each a master and its S3 workers, without root.

    Prints one JSON line on standard output when all serve, {"ready": true, "s3": "http://…", "socket": "…",
    "pid": …, "hosts": […]}, and logs on standard error; s3 and socket are the first host's. Each entry of
    hosts has name, s3, socket, peer (where the other hosts reach it), metrics (the URLs of its processes) and
    master_pid. Restarts what falls. SIGTERM or SIGINT ends it, and removes its sockets and shared memory. Reads no
    configuration file but the one given. The socket's default is in a private folder, the instance's a name of
    its own. Addresses with port 0 take any free port; metrics do so if the file does not say otherwise. Sizes
    are bytes or have KiB, MiB or GiB; times are seconds.

    With --hosts each host has its own memory (--memory is per host, so is each --disk, whose folder has one in it for
    each host), instance name (the name with -1, -2, …), socket (the path with .1, .2, …) and ports (those given, then
    the next ones), and a certificate of an authority that is made for this cluster and forgotten; with
    --cluster-insecure they share a key instead.

    Example: cashy dev --hosts 3 --origin s3=http://127.0.0.1:5000 --origin file=/srv/data --s3 127.0.0.1:0 --anonymous
    """
    with ExitStack() as stack:
        folder = stack.enter_context(_private_folder())
        parameters = _with_own_names(parameters, folder)
        settings = load_settings(parameters["config"], overrides_of(parameters))
        if not settings.origins:
            raise ConfigError("no origin is configured: give --origin s3=URL or file=DIR")
        settings.this_host()  # raises if only half a cluster is given
        configure_logging(settings.log.level, settings.log.format)
        hosts = plan_hosts(host_count, settings, parameters, folder, stack)
        receiver = NotifyReceiver(folder)
        stack.callback(receiver.close)
        supervisor = stack.enter_context(Supervisor(receiver, get_logger(program="cashy dev")))
        _run_hosts(supervisor, hosts, {**os.environ, "NOTIFY_SOCKET": str(receiver.path)})
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


def _run_hosts(supervisor: Supervisor, hosts: list[DevHost], environment: Mapping[str, str]) -> None:
    """Starts the masters, then the workers, says so, and stays until a stop signal."""
    masters = [host.make_master(environment) for host in hosts]
    for child in masters:
        supervisor.start(child)
    if not supervisor.wait_ready(masters):
        return
    workers = [worker for host in hosts for worker in host.make_workers(environment)]
    for child in workers:
        supervisor.start(child)
    if not supervisor.wait_ready(workers):
        return
    ready = {
        "ready": True,
        "s3": hosts[0].s3_url(),
        "socket": str(hosts[0].socket),
        "pid": os.getpid(),
        "hosts": [host.report() for host in hosts],
    }
    print(json.dumps(ready), flush=True)
    supervisor.run()


@contextmanager
def _private_folder() -> Iterator[Path]:
    """A folder only this user can enter, short enough for socket paths; removed in the end."""
    for parent in (os.environ.get("XDG_RUNTIME_DIR"), tempfile.gettempdir(), "/tmp"):  # noqa: S108 - mkdtemp is safe there
        longest = SOCKET_PATH_BYTES_MAX - _NAMES_BYTES_MAX
        if parent and os.access(parent, os.W_OK) and len(os.fsencode(parent)) < longest:
            break
    with tempfile.TemporaryDirectory(prefix="cashy-dev-", dir=parent, ignore_cleanup_errors=True) as name:
        yield Path(name)
