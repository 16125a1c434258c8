"""What may stand where a template has filled something in: names of units, paths, versions, targets of health checks.

Law: a text that was rendered is checked before it leaves this machine, since on a host the same mistake is found late, on some hosts only, and after
others have changed. Each check gives a sentence, empty if all is well; where it is told belongs to the caller.
"""

from __future__ import annotations

import posixpath
import re
from urllib.parse import urlsplit

from labtest.core.environment import HealthKind

__all__ = [
    "bad_destination",
    "bad_file_path",
    "bad_health_target",
    "bad_placeholder",
    "bad_unit_name",
    "bad_version",
]

#: UNIT_NAME_MAX of systemd (systemd.unit(5): 255 characters with the suffix).
UNIT_CHARACTERS_MAX = 255

#: PATH_MAX of Linux, without the closing zero.
PATH_BYTES_MAX = 4095

#: NAME_MAX of Linux is 255; ``.source`` comes behind it, and room is left for temporary names.
VERSION_CHARACTERS_MAX = 128

_UNIT = re.compile(
    r"[A-Za-z0-9:_.\\-]+(@[A-Za-z0-9:_.\\-]+)?\.(service|socket|target|timer|path|mount|slice)"
)
_DESTINATION = re.compile(r"[A-Za-z0-9_\[:][A-Za-z0-9_.@:%\[\]+-]*")
_VERSION = re.compile(r"[A-Za-z0-9][A-Za-z0-9._+~-]*")
_PLACEHOLDER = re.compile(r"(?<![${])\{([a-z_]+)\}(?!\})")
_SIMILAR = re.compile(r"t?arg[a-z]*t?s?|tgt|dest(ination)?|prefix|folder|version|release")


def bad_unit_name(unit: str) -> str:
    """Why this can be no unit of systemd (systemd.unit(5))."""
    if len(unit) > UNIT_CHARACTERS_MAX:
        return f"a unit's name has at most {UNIT_CHARACTERS_MAX} characters, and this has {len(unit)}"
    if _UNIT.fullmatch(unit):
        return ""
    if "@." in unit:
        named = unit.replace("@.", "@default.")
        return f"{unit!r} is a template of units; name an instance, such as {named!r}"
    if _UNIT.fullmatch(f"{unit}.service"):
        return f"{unit!r} is not the name of a unit; did you mean '{unit}.service'?"
    return f"{unit!r} is not the name of a unit, such as 'cashy-s3@1.service'"


def bad_file_path(path: str) -> str:
    """Why no file can be put there."""
    if not path.startswith("/"):
        return f"{path!r} is relative; a path on a host begins with '/'"
    if posixpath.normpath(path) != path or path == "/" or path.startswith("//"):
        return f"{path!r} is not the plain path of a file (no '..', no '//', no '/' at the end)"
    if len(path.encode()) > PATH_BYTES_MAX or not path.isprintable():
        return f"{path[:60]!r} is not a path: it is too long or has characters that cannot be printed"
    return ""


def bad_version(version: str) -> str:
    """Why this can be no version, whose name is also a folder's."""
    if len(version) > VERSION_CHARACTERS_MAX:
        return f"a version has at most {VERSION_CHARACTERS_MAX} characters, and this has {len(version)}"
    if not _VERSION.fullmatch(version) or version == "current" or version.endswith(".source"):
        return f"{version!r} is not a version: letters, digits and '._+~-', such as '1.4.0'"
    return ""


def bad_destination(text: str) -> str:
    """Why this is neither an address, a name, nor ``USER@NAME``. What begins with '-' would be an option of ssh."""
    if _DESTINATION.fullmatch(text):
        return ""
    return f"{text!r} is not a destination such as 'ops@rack1' or '10.0.0.1'"


def bad_health_target(kind: HealthKind, target: str) -> str:
    """Why a check of this kind cannot ask this."""
    if kind is HealthKind.TCP:
        host, _, port = target.rpartition(":")
        if not host or not port.isdecimal() or not 0 < int(port) < 65536:
            return f"{target!r} is not HOST:PORT"
    if kind is HealthKind.HTTP:
        try:
            url = urlsplit(target)
            good = url.scheme == "http" and bool(url.hostname) and url.port != 0
        except ValueError:
            good = False
        if not good:
            return f"{target!r} is not a URL such as 'http://10.0.0.1:9100/healthy'"
    return ""


def bad_placeholder(argument: str) -> str:
    """Whether an argument of ``install`` has something that was meant to be ``{target}``. Other braces are left to the command."""
    for match in _PLACEHOLDER.finditer(argument):
        if match.group(1) != "target" and _SIMILAR.fullmatch(match.group(1)):
            return f"'{{{match.group(1)}}}' is not filled in; only '{{target}}' is, the folder to install to"
    return ""
