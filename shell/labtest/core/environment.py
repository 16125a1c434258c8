"""The environment as its owner means it: hosts, processes, files, releases, tools. One immutable value.

Law: an :class:`Environment` is what a spec says, after overlays, with every name checked and every group spelt out, and before any template is
rendered. It is never changed: a change makes another one (:mod:`labtest.core.changes`), so what is running is always that which some value
describes, and two of them can be compared. Texts that may hold templates are marked so; :mod:`labtest.core.resolve` renders them into a
:class:`~labtest.core.target.Target`. Processes that know of each other only by name keep the value flat enough to be diffed by eye; a graph of
objects was rejected, since a change of one host would have made a new graph anyway.
"""

from __future__ import annotations

import enum

import msgspec

__all__ = [
    "Environment",
    "FileKind",
    "FileSpec",
    "FileUse",
    "Health",
    "HealthKind",
    "HostKind",
    "HostSpec",
    "OnChange",
    "ProcessSpec",
    "ReleaseSpec",
    "ToolSpec",
    "Value",
]

#: What a variable can be. Templates see it as it is.
Value = str | int | float | bool


class HostKind(enum.StrEnum):
    """How a host is reached, and whether labtest can make it."""

    #: A machine that is reached by ssh, with the operator's own ssh configuration.
    SSH = "ssh"
    #: A host with a systemd of its own in namespaces of this machine, which labtest boots and removes.
    NAMESPACE = "namespace"
    #: This machine, without ssh.
    LOCAL = "local"


class HostSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One host."""

    name: str
    kind: HostKind = HostKind.SSH
    #: What ssh is called with, e.g. ``ops@rack1``; the name, if empty. Meaningless for other kinds.
    ssh: str = ""
    #: Where other hosts of the environment reach it (address or DNS name); the name, if empty. Namespace hosts get one when they are booted.
    address: str = ""
    groups: tuple[str, ...] = ()
    #: Go before those of the environment.
    variables: dict[str, Value] = {}
    #: Whether its agent becomes root by ``sudo -n``. Meaningless where it is root already.
    sudo: bool = False


class OnChange(enum.StrEnum):
    """What a process needs once something it was started with has changed."""

    RESTART = "restart"
    RELOAD = "reload"
    NOTHING = "nothing"


class FileUse(msgspec.Struct, frozen=True, kw_only=True):
    """That a process reads a file, so the file is on its hosts."""

    file: str
    on_change: OnChange = OnChange.RESTART


class FileKind(enum.StrEnum):
    """Where a file's bytes come from."""

    #: A Jinja2 template beside the spec.
    TEMPLATE = "template"
    #: A file beside the spec, as it is.
    COPY = "copy"


class FileSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A file that labtest puts on hosts: those of the processes that use it, and those named here."""

    name: str
    kind: FileKind
    #: The template or the file, relative to the spec's folder.
    source: str
    #: Absolute path on the host. May hold templates.
    path: str
    #: What the source must have (lower-case hex); empty: not checked. Of a template it is the template's, not that of what is made of it.
    sha256: str = ""
    mode: int = 0o644
    owner: str = "root"
    group: str = "root"
    #: Names of hosts that have it whatever runs there.
    hosts: tuple[str, ...] = ()


class HealthKind(enum.StrEnum):
    """What is asked before a process counts as healthy, after systemd calls its unit active."""

    #: Nothing more: ``Type=notify`` units are active only when they serve.
    UNIT = "unit"
    #: A TCP connection to ``target`` (``host:port``) from the process's own host.
    TCP = "tcp"
    #: A GET of ``target`` (an http URL) from the process's own host that is answered 2xx.
    HTTP = "http"
    #: ``command`` on the process's own host ends with status 0.
    COMMAND = "command"


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """A health check."""

    kind: HealthKind = HealthKind.UNIT
    #: May hold templates.
    target: str = ""
    #: Arguments, each of which may hold templates.
    command: tuple[str, ...] = ()
    #: By when it must have passed once.
    timeout_s: float = 30.0
    #: Pause between two tries.
    interval_s: float = 0.2
    #: For how long the unit must then stay active, with the same main process.
    stable_s: float = 0.0


class ProcessSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process, as a systemd unit, on one or more hosts: one instance on each."""

    name: str
    #: Names of hosts, in the order of the spec, without repeats.
    hosts: tuple[str, ...]
    #: Name of the unit, e.g. ``cashy-s3@1.service``. May hold templates.
    unit: str
    #: Template of the unit's file, relative to the spec's folder. Empty: the unit comes with a release, or is on the host already.
    template: str = ""
    #: Names of processes all of whose instances are healthy before an instance of this one starts.
    after: tuple[str, ...] = ()
    #: Names of the releases it runs from; a switch of one restarts it.
    releases: tuple[str, ...] = ()
    files: tuple[FileUse, ...] = ()
    health: Health = Health()
    variables: dict[str, Value] = {}
    start_timeout_s: float = 90.0
    stop_timeout_s: float = 90.0
    #: How many instances may be down at a time while it is restarted by a plan.
    batch_size: int = 1
    #: Hosts on which it is there, and stopped by somebody's wish.
    stopped_on: tuple[str, ...] = ()
    #: How ``debug`` looks into it first: ``py-spy``, ``gdb``, ``pdb`` or ``strace``.
    debug: str = "py-spy"


class ReleaseSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Something installed on hosts in versions side by side: ``<folder>/<version>/``, with a link ``<folder>/current`` to the one in use."""

    name: str
    #: May hold templates.
    version: str
    #: Files and folders beside the spec that are copied to ``<folder>/<version>.source/``, by their shell patterns. May hold templates.
    source: tuple[str, ...]
    #: Run as root in that folder once; ``{target}`` is where to install to. Arguments may hold templates. Empty: the copy itself is what is used.
    install: tuple[str, ...] = ()
    #: Absolute.
    folder: str
    #: Run after each switch (e.g. ``systemctl daemon-reload`` for units that come with it, ``systemd-sysusers``).
    after_switch: tuple[tuple[str, ...], ...] = ()
    #: Names of hosts that have it whatever runs there.
    hosts: tuple[str, ...] = ()
    install_timeout_s: float = 300.0


class ToolSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A program that people start from the shell, with the environment's addresses filled in."""

    name: str
    #: Arguments, each of which may hold templates; what the user types is added.
    run: tuple[str, ...]
    #: Name of the host where it runs; empty: on this machine.
    host: str = ""
    #: May hold templates.
    env: dict[str, str] = {}
    help: str = ""


class Environment(msgspec.Struct, frozen=True, kw_only=True):
    """All of it. Lists are in the order of the spec; names are unique in their list and match ``[a-z0-9][a-z0-9-]*``."""

    name: str
    hosts: tuple[HostSpec, ...]
    processes: tuple[ProcessSpec, ...] = ()
    files: tuple[FileSpec, ...] = ()
    releases: tuple[ReleaseSpec, ...] = ()
    tools: tuple[ToolSpec, ...] = ()
    variables: dict[str, Value] = {}
    #: Group to names of hosts.
    groups: dict[str, tuple[str, ...]] = {}
    description: str = ""
