"""A host's disk: a file system in memory with a size, in which only what differs from the machine's root file system is kept (overlayfs)."""

from __future__ import annotations

import os
import shutil
from collections.abc import Iterable
from pathlib import Path

from labtest.namespaces.programs import run_program
from labtest.namespaces.root_files import Entry, Machine

__all__ = ["look_at_machine", "make_disk", "open_path_to", "write_entries"]

_UNITS = Path("/usr/lib/systemd/system")
_PAM = Path("/etc/pam.d")
_PAM_SYSTEMD = "pam_systemd.so"
_GENERATORS = Path("/usr/lib/systemd/system-generators")


def look_at_machine() -> Machine:
    """What packages of this machine enable."""
    wanted = {each.name for kind in ("wants", "requires") for each in _UNITS.glob(f"*.{kind}/*")}
    generators = {each.name for each in _GENERATORS.iterdir()} if _GENERATORS.is_dir() else set()
    return Machine(
        units_wanted=frozenset(wanted), generators=frozenset(generators), session_rules=_session_rules()
    )


def _session_rules() -> dict[str, str]:
    found = {}
    for path in _PAM.glob("*") if _PAM.is_dir() else ():
        lines = path.read_text().splitlines(keepends=True)
        kept = [line for line in lines if _PAM_SYSTEMD not in line]
        if len(kept) < len(lines):
            found[str(path)] = "".join(kept)
    return found


def make_disk(path: Path, size_bytes: int) -> Path:
    """Mounts one at ``path``, and returns its upper layer, which outlives the host. ``root`` is where the launcher puts the host's root."""
    path.mkdir(parents=True)
    run_program("mount", "-t", "tmpfs", "-o", f"size={size_bytes},mode=700", "aviary-lab", str(path))
    for name in ("upper", "work", "root"):
        (path / name).mkdir()
        (path / name).chmod(0o755)
    return path / "upper"


def write_entries(upper: Path, entries: Iterable[Entry]) -> None:
    """Writes entries into the upper layer, whose folders are given the mode and owner of the machine's."""
    for entry in entries:
        path = upper / entry.path.lstrip("/")
        _make_parents(upper, path)
        if entry.link:
            path.symlink_to(entry.link)
        elif entry.content is not None:
            path.write_bytes(entry.content)
            path.chmod(entry.mode)
        else:
            path.mkdir(exist_ok=True)
            path.chmod(entry.mode)
            if entry.is_opaque:
                os.setxattr(path, "trusted.overlay.opaque", b"y")


def _make_parents(upper: Path, path: Path) -> None:
    for parent in reversed(path.relative_to(upper).parents[:-1]):
        made, there = upper / parent, Path("/") / parent
        if made.exists():
            continue
        made.mkdir()
        # What is in the upper layer hides the machine's folder but for its entries, so it needs the same rights.
        if there.is_dir():
            shutil.copystat(there, made)
            os.chown(made, there.stat().st_uid, there.stat().st_gid)


def open_path_to(upper: Path, program: str) -> None:
    """Lets every user of a host reach a program of the machine, which may lie in its owner's home."""
    path = upper / program.lstrip("/")
    _make_parents(upper, path)
    for parent in path.relative_to(upper).parents[:-1]:
        made = upper / parent
        made.chmod(made.stat().st_mode | 0o111)
