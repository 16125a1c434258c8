"""Settings of cashy's daemons: from one table come parsing, the command line and the reference page.

Law: a setting is declared once, in :mod:`cashy.setting_sections`; this module gives the table's rows
(:func:`setting_fields`) and loads by it. Loading is strict, since a misspelt key that is silently ignored
runs a daemon with other limits than its operator believes: whatever is not understood is a
:class:`~cashy.errors.ConfigError` that names file and line (or the option), and what was probably meant.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import msgspec

from cashy.cluster_security import InsecureSettings, check_cluster_security
from cashy.errors import ConfigError
from cashy.setting_sections import (
    DEFAULT_SOCKET_PATH,
    ClusterSettings,
    DirectoryOriginSettings,
    DiskSettings,
    FreshnessSettings,
    InstanceSettings,
    LimitsSettings,
    LogSettings,
    MemorySettings,
    MetricsSettings,
    OriginSettings,
    PeerSettings,
    S3OriginSettings,
    S3Settings,
    Settings,
)
from cashy.setting_values import Address, BlockSize, ByteSize, HttpUrl, format_size, parse_value
from hostkit.toml_lines import KeyPath, line_of

__all__ = [
    "ARENA_BLOCKS_MIN",
    "SOCKET_PATH_BYTES_MAX",
    "DEFAULT_CONFIG_PATH",
    "DEFAULT_SOCKET_PATH",
    "DISKS_MAX",
    "DISK_BLOCKS_MIN",
    "PEERS_MAX",
    "ClusterSettings",
    "DirectoryOriginSettings",
    "DiskSettings",
    "FreshnessSettings",
    "InstanceSettings",
    "LimitsSettings",
    "LogSettings",
    "MemorySettings",
    "MetricsSettings",
    "OptionError",
    "OriginSettings",
    "PeerSettings",
    "S3OriginSettings",
    "S3Settings",
    "SettingField",
    "Settings",
    "check_peers",
    "explain_mismatch",
    "load_settings",
    "parse_disk_option",
    "parse_origin_option",
    "parse_peer_option",
    "setting_fields",
]

DEFAULT_CONFIG_PATH = "/etc/aviary/cashy.toml"

#: With fewer blocks one demand window would fill the arena, and every fetch wait for another's eviction.
ARENA_BLOCKS_MIN = 4
#: sockaddr_un holds 108 bytes, the last a NUL; a longer path cannot be bound.
SOCKET_PATH_BYTES_MAX = 107
#: Each has threads of its own, and a block is looked for on one after the other.
DISKS_MAX = 16
#: With fewer blocks it would hold nothing long enough to be of use.
DISK_BLOCKS_MIN = 16
#: Placement of blocks is cheap and well spread up to here (docs/placement.md); the list is walked at every start.
PEERS_MAX = 1024


class OptionError(ConfigError):
    """A setting is wrong that the command line gave, not the file."""


# ---------------------------------------------------------------- the table, read


class SettingField(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, for option lists and reference pages."""

    section: str  # as in the file: "memory", or "origin" for [[origin]]; "" for the lists themselves
    key: str
    origin_kind: str = ""  # "s3" or "directory" within [[origin]]
    default: object
    required: bool
    type_name: str
    choices: tuple[str, ...] = ()
    unit: str
    help_text: str
    option: str
    commands: tuple[str, ...]
    is_live: bool  # applied by a running daemon at SIGHUP

    @property
    def path(self) -> str:
        """``memory.size``, the key under which :func:`load_settings` takes an override."""
        return f"{self.section}.{self.key}" if self.section else self.key

    @property
    def header(self) -> str:
        """What stands above the setting in the file: ``[memory]``, ``[[peer]]``, or nothing."""
        return f"[[{self.section}]]" if self.section in _LISTS else f"[{self.section}]" * bool(self.section)


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "instance": InstanceSettings,
    "memory": MemorySettings,
    "limits": LimitsSettings,
    "freshness": FreshnessSettings,
    "s3": S3Settings,
    "cluster": ClusterSettings,
    "metrics": MetricsSettings,
    "log": LogSettings,
}
_ORIGIN_KINDS: dict[str, type[S3OriginSettings] | type[DirectoryOriginSettings]] = {
    "s3": S3OriginSettings,
    "directory": DirectoryOriginSettings,
}
#: Lists of tables, as in [[origin]].
_LISTS = ("origin", "peer", "disk")


def setting_fields() -> Iterator[SettingField]:
    """Gives every setting in the order of the file; those of ``[[origin]]`` per kind; the lists themselves last."""
    for section, struct in _SECTIONS.items():
        yield from _fields_of(struct, section, "")
    for kind, struct in _ORIGIN_KINDS.items():
        yield from _fields_of(struct, "origin", kind)
    yield from _fields_of(PeerSettings, "peer", "")
    yield from _fields_of(DiskSettings, "disk", "")
    yield from (field for field in _fields_of(Settings, "", "") if field.key in _LISTS)


