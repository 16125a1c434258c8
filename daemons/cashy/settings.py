"""Settings of cashy's daemons: one table, from which come parsing, the command line and the reference page.

Law: a setting is declared once, as a field of the struct of its TOML section; its type, limits, unit, help
text, option and the commands that take it stand in the field's annotation. Parsing, options
(``cashy.cli.options``) and ``docs/cashy-settings.md`` are derived. Loading is strict, since a misspelt key
that is silently ignored runs a daemon with other limits than its operator believes: whatever is not
understood is a :class:`~cashy.errors.ConfigError` that names file and line (or the option), and what was
probably meant.
"""

from __future__ import annotations

import difflib
import os
import re
import tomllib
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Annotated, Any, Literal

import msgspec

from cashy.errors import ConfigError
from cashy.setting_values import Address, BlockSize, ByteSize, HttpUrl, format_size, parse_value
from cashy.toml_lines import KeyPath, line_of

__all__ = [
    "ARENA_BLOCKS_MIN",
    "SOCKET_PATH_BYTES_MAX",
    "DEFAULT_CONFIG_PATH",
    "DEFAULT_SOCKET_PATH",
    "DirectoryOriginSettings",
    "FreshnessSettings",
    "InstanceSettings",
    "LimitsSettings",
    "LogSettings",
    "MemorySettings",
    "OptionError",
    "OriginSettings",
    "S3OriginSettings",
    "S3Settings",
    "SettingField",
    "Settings",
    "load_settings",
    "parse_origin_option",
    "setting_fields",
]

DEFAULT_SOCKET_PATH = "/run/cashy/cashy.sock"
DEFAULT_CONFIG_PATH = "/etc/aviary/cashy.toml"

#: With fewer blocks one demand window would fill the arena, and every fetch wait for another's eviction.
ARENA_BLOCKS_MIN = 4
#: sockaddr_un holds 108 bytes, the last a NUL; a longer path cannot be bound.
SOCKET_PATH_BYTES_MAX = 107

_MODE = "^0?[0-7]{3}$"
_NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"


class OptionError(ConfigError):
    """A setting is wrong that the command line gave, not the file."""


# ---------------------------------------------------------------- the table

_ALL = ("master", "s3", "dev")
_MASTER = ("master", "dev")
_S3 = ("s3", "dev")


def _about(
    help_text: str,
    option: str = "",
    commands: tuple[str, ...] = (),
    *,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
) -> msgspec.Meta:
    """Metadata of one setting; without ``option`` it can only be given in the file."""
    limits = {
        name: value for name, value in (("ge", ge), ("le", le), ("pattern", pattern)) if value is not None
    }
    extra = {"unit": unit, "option": option, "commands": commands}
    make_meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads take no mapping of limits
    return make_meta(description=help_text, extra=extra, **limits)


