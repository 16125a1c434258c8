"""What the engine's process is told when it starts: the sections ``[engine]`` and ``[venue.NAME]`` of ``toucan.toml``."""

from __future__ import annotations

from pathlib import Path

import msgspec

from toucan.journal.limits import SEGMENT_BYTES_DEFAULT

__all__ = ["EngineSection", "EngineSettings", "VenueSection"]


class EngineSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[engine]``."""

    #: Folder of the journal, its snapshots and its audit database; made if it is missing.
    data: str = "/var/lib/toucan"
    #: Unix socket where front ends come in.
    socket: str = "/run/toucan/engine.sock"
    #: The last committed event is noted here at each commit, so that a journal whose end is missing is noticed. Best on another disk.
    witness: str = "/run/toucan/witness"
    #: File with one [[instrument]] for each.
    instruments: str = "/etc/aviary/instruments.toml"
    #: File with the tree of limits; loaded at the start and at SIGHUP when it has changed since it was last loaded.
    limits: str = "/etc/aviary/limits.toml"
    #: Who we are at the venues.
    firm: str = "FIRM"
    #: Size of the journal's files, of which one or two are always there in full; a multiple of 4096.
    segment_bytes: int = SEGMENT_BYTES_DEFAULT
    #: Address of /metrics, host:port; empty: none.
    metrics: str = ""


class VenueSection(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """``[venue.NAME]``: instruments name their venue."""

    #: Path of the venue's unix socket, or host:port.
    address: str
    #: Path of the unix socket (or host:port) of the venue's feed of market data, which front ends follow: depth and trades. Empty: there is none, and
    #: they know what the engine hears.
    market_data: str = ""


class EngineSettings(msgspec.Struct, frozen=True):
    """All that the engine needs."""

    engine: EngineSection
    venues: dict[str, VenueSection]
    #: Goes on although the journal's end is missing (after a look at what is lost).
    accept_loss: bool = False

    @property
    def data(self) -> Path:
        """Folder of the journal."""
        return Path(self.engine.data)