def _fields_of(struct: type[msgspec.Struct], section: str, kind: str) -> Iterator[SettingField]:
    info = msgspec.inspect.type_info(struct)
    assert isinstance(info, msgspec.inspect.StructType)
    for field in info.fields:
        if not isinstance(field.type, msgspec.inspect.Metadata):
            continue
        extra = field.type.extra or {}
        yield SettingField(
            section=section,
            key=field.encode_name,
            origin_kind=kind,
            default=None if field.required else field.default,
            required=field.required,
            type_name=_type_name(field.type.type),
            choices=tuple(map(str, getattr(field.type.type, "values", ()))),
            help_text=(field.type.extra_json_schema or {})["description"],
            **extra,
        )


_TYPE_NAMES: dict[type, str] = {
    ByteSize: "size",
    BlockSize: "size",
    Address: "address",
    HttpUrl: "URL",
    Path: "path",
}


def _type_name(described: msgspec.inspect.Type) -> str:
    match described:
        case msgspec.inspect.CustomType(cls=cls):
            return _TYPE_NAMES[cls]
        case msgspec.inspect.UnionType(types=types):
            return next(_type_name(t) for t in types if not isinstance(t, msgspec.inspect.NoneType))
        case msgspec.inspect.BoolType():
            return "true or false"
        case msgspec.inspect.IntType():
            return "whole number"
        case msgspec.inspect.FloatType():
            return "number"
        case msgspec.inspect.VarTupleType():
            return "list"
        case _:
            return "text"


# ---------------------------------------------------------------- loading


def load_settings(
    config_path: Path | None = None,
    overrides: Mapping[str, object] | None = None,
    environ: Mapping[str, str] = os.environ,
) -> Settings:
    """Reads a TOML file (None: no file), replaces what the command line gives, and checks the whole.

    ``overrides`` maps a setting's path (``"memory.size"``; ``"origin"``, ``"peer"`` for a whole list) to a value
    as the file would have it. ``$CASHY_SOCKET`` replaces the default socket, but neither the file's nor the
    command line's. Raises ConfigError.
    """
    source = _Source.read(config_path)
    for path, value in (overrides or {}).items():
        source.override(path, value)
    instance = source.data.setdefault("instance", {})
    if isinstance(instance, dict) and environ.get("CASHY_SOCKET"):
        instance.setdefault("socket", environ["CASHY_SOCKET"])
    _check_keys(source)
    try:
        settings = msgspec.convert(source.data, Settings, dec_hook=parse_value)
    except msgspec.ValidationError as error:
        raise source.error(*explain_mismatch(str(error))) from None
    _check_together(settings, source)
    return settings


def parse_origin_option(text: str) -> dict[str, object]:
    """Reads ``s3=URL``, ``s3-anonymous=URL`` or ``file=DIRECTORY`` into the table of ``[[origin]]``; raises ValueError."""
    kind, separator, place = text.partition("=")
    if not separator or not place or kind not in ("s3", "s3-anonymous", "file"):
        raise ValueError(f"{text!r} is no origin; write s3=URL, s3-anonymous=URL or file=DIRECTORY")
    if kind != "file":
        return {"kind": "s3", "url": HttpUrl.parse(place), "anonymous": kind == "s3-anonymous"}
    return {"kind": "directory", "path": str(Path(place).absolute())}


def parse_peer_option(text: str) -> dict[str, object]:
    """Reads ``NAME=HOST:PORT`` or ``NAME=HOST:PORT,WEIGHT`` into the table of ``[[peer]]``; raises ValueError."""
    name, _, place = text.partition("=")
    address, comma, weight = place.partition(",")
    try:
        table: dict[str, object] = {"name": name, "address": Address.parse(address)}
        return {**table, "weight": float(weight)} if comma else table
    except ValueError:
        raise ValueError(f"{text!r} is no peer; write NAME=HOST:PORT or NAME=HOST:PORT,WEIGHT") from None


def parse_disk_option(text: str) -> dict[str, object]:
    """Reads ``DIR=SIZE`` into the table of ``[[disk]]``; raises ValueError."""
    place, _, size = text.rpartition("=")
    try:
        if place:
            return {"path": str(Path(place).absolute()), "size": ByteSize.parse(size)}
    except ValueError:
        pass
    raise ValueError(f"{text!r} is no disk; write DIR=SIZE, as in /mnt/nvme/cashy=500GiB")


