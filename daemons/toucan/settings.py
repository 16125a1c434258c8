"""``toucan.toml``: one file for all of toucan's processes of a host; each reads the sections that are its own, and all of them check the whole."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import msgspec

from hostkit.strict_toml import StrictTomlError, read_toml
from toucan.engine.settings import EngineSection, VenueSection
from toucan.errors import InvalidSettings

__all__ = ["CONFIG_PATH", "ToucanSettings", "load_settings"]

CONFIG_PATH = Path("/etc/aviary/toucan.toml")


class ToucanSettings(msgspec.Struct, frozen=True):
    """The file."""

    engine: EngineSection = EngineSection()
    venue: dict[str, VenueSection] = {}
    server: dict[str, Any] = {}


def load_settings(path: Path) -> ToucanSettings:
    """Reads the file. Raises :class:`InvalidSettings`."""
    try:
        return read_toml(path, ToucanSettings)
    except StrictTomlError as error:
        raise InvalidSettings(str(error)) from error
