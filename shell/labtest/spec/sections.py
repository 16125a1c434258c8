"""The shape of a spec: one class for each kind of table. What a key means is the comment above it, which the reference page shows too."""

from __future__ import annotations

import enum

import msgspec

from labtest.core.environment import HealthKind, HostKind, OnChange, Value

__all__ = [
    "Debugger",
    "FileSection",
    "FileUseSection",
    "HealthSection",
    "HostSection",
    "ProcessSection",
    "ReleaseSection",
    "Spec",
    "ToolSection",
]


class Debugger(enum.StrEnum):
    """How ``debug`` looks into a process first."""

    PY_SPY = "py-spy"
    GDB = "gdb"
    PDB = "pdb"
    STRACE = "strace"


class HostSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[hosts.NAME]``, or ``[hosts."NAME[1-3]"]`` for several that are alike."""

    #: `ssh`: a machine reached by ssh; `namespace`: a host that labtest boots on this machine; `local`: this machine.
    kind: HostKind = HostKind.SSH
    #: What ssh is called with, such as `"ops@rack1"`; the name, if left out. `{{ name }}` and `{{ number }}` (of a range) are filled in.
    ssh: str = ""
    #: Where other hosts reach it; the name, if left out (namespace hosts get one when they are booted). Filled in like `ssh`.
    address: str = ""
    #: Groups it is in. They need not be declared.
    groups: tuple[str, ...] = ()
    #: Variables for this host alone; they go before those of the environment.
    variables: dict[str, Value] = {}
    #: Whether the agent becomes root by `sudo -n`.
    sudo: bool = False


class HealthSection(msgspec.Struct, frozen=True, kw_only=True):
    """``health = { … }`` of a process: when it counts as healthy, after systemd calls it active."""

    #: `unit`: nothing more is asked; `tcp`: `target` takes connections; `http`: `target` answers 2xx; `command`: `command` ends with status 0.
    kind: HealthKind = HealthKind.UNIT
    #: `HOST:PORT` or an `http://` URL, asked from the process's own host. A template.
    target: str = ""
    #: Arguments of the command, run on the process's own host. Templates.
    command: tuple[str, ...] = ()
    #: By when it must have passed once.
    timeout_s: float = 30.0
    #: Pause between two tries.
    interval_s: float = 0.2
    #: For how long the unit must then stay active, with the same main process.
    stable_s: float = 0.0


class FileUseSection(msgspec.Struct, frozen=True, kw_only=True):
    """An entry of a process's ``files`` that says more than a name."""

    #: Name of the file, from `[files.NAME]`.
    file: str
    #: What the process needs when the file has changed: `restart`, `reload` or `nothing`.
    on_change: OnChange = OnChange.RESTART


class ProcessSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[processes.NAME]``: a systemd unit, with one instance on each of its hosts."""

    #: Names of hosts, `@group`, `@all`, patterns (`cache*`), ranges (`cache[1-3]`), `!` before any of them takes out again. The first is its address.
    hosts: tuple[str, ...]
    #: Name of the unit, such as `"cashy-s3@1.service"`; `NAME.service`, if left out. A template.
    unit: str = ""
    #: Template of the unit's file, beside the spec. Left out: the unit comes with a release, or is there already.
    template: str = ""
    #: Processes all of whose instances are healthy before one of this starts.
    after: tuple[str, ...] = ()
    #: Releases that it runs from; another version or build restarts it.
    releases: tuple[str, ...] = ()
    #: Files that it reads: names, or `{ file = "keys", on_change = "reload" }`.
    files: tuple[str | FileUseSection, ...] = ()
    #: When it counts as healthy.
    health: HealthSection = HealthSection()
    #: Variables for this process alone; they go before all others.
    variables: dict[str, Value] = {}
    #: By when a start must have ended.
    start_timeout_s: float = 90.0
    #: By when a stop must have ended.
    stop_timeout_s: float = 90.0
    #: How many instances may be down at a time while a plan restarts it.
    batch_size: int = 1
    #: How `debug` looks into it first: `py-spy`, `gdb`, `pdb` or `strace`.
    debug: Debugger = Debugger.PY_SPY


class FileSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[files.NAME]``: a file on the hosts of the processes that use it. Either ``template`` or ``copy`` says what is in it."""

    #: A Jinja2 template beside the spec.
    template: str = ""
    #: A file beside the spec that is taken as it is.
    copy: str = ""
    #: Absolute path on the host. A template.
    path: str
    #: Owner on the host, by name or number.
    owner: str = "root"
    #: Group on the host, by name or number.
    group: str = "root"
    #: Permissions, as text with octal digits.
    mode: str = "0644"
    #: Checksum that the template or copied file beside the spec must have. Left out: not checked.
    sha256: str = ""
    #: Hosts that have it whatever runs there, as in a process's `hosts`.
    hosts: tuple[str, ...] = ()


class ReleaseSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[releases.NAME]``: something that is installed in versions side by side, with a link ``FOLDER/current`` to the one in use."""

    #: Name of the version. A template.
    version: str
    #: Files and folders beside the spec, by shell patterns; they are copied under their own names. Templates; `{{ release.version }}` is the version.
    source: tuple[str, ...]
    #: Command that installs, run where the source was copied to. `{target}` is the folder to install to. Left out: the copy is used. Templates.
    install: tuple[str, ...] = ()
    #: Folder on the host; `/opt/NAME`, if left out.
    folder: str = ""
    #: Commands run after each switch to another version.
    after_switch: tuple[tuple[str, ...], ...] = ()
    #: Hosts that have it whatever runs there, as in a process's `hosts`.
    hosts: tuple[str, ...] = ()
    #: By when the installation must have ended.
    install_timeout_s: float = 300.0


class ToolSection(msgspec.Struct, frozen=True, kw_only=True):
    """``[tools.NAME]``: a program that people start from the shell, with the environment's addresses filled in."""

    #: The program and its arguments; what the user types comes behind. Templates.
    run: tuple[str, ...]
    #: Name of the host where it runs. Left out: this machine.
    host: str = ""
    #: Environment variables. Templates.
    env: dict[str, str] = {}
    #: What it is for, in a few words.
    help: str = ""


class Spec(msgspec.Struct, frozen=True, kw_only=True):
    """A spec, and an overlay too, where everything may be left out."""

    #: Name of the environment. Hosts remember by it what belongs to whom.
    name: str
    #: What it is for, in a few words.
    description: str = ""
    #: Values for templates: text, numbers, `true` and `false`.
    variables: dict[str, Value] = {}
    #: Tables `[hosts.NAME]`; at least one.
    hosts: dict[str, HostSection]
    #: Groups whose hosts are listed in one place: `cache = ["cache[1-3]", "spare"]`. Hosts can also say it themselves.
    groups: dict[str, tuple[str, ...]] = {}
    #: Tables `[processes.NAME]`.
    processes: dict[str, ProcessSection] = {}
    #: Tables `[files.NAME]`.
    files: dict[str, FileSection] = {}
    #: Tables `[releases.NAME]`.
    releases: dict[str, ReleaseSection] = {}
    #: Tables `[tools.NAME]`.
    tools: dict[str, ToolSection] = {}
