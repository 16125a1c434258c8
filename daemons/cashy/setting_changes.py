"""What a running daemon does with settings that have been read again: which of them it applies, and which need a restart.

Law: the table of settings says what can be applied (``live`` in :mod:`cashy.setting_sections`); here old and new are compared by it, and nothing is
read, applied or logged. What needs a restart stays as it was started with, so that it is named at every reload until the file
agrees with the daemon again, and never applied by half. Only settings that the daemon reads are compared: a master does not complain of an
S3 timeout.
"""

from __future__ import annotations

from typing import Any, Literal, NamedTuple

import msgspec

from cashy.settings import Settings, setting_fields

__all__ = ["SettingChanges", "compare_settings"]

#: What each daemon reads of the file.
_READ: dict[str, tuple[str, ...]] = {
    "master": (
        "instance", "memory", "disk", "limits", "freshness", "origin", "cluster", "peer", "log", "metrics.master",
    ),
    "s3": ("instance.name", "instance.socket", "s3", "origin", "cluster.host", "log", "metrics.s3"),
}  # fmt: skip


class SettingChanges(NamedTuple):
    """``in_force`` is what the daemon goes on with; the rest are paths such as ``memory.size``, in the order of the file."""

    in_force: Settings
    applied: tuple[str, ...]
    need_restart: tuple[str, ...]


def compare_settings(running: Settings, fresh: Settings, daemon: Literal["master", "s3"]) -> SettingChanges:
    """Compares what the daemon runs with to what was read again."""
    live = {field.path for field in setting_fields() if field.is_live}
    applied: list[str] = []
    need_restart: list[str] = []
    changed: dict[str, Any] = {}
    for section, old, new in _parts(running, fresh):
        if old == new:
            continue
        if not isinstance(old, msgspec.Struct):  # a list of tables: origins, peers
            need_restart += [section] if _is_read(section, daemon) else []
            continue
        values: dict[str, Any] = {}
        for field in msgspec.structs.fields(old):
            path = f"{section}.{field.encode_name}"
            value = getattr(new, field.name)
            if value == getattr(old, field.name) or not _is_read(path, daemon):
                continue
            if path in live:
                values[field.name] = value
                applied.append(path)
            else:
                need_restart.append(path)
        changed[section] = msgspec.structs.replace(old, **values)
    return SettingChanges(msgspec.structs.replace(running, **changed), tuple(applied), tuple(need_restart))


def _parts(running: Settings, fresh: Settings) -> list[tuple[str, Any, Any]]:
    return [
        (field.encode_name, getattr(running, field.name), getattr(fresh, field.name))
        for field in msgspec.structs.fields(running)
    ]


def _is_read(path: str, daemon: str) -> bool:
    return path in _READ[daemon] or path.partition(".")[0] in _READ[daemon]