class _Source:
    """What was read and from where, so that errors can point to it."""

    def __init__(self, config_path: Path | None, text: str, data: dict[str, Any]) -> None:
        self.config_path = config_path
        self.text = text
        self.data = data
        self.overridden: set[str] = set()

    @classmethod
    def read(cls, config_path: Path | None) -> _Source:
        if config_path is None:
            return cls(None, "", {})
        try:
            text = config_path.read_text(encoding="utf-8")
            return cls(config_path, text, tomllib.loads(text))
        except OSError as error:
            raise ConfigError(f"cannot read the configuration {config_path}: {error.strerror}") from None
        except UnicodeDecodeError:
            raise ConfigError(f"{config_path}: the configuration is not UTF-8 text") from None
        except tomllib.TOMLDecodeError as error:
            line = re.search(r"at line (\d+)", str(error))
            raise ConfigError(f"{config_path}:{line[1] if line else 1}: not valid TOML: {error}") from None

    def override(self, path: str, value: object) -> None:
        section, _, key = path.rpartition(".")
        table = self.data.setdefault(section, {}) if section else self.data
        if isinstance(table, dict):  # what else stands there is reported as an error of the file
            table[key] = value
            self.overridden.add(path)

    def error(self, path: KeyPath, message: str) -> ConfigError:
        dotted = ".".join(str(part) for part in path[:2] if isinstance(part, str))
        if dotted in self.overridden:
            option = next(field.option for field in setting_fields() if field.path == dotted)
            return OptionError(f"{option}: {message.removeprefix(f'{dotted}: ')}")
        if self.config_path is None:
            return ConfigError(message)
        return ConfigError(f"{self.config_path}:{line_of(self.text, path) or 1}: {message}")


def _check_keys(source: _Source) -> None:
    """Refuses unknown sections, keys and kinds of origin, naming the nearest known one."""
    _check_table(source, (), source.data, [*_SECTIONS, *_LISTS], "section")
    for section, struct in _SECTIONS.items():
        table = source.data.get(section)
        if isinstance(table, dict):
            _check_table(source, (section,), table, _keys_of(struct), "key")
    for name, struct in (("peer", PeerSettings), ("disk", DiskSettings)):
        for place, table in _tables_of(source, name):
            _check_table(source, place, table, _keys_of(struct), "key")
    for place, table in _tables_of(source, "origin"):
        if "kind" not in table:
            continue
        if table["kind"] not in _ORIGIN_KINDS:
            raise source.error(
                (*place, "kind"), f'unknown kind {table["kind"]!r} of [[origin]]; write "s3" or "directory"'
            )
        _check_table(source, place, table, ["kind", *_keys_of(_ORIGIN_KINDS[table["kind"]])], "key")


def _tables_of(source: _Source, name: str) -> Iterator[tuple[KeyPath, dict[str, Any]]]:
    """The tables of a list and their places; what is no table is left to the conversion to refuse."""
    tables = source.data.get(name, ())
    for index, table in enumerate(tables if isinstance(tables, (list, tuple)) else ()):
        if isinstance(table, dict):
            yield (name, index), table


def _check_table(
    source: _Source, place: KeyPath, table: Mapping[str, Any], known: list[str], what: str
) -> None:
    for key in table:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
        header = f" in [{place[0]}]" if len(place) == 1 else f" in [[{place[0]}]]" if place else ""
        raise source.error((*place, key), f'unknown {what} "{key}"{header}; {hint}')


def _keys_of(struct: type[msgspec.Struct]) -> list[str]:
    return list(struct.__struct_encode_fields__)


def explain_mismatch(text: str) -> tuple[KeyPath, str]:
    """Splits msgspec's ``Expected `int` <= 3 - at `$.limits.clients_max` `` into the place and a sentence."""
    message, _, place = text.partition(" - at `$")
    path: list[str | int] = [
        int(index) if index else name for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    ]
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if len(path) == 1 and path[0] in _LISTS:
        message = f"expected a list of tables; write [[{path[0]}]] with double brackets"
    message = message.replace("`object`", "a table").replace("`array`", "a list").replace("`", "")
    return tuple(path), f"{dotted}: {message[:1].lower()}{message[1:]}" if dotted else message


def _check_together(settings: Settings, source: _Source) -> None:
    """What no field can say alone."""
    if len(os.fsencode(settings.instance.socket)) > SOCKET_PATH_BYTES_MAX:
        raise source.error(
            ("instance", "socket"),
            f"instance.socket: the path is longer than the {SOCKET_PATH_BYTES_MAX} bytes a socket's may have",
        )
    _check_memory(settings.memory, source)
    _check_disks(settings, source)
    _check_tls(settings.s3, source)
    _check_origins(settings.origins, source)
    check_peers(settings.peers, source.error)
    _check_cluster(settings, source)


