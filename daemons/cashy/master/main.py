"""The master's process: start, serve until SIGTERM or SIGINT, end."""

from __future__ import annotations

import asyncio
import gc
import resource
import signal
import sys
from collections.abc import Callable

import structlog
import uvloop

from cashy.errors import CannotStart, ConfigError
from cashy.limits import DESCRIPTORS_WANTED, SWITCH_INTERVAL_S
from cashy.master.client_accounts import allowed_clients
from cashy.master.cluster import make_cluster
from cashy.master.host import Host, make_origins
from cashy.master.membership import HostMemory, Membership, hosts_source
from cashy.master.server import ClientServer
from cashy.metrics.daemon import metrics_served
from cashy.peer.server import PeerServer
from cashy.reloading import Reloading
from cashy.setting_values import Address
from cashy.settings import Settings
from hostkit.heartbeat import Heartbeat
from hostkit.notify import notify
from shmipc.errors import ShmError, UnsupportedFence
from shmipc.fence import fence_readers, is_supported
from shmipc.instance import Instance

__all__ = ["INSTANCE_FAMILY", "run"]

#: First part of the names of this daemon family's shared memory.
INSTANCE_FAMILY = "cashy"

_log = structlog.get_logger("cashy.master")


def run(settings: Settings, load_again: Callable[[], Settings] | None = None) -> int:
    """Runs the master until it is told to stop; returns the exit code. Raises ``ConfigError`` if it cannot start.

    ``load_again`` reads the settings once more, for SIGHUP; without it they stay as they are.
    """
    if not settings.origins:
        raise ConfigError(
            "no origin is configured: add an [[origin]] table, or --origin s3=URL or --origin file=DIR"
        )
    _check_fence()
    # The loop shares the interpreter with the threads that read files; by default one of them may keep it waiting for 5 ms.
    sys.setswitchinterval(SWITCH_INTERVAL_S)
    _want_descriptors()
    instance = Instance(INSTANCE_FAMILY, settings.instance.name)
    try:
        instance.acquire()
    except ShmError as error:
        raise CannotStart(str(error)) from error
    try:
        return uvloop.run(_serve(settings, instance, load_again or (lambda: settings)))
    except ShmError as error:
        raise CannotStart(str(error)) from error
    finally:
        if settings.instance.remove_on_exit:
            instance.remove()
        instance.close()


def _check_fence() -> None:
    """The owner's half of the pin protocol must work, or clients could be given what is being overwritten."""
    if not is_supported():
        return  # then no client registers, and all work on copies
    try:
        fence_readers()
    except UnsupportedFence as error:
        raise CannotStart(f"membarrier(2) is offered but fails: {error}") from error


def _want_descriptors() -> None:
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = DESCRIPTORS_WANTED if hard == resource.RLIM_INFINITY else min(DESCRIPTORS_WANTED, hard)
    if soft != resource.RLIM_INFINITY and soft < wanted:
        resource.setrlimit(resource.RLIMIT_NOFILE, (wanted, hard))


async def _serve(settings: Settings, instance: Instance, load_again: Callable[[], Settings]) -> int:
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    source = hosts_source(settings)
    memory = HostMemory(instance.folder)
    cluster = make_cluster(settings, memory.first_list(source))
    host = Host(settings, instance, await make_origins(settings.origins), cluster)
    if source is not None and host.coherence is not None:
        host.membership = Membership(source, host.coherence, memory, host.counters)
    server = ClientServer(
        host,
        settings.instance.socket,
        int(settings.instance.socket_mode, 8),
        allowed_clients(settings.instance),
    )
    host.clients = lambda: len(server.connections)

    def apply(settings: Settings) -> None:
        host.reload(settings)
        server.apply(settings.instance)

    reloading = Reloading("master", settings, load_again, apply, _log)
    heartbeat = Heartbeat(lambda: host.status_line() + reloading.note())
    try:
        server.start()
        host.start()
        addresses = _listen_for_peers(host)
        async with metrics_served(
            settings.metrics.master, "master", host.all_counters,
            instance=settings.instance.name, host=settings.cluster.host or "",
        ) as metrics_at:  # fmt: skip
            _say_ready(host, addresses | metrics_at)
            loop.add_signal_handler(signal.SIGHUP, reloading)
            beating = loop.create_task(heartbeat.run())
            await stop.wait()
            beating.cancel()
        notify(STOPPING="1")
        _log.info("stopping")
        await host.leave()
    finally:
        server.close()
        await host.close()
        host.store.close()
    return 0


def _say_ready(host: Host, addresses: dict[str, str]) -> None:
    # What lives now lives until the end: keep it out of every collection.
    gc.collect()
    gc.freeze()
    arena = host.store.arena
    _log.info(
        "ready",
        socket=str(host.settings.instance.socket),
        arena=arena.segment.name,
        memory=arena.geometry.data_bytes,
        **{key.removeprefix("X_CASHY_").lower(): address for key, address in addresses.items()},
    )
    notify(READY="1", STATUS=host.status_line(), **addresses)


def _listen_for_peers(host: Host) -> dict[str, str]:
    """Opens the peer endpoint if there is a cluster; returns what to notify: the address as bound. Raises ``ConfigError``."""
    cluster = host.cluster
    if cluster is None:
        return {}
    own = cluster.hosts.get(cluster.own_name)
    listen = host.settings.cluster.listen or (own.address if own is not None else None)
    if listen is None:
        _log.warning("not_in_the_list_of_hosts", version=cluster.host_list.version)
        return {}
    server = PeerServer(
        host.for_peers,
        identity=cluster.identity,
        hosts=cluster.peers,
        checksums=host.checksums,
        tls=cluster.tls,
    )
    try:
        server.listen(listen.host, listen.port)
    except OSError as error:
        raise CannotStart(
            f"cannot listen for other hosts on {listen}: {error.strerror or error}; cluster.listen names another address"
        ) from error
    host.peer_server = server
    return {"X_CASHY_PEER": Address.of(server.address)}
