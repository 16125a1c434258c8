"""What one setting says of itself: its annotation, and the patterns and commands that several sections share.

Law: made of values, for :mod:`cashy.setting_sections` and its parts; nothing is declared or loaded here.
"""

from __future__ import annotations

from collections.abc import Callable

import msgspec

__all__ = ["ALL", "HOST_NAME", "MASTER", "NAME", "S3", "Section", "about"]

#: What an instance and a cluster may be called.
NAME = r"^[A-Za-z0-9][A-Za-z0-9_-]{0,31}$"
#: What host names are made of, up to the 64 bytes that Linux allows one; no "=" and ",", which end it in an option.
HOST_NAME = r"^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$"

#: Commands that take an option.
ALL = ("master", "s3", "dev")
MASTER = ("master", "dev")
S3 = ("s3", "dev")


def about(
    help_text: str,
    option: str = "",
    commands: tuple[str, ...] = (),
    *,
    unit: str = "",
    ge: float | None = None,
    le: float | None = None,
    pattern: str | None = None,
    live: bool = False,
) -> msgspec.Meta:
    """Metadata of one setting; without ``option`` it can only be given in the file; ``live``: SIGHUP applies it to a running daemon."""
    limits = {
        name: value for name, value in (("ge", ge), ("le", le), ("pattern", pattern)) if value is not None
    }
    extra = {"unit": unit, "option": option, "commands": commands, "is_live": live}
    make_meta: Callable[..., msgspec.Meta] = msgspec.Meta  # its overloads take no mapping of limits
    return make_meta(description=help_text, extra=extra, **limits)


class Section(msgspec.Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A TOML table."""