class _Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table."""


class InstanceSettings(_Section, frozen=True, kw_only=True):
    """Which instance this is: one host may run several, each its own trust domain."""

    name: Annotated[
        str,
        _about("Name of the instance, part of its shared memory's names.", "--instance", _ALL, pattern=_NAME),
    ] = "default"
    socket: Annotated[
        Path,
        _about(
            "Unix socket that clients and S3 workers connect to; $CASHY_SOCKET replaces the default.",
            "--socket",
            _ALL,
        ),
    ] = Path(DEFAULT_SOCKET_PATH)
    socket_mode: Annotated[
        str,
        _about(
            "Permissions of the socket, octal; whoever may connect can read all that is cached.",
            pattern=_MODE,
        ),
    ] = "0660"
    remove_on_exit: Annotated[
        bool,
        _about(
            "Remove the instance's shared memory at an orderly end; otherwise the next master takes it over.",
            "--remove-on-exit",
            ("master",),
        ),
    ] = False


class MemorySettings(_Section, frozen=True, kw_only=True):
    """The arena in shared memory."""

    size_bytes: Annotated[
        ByteSize,
        _about("Size of the arena, allocated in /dev/shm at the start.", "--memory", _MASTER, unit="size"),
    ] = msgspec.field(default=ByteSize(256 << 20), name="size")
    block_bytes: Annotated[
        BlockSize,
        _about(
            "Size in which objects are fetched and kept: a power of two, 64KiB to 64MiB.",
            "--block-size",
            _MASTER,
            unit="size",
        ),
    ] = msgspec.field(default=BlockSize(4 << 20), name="block_size")
    eviction: Annotated[
        Literal["s3-fifo", "lru"],
        _about(
            "Which blocks give way: s3-fifo withstands scans, lru is there to compare.", "--eviction", _MASTER
        ),
    ] = "s3-fifo"


class LimitsSettings(_Section, frozen=True, kw_only=True):
    """What one client, and all of them, may take of the master."""

    clients_max: Annotated[
        int, _about("Connections to the socket; further ones are refused.", unit="clients", ge=1, le=1024)
    ] = 1000
    client_pin_fraction: Annotated[
        float,
        _about("Part of the arena that one client may hold pinned.", unit="of the arena", ge=0.01, le=1),
    ] = 0.5
    client_pin_bytes: Annotated[
        ByteSize, _about("The same as a size; 0 leaves it to client_pin_fraction.", unit="size")
    ] = ByteSize(0)
    client_mappings_max: Annotated[
        int,
        _about(
            "Mappings one client may make for views; the kernel allows 65530 per process.",
            unit="mappings",
            ge=1,
            le=32768,
        ),
    ] = 8192
    client_private_bytes: Annotated[
        ByteSize, _about("Bytes of private copies one client may make where it cannot pin.", unit="size")
    ] = ByteSize(256 << 20)
    client_requests_max: Annotated[
        int,
        _about("Requests one client may have under way; further ones get SlowDown.", unit="requests", ge=1),
    ] = 256
    fills_max: Annotated[
        int,
        _about(
            "Blocks that may be under way from origins at a time; further ones wait.", unit="blocks", ge=1
        ),
    ] = 64
    fetch_window_blocks: Annotated[
        int, _about("Blocks of one asked range fetched in parallel.", unit="blocks", ge=1, le=256)
    ] = 8
    prefetch_window_blocks: Annotated[
        int,
        _about("Blocks read ahead of a reader at most; 0 turns read-ahead off.", unit="blocks", ge=0, le=256),
    ] = 8


class FreshnessSettings(_Section, frozen=True, kw_only=True):
    """How long what is cached counts as current."""

    revalidate_after_s: Annotated[
        float,
        _about(
            "Age from which an object's version is checked at the origin; writes made there show by then.",
            "--revalidate-after",
            _MASTER,
            unit="s",
            ge=0,
        ),
    ] = 5.0


class S3OriginSettings(_Section, frozen=True, kw_only=True, tag_field="kind", tag="s3"):
    """An S3 store; its buckets keep their names. Credentials come from the usual AWS chain."""

    url: Annotated[HttpUrl, _about("Endpoint of the store.")]
    name: Annotated[
        str, _about("Name in logs and counters, part of the cached blocks' identity; default: the url.")
    ] = ""
    region: Annotated[str, _about("Region that requests are signed for.")] = "us-east-1"
    buckets: Annotated[
        tuple[str, ...], _about("Buckets read from here; empty: all that no other origin names.")
    ] = ()
    anonymous: Annotated[bool, _about("Send requests unsigned, for public buckets.")] = False
    connections_max: Annotated[
        int, _about("Connections to the store.", unit="connections", ge=1, le=4096)
    ] = 32
    queue_max: Annotated[
        int, _about("Requests waiting for a connection; further ones get SlowDown.", unit="requests", ge=0)
    ] = 1024
    connect_timeout_s: Annotated[float, _about("Limit for making a connection.", unit="s", ge=0.01)] = 5.0
    head_timeout_s: Annotated[
        float, _about("Limit from request to the head of its answer.", unit="s", ge=0.01)
    ] = 10.0
    read_timeout_s: Annotated[float, _about("Limit between two arrivals of bytes.", unit="s", ge=0.01)] = 15.0

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.url))


class DirectoryOriginSettings(_Section, frozen=True, kw_only=True, tag_field="kind", tag="directory"):
    """A directory, local or mounted; its first-level folders are the buckets of the S3 side."""

    path: Annotated[Path, _about("Absolute path of the directory; nothing outside it is ever served.")]
    name: Annotated[
        str, _about("Name in logs and counters, part of the cached blocks' identity; default: the path.")
    ] = ""
    threads: Annotated[
        int,
        _about(
            "Threads that read files; one stuck in a dead mount is counted.", unit="threads", ge=1, le=256
        ),
    ] = 16
    read_timeout_s: Annotated[float, _about("Limit for one read of a file.", unit="s", ge=0.01)] = 30.0

    def __post_init__(self) -> None:
        if not self.name:
            msgspec.structs.force_setattr(self, "name", str(self.path))


OriginSettings = S3OriginSettings | DirectoryOriginSettings


class S3Settings(_Section, frozen=True, kw_only=True):
    """The S3 endpoint."""

    listen: Annotated[Address, _about("Address of the endpoint; port 0: any free one.", "--s3", _S3)] = (
        Address("127.0.0.1:9000")
    )
    workers: Annotated[
        int,
        _about(
            "Worker processes `cashy dev` starts on the address (0: none); `cashy s3` is always one worker.",
            "--s3-workers",
            ("dev",),
            unit="processes",
            ge=0,
            le=64,
        ),
    ] = 1
    credentials: Annotated[
        Path | None,
        _about(
            "TOML file of the keys that may sign requests; a world-readable file is refused.",
            "--credentials",
            _S3,
        ),
    ] = None
    anonymous: Annotated[bool, _about("Allow unsigned reads.", "--anonymous", _S3)] = False
    region: Annotated[str, _about("Region that signatures must name; empty: any.")] = ""
    connections_max: Annotated[
        int,
        _about(
            "Connections of one worker; further ones are answered SlowDown and closed.",
            unit="connections",
            ge=1,
        ),
    ] = 8192
    head_timeout_s: Annotated[
        float, _about("Limit from the first byte of a request to the end of its head.", unit="s", ge=0.01)
    ] = 10.0
    idle_timeout_s: Annotated[
        float, _about("Age at which a connection without a request is closed.", unit="s", ge=0.01)
    ] = 75.0
    send_timeout_s: Annotated[
        float,
        _about(
            "Limit without progress of a reader; then it is cut off and its blocks unpinned.",
            unit="s",
            ge=0.01,
        ),
    ] = 30.0


class LogSettings(_Section, frozen=True, kw_only=True):
    """The log, on standard error."""

    level: Annotated[
        Literal["debug", "info", "warning", "error"],
        _about("Least level that is written.", "--log-level", _ALL),
    ] = "info"
    format: Annotated[
        Literal["console", "json"], _about("Lines for people or JSON lines.", "--log-format", _ALL)
    ] = "console"


class Settings(_Section, frozen=True, kw_only=True):
    """All settings of a host's daemons; what :func:`load_settings` gives is complete and checked."""

    instance: InstanceSettings = InstanceSettings()
    memory: MemorySettings = MemorySettings()
    limits: LimitsSettings = LimitsSettings()
    freshness: FreshnessSettings = FreshnessSettings()
    origins: Annotated[
        tuple[OriginSettings, ...], _about("Where objects come from; repeatable.", "--origin", _MASTER)
    ] = msgspec.field(default=(), name="origin")
    s3: S3Settings = S3Settings()
    log: LogSettings = LogSettings()

    @property
    def client_pin_bytes_max(self) -> int:
        """Bytes that one client may hold pinned, whichever of the two settings says so."""
        return self.limits.client_pin_bytes or int(self.memory.size_bytes * self.limits.client_pin_fraction)


