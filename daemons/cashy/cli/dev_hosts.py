"""The hosts that ``cashy dev`` runs: what is each one's own, how its daemons are started, and what it leaves behind.

Law: a host is its parameters, those of the command line with its own names, socket and ports put in; its daemons get
them as options, as an operator would write them, so there is no second way into a daemon. Secrets pass by path only.
Ports are reserved for as long as the hosts run, so what the ready line says stays true when a daemon is restarted.
"""

from __future__ import annotations

import os
import secrets
import socket
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

from cashy.cli.daemons import socket_answers
from cashy.cli.options import command_line_of
from cashy.cli.ports import listening, reserved_address, shifted
from cashy.errors import ConfigError
from cashy.setting_values import Address
from cashy.settings import SOCKET_PATH_BYTES_MAX, Settings
from hostkit.log import get_logger
from hostkit.supervisor import Child

__all__ = ["HOSTS_MAX", "DevHost", "plan_hosts"]

#: More would share one machine's cores and memory to no use; each is two processes or more.
HOSTS_MAX = 64

#: The family under which a master keeps its shared memory (/dev/shm/cashy.<uid>.<instance>…).
SHARED_MEMORY_FAMILY = "cashy"

_ANY_PORT = Address("127.0.0.1:0")
_KEY_BYTES = 32


@dataclass(eq=False)
class DevHost:
    """One host: its parameters, as the command line would have them, and its daemons once they are started."""

    name: str
    parameters: dict[str, Any]
    metrics_of_workers: list[Address]
    #: One for each worker on the endpoint's address. They stay while a worker is restarted, so nobody is refused meanwhile.
    listeners: list[socket.socket]
    is_alone: bool = True
    has_tls: bool = False
    master: Child | None = None
    workers: list[Child] = field(default_factory=list)

    @property
    def socket(self) -> Path:
        """The master's socket."""
        return Path(self.parameters["instance__socket"])

    @property
    def instance(self) -> str:
        """Name of the instance."""
        return str(self.parameters["instance__name"])

    def make_master(self, environment: Mapping[str, str]) -> Child:
        """The master, to be started first."""
        self.master = Child(f"cashy master{self._of}", self._arguments("master"), environment)
        return self.master

    def make_workers(self, environment: Mapping[str, str]) -> list[Child]:
        """The S3 workers, to be started when the master serves; in the end they stop before it."""
        self.workers = [
            Child(
                f"cashy s3 ({number}){self._of}",
                self._arguments("s3", metrics__s3=str(metrics)),
                environment,
                leans_on=self.master,
                listeners=[self.listeners[number - 1]],
            )
            for number, metrics in enumerate(self.metrics_of_workers, 1)
        ]
        return self.workers

    @property
    def _of(self) -> str:
        """Which host's daemon it is, where that is a question."""
        return "" if self.is_alone else f" of {self.name}"

    def _arguments(self, command: str, **own: str) -> list[str]:
        parameters = {**self.parameters, **own}
        return [sys.executable, "-m", "cashy", *command_line_of(command, parameters["config"], parameters)]

    def s3_url(self) -> str | None:
        """The endpoint, None if there are no workers."""
        if not self.workers:
            return None
        scheme = "https" if self.has_tls else "http"
        return f"{scheme}://{self.workers[0].notified.get('X_CASHY_S3', self.parameters['s3__listen'])}"

    def report(self) -> dict[str, object]:
        """The host's entry in the ready line: addresses as the daemons themselves have told them."""
        assert self.master is not None
        assert self.master.process is not None
        return {
            "name": self.name,
            "s3": self.s3_url(),
            "socket": str(self.socket),
            "peer": self.master.notified.get("X_CASHY_PEER"),
            "metrics": {
                "master": _metrics_url(self.master),
                "s3": [_metrics_url(worker) for worker in self.workers],
            },
            "master_pid": self.master.process.pid,
        }


def _metrics_url(child: Child) -> str | None:
    address = child.notified.get("X_CASHY_METRICS")
    return f"http://{address}/metrics" if address else None


# ---------------------------------------------------------------- what is each host's own


def plan_hosts(
    count: int, settings: Settings, parameters: Mapping[str, Any], folder: Path, stack: ExitStack
) -> list[DevHost]:
    """Gives ``count`` hosts their names, sockets and ports, and makes one cluster of them if they are several.

    ``settings`` are what ``parameters`` mean, with the first host's instance name and socket; ``folder`` is
    private. Ports are held, and what the hosts leave is removed, until ``stack`` is closed. Raises
    ConfigError.
    """
    if count > 1 and (settings.peers or settings.cluster.host is not None):
        raise ConfigError(
            "--hosts makes a cluster of its own, but there are peers or a cluster.host already: "
            "leave out --hosts, or [[peer]], --peer, cluster.host and --cluster-host"
        )
    hosts = [_plan_host(index, count, settings, parameters, stack) for index in range(count)]
    if count > 1:
        _join(hosts, settings, folder, stack)
    for host in hosts:
        stack.enter_context(_leftovers_removed(host))
    return hosts