def _check_memory(memory: MemorySettings, source: _Source) -> None:
    if memory.size_bytes < ARENA_BLOCKS_MIN * memory.block_bytes:
        size, block, least = map(
            format_size, (memory.size_bytes, memory.block_bytes, ARENA_BLOCKS_MIN * memory.block_bytes)
        )
        raise source.error(
            ("memory", "size"),
            f"memory.size: {size} is too little for blocks of {block}; give {least} or more",
        )


def _check_disks(settings: Settings, source: _Source) -> None:
    if len(settings.disks) > DISKS_MAX:
        raise source.error(
            ("disk", DISKS_MAX), f"{len(settings.disks)} disks are too many; {DISKS_MAX} are the limit"
        )
    least = DISK_BLOCKS_MIN * settings.memory.block_bytes
    paths: dict[Path, int] = {}
    for index, disk in enumerate(settings.disks):
        if disk.size_bytes < least:
            size, block = format_size(disk.size_bytes), format_size(settings.memory.block_bytes)
            raise source.error(
                ("disk", index, "size"),
                f"disk[{index}].size: {size} is too little for blocks of {block}; give {format_size(least)} or more",
            )
        path = Path(os.path.normpath(disk.path))
        for other in paths:
            if path.is_relative_to(other) or other.is_relative_to(path):
                raise source.error(
                    ("disk", index, "path"),
                    f"disk[{index}].path: {path} and {other} are one folder, or one lies in the other; each disk needs a folder of its own",
                )
        paths[path] = index


def _check_tls(s3: S3Settings, source: _Source) -> None:
    missing = "tls_key" if s3.tls_key is None else "tls_certificate"
    given = "tls_certificate" if s3.tls_key is None else "tls_key"
    if (s3.tls_key is None) != (s3.tls_certificate is None):
        raise source.error(
            ("s3", given), f"s3.{given} needs s3.{missing} beside it; both may name one file that has both"
        )


def _check_origins(origins: tuple[OriginSettings, ...], source: _Source) -> None:
    names: dict[str, int] = {}
    buckets: dict[str, str] = {}
    for index, origin in enumerate(origins):
        if names.setdefault(origin.name, index) != index:
            raise source.error(
                ("origin", index), f'two origins have the name "{origin.name}"; names must differ'
            )
        for bucket in origin.buckets if isinstance(origin, S3OriginSettings) else ():
            if buckets.setdefault(bucket, origin.name) != origin.name:
                raise source.error(
                    ("origin", index, "buckets"),
                    f'the bucket "{bucket}" is named by two origins, "{buckets[bucket]}" and "{origin.name}"',
                )


def check_peers(peers: tuple[PeerSettings, ...], error: Callable[[KeyPath, str], ConfigError]) -> None:
    """Raises ``error(place, message)`` for a list of hosts that no cluster can have."""
    if len(peers) > PEERS_MAX:
        raise error(
            ("peer", PEERS_MAX), f"{len(peers)} hosts are too many for a cluster; {PEERS_MAX} are the limit"
        )
    names: dict[str, int] = {}
    addresses: dict[tuple[str, int], int] = {}
    for index, peer in enumerate(peers):
        if peer.address.port == 0:
            raise error(
                ("peer", index, "address"),
                f'the peer "{peer.name}" has port 0; give the port that the other hosts shall connect to',
            )
        if names.setdefault(peer.name.lower(), index) != index:
            raise error(("peer", index, "name"), f'two peers have the name "{peer.name}"; names must differ')
        first = addresses.setdefault((peer.address.host.lower(), peer.address.port), index)
        if first != index:
            raise error(
                ("peer", index, "address"),
                f'two peers, "{peers[first].name}" and "{peer.name}", have the address {peer.address}; '
                "addresses must differ",
            )
    if peers and not any(peer.weight for peer in peers):
        raise error(
            ("peer", 0, "weight"),
            "all peers have weight 0, so no block has a home; give one a weight above 0",
        )


def _check_cluster(settings: Settings, source: _Source) -> None:
    cluster, names = settings.cluster, [peer.name for peer in settings.peers]
    if names and cluster.hosts_file is not None:
        raise source.error(
            ("cluster", "hosts_file"),
            f"cluster.hosts_file: the hosts stand in {cluster.hosts_file}, and in [[peer]], too; leave one of them out",
        )
    if names and cluster.host is not None and cluster.host not in names:
        raise source.error(
            ("cluster", "host"),
            f'cluster.host: "{cluster.host}" is not among the peers ({", ".join(names)}); add a [[peer]] for '
            "every host of the cluster, this one too",
        )
    if settings.peers or cluster.hosts_file is not None:
        try:
            check_cluster_security(settings)
        except InsecureSettings as error:
            raise source.error(error.place, error.message) from None