# ---------------------------------------------------------------- the table, read


class SettingField(msgspec.Struct, frozen=True, kw_only=True):
    """One row of the table, for option lists and reference pages."""

    section: str  # as in the file: "memory", or "origin" for [[origin]]
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

    @property
    def path(self) -> str:
        """``memory.size``, the key under which :func:`load_settings` takes an override."""
        return f"{self.section}.{self.key}" if self.section else self.key


_SECTIONS: dict[str, type[msgspec.Struct]] = {
    "instance": InstanceSettings,
    "memory": MemorySettings,
    "limits": LimitsSettings,
    "freshness": FreshnessSettings,
    "s3": S3Settings,
    "log": LogSettings,
}
_ORIGIN_KINDS: dict[str, type[S3OriginSettings] | type[DirectoryOriginSettings]] = {
    "s3": S3OriginSettings,
    "directory": DirectoryOriginSettings,
}


def setting_fields() -> Iterator[SettingField]:
    """Gives every setting in the order of the file; those of ``[[origin]]`` per kind; ``origin`` last."""
    for section, struct in _SECTIONS.items():
        yield from _fields_of(struct, section, "")
    for kind, struct in _ORIGIN_KINDS.items():
        yield from _fields_of(struct, "origin", kind)
    yield from (field for field in _fields_of(Settings, "", "") if field.key == "origin")


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

    ``overrides`` maps a setting's path (``"memory.size"``, or ``"origin"`` for the whole list) to a value
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
        raise source.error(*_explain(str(error))) from None
    _check_together(settings, source)
    return settings