def _plan_host(
    index: int, count: int, settings: Settings, parameters: Mapping[str, Any], stack: ExitStack
) -> DevHost:
    instance, workers = settings.instance, settings.s3.workers
    alone = count == 1
    own: dict[str, Any] = {
        "instance__name": instance.name if alone else f"{instance.name}-{index + 1}",
        "instance__socket": str(instance.socket) if alone else f"{instance.socket}.{index + 1}",
        "instance__remove_on_exit": True,
    }
    if len(os.fsencode(own["instance__socket"])) > SOCKET_PATH_BYTES_MAX:
        raise ConfigError(
            f"the path {own['instance__socket']} is longer than the {SOCKET_PATH_BYTES_MAX} bytes "
            "a socket's may have; choose a shorter --socket"
        )
    listeners: list[socket.socket] = []
    if workers:
        address = stack.enter_context(
            reserved_address(shifted(settings.s3.listen, index), "choose another with --s3 HOST:PORT")
        )
        own["s3__listen"] = str(address)
        listeners = [stack.enter_context(listening(address)) for _ in range(workers)]
    if settings.disks and not alone:
        # One folder has one owner. A file's list is replaced whole, its other settings of disks with it; so what it says of them is for one host.
        own["disk"] = tuple(
            f"{disk.path}/{own['instance__name']}={disk.size_bytes}" for disk in settings.disks
        )
        for disk in settings.disks:
            disk.path.mkdir(exist_ok=True)
    metrics = settings.metrics
    own["metrics__master"] = str(_metrics_address(metrics.master, index, "master", stack))
    return DevHost(
        settings.cluster.host or f"host{index + 1}",
        {**parameters, **own},
        [_metrics_address(metrics.s3, index * workers + place, "s3", stack) for place in range(workers)],
        listeners,
        alone,
        settings.s3.tls_certificate is not None,
    )


def _metrics_address(configured: Address | None, place: int, key: str, stack: ExitStack) -> Address:
    advice = f"choose another in metrics.{key}"
    return stack.enter_context(reserved_address(shifted(configured or _ANY_PORT, place), advice))


def _join(hosts: list[DevHost], settings: Settings, folder: Path, stack: ExitStack) -> None:
    """Makes one cluster of the hosts, each with an equal share."""
    listen = settings.cluster.listen or _ANY_PORT
    advice = "choose another with --cluster-listen HOST:PORT"
    addresses = [
        stack.enter_context(reserved_address(shifted(listen, index), advice)) for index in range(len(hosts))
    ]
    peers = tuple(f"{host.name}={address}" for host, address in zip(hosts, addresses, strict=True))
    security = _secured(hosts, settings, folder)
    for host in hosts:
        host.parameters |= {
            **security[host.name],
            "cluster__host": host.name,
            "cluster__listen": None,  # each listens where its peers look for it
            "peer": peers,
        }


def _secured(hosts: list[DevHost], settings: Settings, folder: Path) -> dict[str, dict[str, Any]]:
    """By host, how it proves itself: with a certificate of an authority that ends with the folder, or (if it was asked for) by the key alone."""
    cluster = settings.cluster
    if any((cluster.tls_certificate, cluster.tls_key, cluster.tls_ca)):
        raise ConfigError(
            "--hosts makes certificates of its own, one for each host: leave out cluster.tls_certificate, tls_key and tls_ca"
        )
    if cluster.insecure:
        key_file = cluster.key_file or _write_key(folder / "cluster.key")
        return {host.name: {"cluster__key_file": str(key_file)} for host in hosts}
    from cashy.cli.ca_folder import AuthorityFolder  # with cryptography, which one host does not need

    now = datetime.now(UTC)
    authority = AuthorityFolder.create(folder / "ca", cluster.name, now)
    secured: dict[str, dict[str, Any]] = {}
    for host in hosts:
        authority.issue(host.name, now)
        certificate, key = authority.files_of(host.name)
        secured[host.name] = {
            "cluster__tls_certificate": str(certificate),
            "cluster__tls_key": str(key),
            "cluster__tls_ca": str(authority.authorities),
        }
    authority.close()
    return secured


def _write_key(path: Path) -> Path:
    descriptor = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "w", encoding="ascii") as file:
        file.write(secrets.token_hex(_KEY_BYTES) + "\n")
    return path


@contextmanager
def _leftovers_removed(host: DevHost) -> Iterator[None]:
    """Removes what a master left behind that could not do so itself, because it was killed."""
    try:
        yield
    finally:
        from shmipc.errors import ShmError
        from shmipc.instance import Instance

        instance = Instance(SHARED_MEMORY_FAMILY, host.instance)
        if instance.folder.exists():
            try:
                instance.acquire()
                instance.remove()
            except ShmError as error:
                get_logger(program="cashy dev").warning("shared memory was not removed", error=str(error))
            finally:
                instance.close()
        path = host.socket
        if path.is_socket() and not socket_answers(
            path
        ):  # one that answers is another host's, which was in our way
            path.unlink(missing_ok=True)
