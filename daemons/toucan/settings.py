"""``toucan.toml``: one file for all of toucan's processes of a host; each reads the sections that are its own, and all of them check the whole."""

from __future__ import annotations

import json
from collections.abc import Mapping
from pathlib import Path

import msgspec

from hostkit.strict_toml import StrictTomlError, read_toml
from toucan.engine.settings import EngineSection, VenueSection
from toucan.errors import InvalidSettings
from toucan.fix.settings import FixAcceptorSection, FixSection
from toucan.server.settings import ServerSection
from toucan.web.settings import WebSection

__all__ = ["CONFIG_PATH", "ToucanSettings", "differing_settings", "load_settings", "write_settings"]

CONFIG_PATH = Path("/etc/aviary/toucan.toml")


class ToucanSettings(msgspec.Struct, frozen=True):
    """The file."""

    engine: EngineSection = EngineSection()
    venue: dict[str, VenueSection] = {}
    server: ServerSection = ServerSection()
    web: WebSection = WebSection()
    fix: dict[str, FixSection] = {}
    fix_acceptor: FixAcceptorSection = FixAcceptorSection()


def load_settings(path: Path) -> ToucanSettings:
    """Reads the file and checks what no setting can say alone. Raises :class:`InvalidSettings`."""
    try:
        settings = read_toml(path, ToucanSettings)
    except StrictTomlError as error:
        raise InvalidSettings(str(error)) from error
    settings.server.check()
    settings.web.check()
    settings.fix_acceptor.check()
    for name, section in settings.fix.items():
        section.check(name)
    return settings


def differing_settings(section: str, running: msgspec.Struct, fresh: msgspec.Struct) -> list[str]:
    """Names of the settings of a section that are not the same, such as ``server.listen``, in the file's order."""
    return [
        f"{section}.{field.encode_name}"
        for field in msgspec.structs.fields(running)
        if getattr(running, field.name) != getattr(fresh, field.name)
    ]


def write_settings(
    path: Path, engine: EngineSection, venues: Mapping[str, VenueSection], server: Mapping[str, object],
    web: Mapping[str, object] | None = None,
) -> None:  # fmt: skip
    """Writes such a file."""
    sections = {"engine": msgspec.to_builtins(engine), "server": dict(server), "web": dict(web or {})}
    sections |= {f"venue.{name}": msgspec.to_builtins(venue) for name, venue in venues.items()}
    lines = []
    for name, values in sections.items():
        lines.append(f"[{name}]")
        # A JSON string is a TOML string, and so are numbers, booleans and lists of them.
        lines += [f"{key} = {json.dumps(value)}" for key, value in values.items()]
    path.write_text("\n".join(lines) + "\n", encoding="utf-8")