def parse_origin_option(text: str) -> dict[str, object]:
    """Reads ``s3=URL`` or ``file=DIRECTORY`` into the table of ``[[origin]]``; raises ValueError."""
    kind, separator, place = text.partition("=")
    if not separator or not place or kind not in ("s3", "file"):
        raise ValueError(f"{text!r} is no origin; write s3=URL or file=DIRECTORY")
    if kind == "s3":
        return {"kind": "s3", "url": HttpUrl.parse(place)}
    return {"kind": "directory", "path": str(Path(place).absolute())}


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
    _check_table(source, (), source.data, [*_SECTIONS, "origin"], "section")
    for section, struct in _SECTIONS.items():
        table = source.data.get(section)
        if isinstance(table, dict):
            _check_table(source, (section,), table, _keys_of(struct), "key")
    origins = source.data.get("origin", ())
    for index, table in enumerate(origins if isinstance(origins, (list, tuple)) else ()):
        if not isinstance(table, dict) or "kind" not in table:
            continue
        place: KeyPath = ("origin", index)
        if table["kind"] not in _ORIGIN_KINDS:
            raise source.error(
                (*place, "kind"), f'unknown kind {table["kind"]!r} of [[origin]]; write "s3" or "directory"'
            )
        _check_table(source, place, table, ["kind", *_keys_of(_ORIGIN_KINDS[table["kind"]])], "key")


def _check_table(
    source: _Source, place: KeyPath, table: Mapping[str, Any], known: list[str], what: str
) -> None:
    for key in table:
        if key in known:
            continue
        near = difflib.get_close_matches(key, known, n=1, cutoff=0.5)
        hint = f'did you mean "{near[0]}"?' if near else f"known: {', '.join(known)}"
        header = f" in [{place[0]}]" if len(place) == 1 else " in [[origin]]" if place else ""
        raise source.error((*place, key), f'unknown {what} "{key}"{header}; {hint}')


def _keys_of(struct: type[msgspec.Struct]) -> list[str]:
    return list(struct.__struct_encode_fields__)


def _explain(text: str) -> tuple[KeyPath, str]:
    """Splits msgspec's ``Expected `int` <= 3 - at `$.limits.clients_max` `` into the place and a sentence."""
    message, _, place = text.partition(" - at `$")
    path: list[str | int] = [
        int(index) if index else name for name, index in re.findall(r"\.([^.\[`]+)|\[(\d+)\]", place)
    ]
    dotted = "".join(f"[{part}]" if isinstance(part, int) else f".{part}" for part in path).lstrip(".")
    if path == ["origin"]:
        message = "expected a list of tables; write [[origin]] with double brackets"
    message = message.replace("`object`", "a table").replace("`array`", "a list").replace("`", "")
    return tuple(path), f"{dotted}: {message[:1].lower()}{message[1:]}" if dotted else message


def _check_together(settings: Settings, source: _Source) -> None:
    """What no field can say alone."""
    memory = settings.memory
    if len(os.fsencode(settings.instance.socket)) > SOCKET_PATH_BYTES_MAX:
        raise source.error(
            ("instance", "socket"),
            f"instance.socket: the path is longer than the {SOCKET_PATH_BYTES_MAX} bytes a socket's may have",
        )
    if memory.size_bytes < ARENA_BLOCKS_MIN * memory.block_bytes:
        size, block, least = map(
            format_size, (memory.size_bytes, memory.block_bytes, ARENA_BLOCKS_MIN * memory.block_bytes)
        )
        raise source.error(
            ("memory", "size"),
            f"memory.size: {size} is too little for blocks of {block}; give {least} or more",
        )
    names: dict[str, int] = {}
    buckets: dict[str, str] = {}
    for index, origin in enumerate(settings.origins):
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
