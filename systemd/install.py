"""Installs the daemons as a host's services: ``make install-systemd``, or this file with a wheel.

Layout. Each release is a virtual environment of its own, ``PREFIX/releases/VERSION-DIGEST`` (of the wheel's content), and ``PREFIX/current`` is a
link to the one in use. Units name only ``PREFIX/current/bin/…``, so a release is switched, and switched back, by replacing the link, which
is atomic, and restarting. Whatever else switches releases (a shell over many hosts, a package) needs to know no more than this.

Units, users, folders and example settings come out of the wheel itself, so that they always belong to the programs. An existing file in
``/etc/aviary`` is never touched. With DESTDIR everything goes below that folder, with the paths inside as they will be, and nothing of
this host is changed; without it users and folders are made and systemd is told.

pip is the one of the Python that runs this, and heeds its usual environment (PIP_FIND_LINKS, PIP_NO_INDEX, …) for hosts without a network.
"""

from __future__ import annotations

import argparse
import hashlib
import os
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

__all__ = ["Layout", "install", "main", "uninstall"]

#: What units name; with another prefix they are rewritten.
PREFIX = "/opt/aviary"
#: What a host that runs all daemons, and people who operate them, need of the wheel.
EXTRAS = "cashy,toucan-web,lab"
#: Units hide these folders (ProtectHome=), so an interpreter there could not be started.
_HIDDEN = ("/home", "/root", "/run/user")
#: From the wheel's data into the host.
_UNITS, _SYSUSERS, _TMPFILES, _EXAMPLES = (
    "lib/systemd/system",
    "lib/sysusers.d",
    "lib/tmpfiles.d",
    "share/aviary/examples",
)


class Layout:
    """Where everything goes. ``destdir`` is put before each path when it is written, and stands in none."""

    def __init__(self, destdir: str = "", prefix: str = PREFIX, sysconfdir: str = "/etc/aviary") -> None:
        self.destdir = destdir
        self.prefix = Path(prefix)
        self.sysconfdir = Path(sysconfdir)

    def on_disk(self, path: Path | str) -> Path:
        """Where a path of the finished host is now."""
        return Path(f"{self.destdir}{path}") if self.destdir else Path(path)


def install(wheel: Path, layout: Layout, interpreter: Path, extra: str = "") -> Path:
    """Installs a wheel; gives the release's folder as it will be called. Raises SystemExit with what to do.

    ``extra``: names of more of its extras, separated by commas; a release with others is another release.
    """
    _check_interpreter(interpreter)
    digest = hashlib.sha256(wheel.read_bytes() + extra.encode()).hexdigest()[:12]
    release = layout.prefix / "releases" / f"{wheel.name.split('-')[1]}-{digest}"
    if not layout.on_disk(release).exists():
        _make_release(wheel, layout, release, interpreter, f"{EXTRAS},{extra}" if extra else EXTRAS)
    _switch(layout, release)
    _install_files(layout, layout.on_disk(release))
    if not layout.destdir:
        _tell_the_host()
    return release


def uninstall(layout: Layout) -> None:
    """Removes programs and units; settings, users and data stay."""
    current = layout.on_disk(layout.prefix / "current")
    for kind, folder in ((_UNITS, "systemd/system"), (_SYSUSERS, "sysusers.d"), (_TMPFILES, "tmpfiles.d")):
        for path in sorted((current / kind).glob("*")):
            layout.on_disk(f"/usr/lib/{folder}/{path.name}").unlink(missing_ok=True)
    current.unlink(missing_ok=True)
    shutil.rmtree(layout.on_disk(layout.prefix / "releases"), ignore_errors=True)
    if not layout.destdir:
        _tell_the_host()


def _check_interpreter(interpreter: Path) -> None:
    real = Path(os.path.realpath(interpreter))
    if not os.access(real, os.X_OK):
        sys.exit(f"{interpreter} is no interpreter: name one with INTERPRETER=/usr/bin/python3.11")
    if str(real).startswith(tuple(f"{folder}/" for folder in _HIDDEN)):
        sys.exit(
            f"{interpreter} is {real}, which services cannot reach: name one outside of home folders with INTERPRETER=/usr/bin/python3"
        )
    check = "import sys; sys.exit(sys.version_info < (3, 11))"
    if subprocess.run([real, "-c", check], check=False).returncode:
        sys.exit(
            f"{interpreter} is older than Python 3.11: name a newer one with INTERPRETER=/usr/bin/python3.11"
        )


def _make_release(wheel: Path, layout: Layout, release: Path, interpreter: Path, extras: str) -> None:
    """Built beside its place and renamed: a release is whole, or not there."""
    releases = layout.on_disk(release.parent)
    releases.mkdir(parents=True, exist_ok=True)
    building = Path(tempfile.mkdtemp(prefix=".new-", dir=releases))
    try:
        building.chmod(0o755)
        _run([interpreter, "-m", "venv", "--without-pip", building])
        pip: list[str | Path] = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
        pip += ["--python", building / "bin/python"]
        _run([*pip, "install", "--quiet", "--no-warn-script-location", f"{wheel.resolve()}[{extras}]"])
        _call_it(building, release)
        building.rename(layout.on_disk(release))
    except BaseException:
        shutil.rmtree(building, ignore_errors=True)
        raise


def _call_it(building: Path, release: Path) -> None:
    """Writes the final path where the one it was built in stands: first lines of scripts, the environment's own notes."""
    old, new = str(building).encode(), str(release).encode()
    for path in (*(building / "bin").iterdir(), building / "pyvenv.cfg"):
        if path.is_symlink() or not path.is_file():
            continue
        content = path.read_bytes()
        if old in content:
            path.write_bytes(content.replace(old, new))


def _switch(layout: Layout, release: Path) -> None:
    current = layout.on_disk(layout.prefix / "current")
    fresh = current.with_name(".current.new")
    fresh.unlink(missing_ok=True)
    fresh.symlink_to(Path("releases") / release.name)
    fresh.replace(current)


def _install_files(layout: Layout, release: Path) -> None:
    for kind, folder in ((_UNITS, "systemd/system"), (_SYSUSERS, "sysusers.d"), (_TMPFILES, "tmpfiles.d")):
        for path in sorted((release / kind).iterdir()):
            text = path.read_text(encoding="utf-8").replace(PREFIX, str(layout.prefix))
            _write(layout.on_disk(f"/usr/lib/{folder}/{path.name}"), text, 0o644)
    for path in sorted((release / _EXAMPLES).iterdir()):
        place = layout.on_disk(layout.sysconfdir / path.name)
        if place.exists() or place.is_symlink():
            print(f"{layout.sysconfdir / path.name} is there already and was left as it is")
            continue
        # Those of secrets are refused if everyone may read them; to whom they belong is set by tmpfiles.d.
        is_secret = path.stem in ("cashy-keys", "toucan-users")
        _write(place, path.read_text(encoding="utf-8"), 0o640 if is_secret else 0o644)


def _write(path: Path, text: str, mode: int) -> None:
    """Replaces a file as a whole."""
    path.parent.mkdir(parents=True, exist_ok=True)
    fresh = path.with_name(f".{path.name}.new")
    fresh.write_text(text, encoding="utf-8")
    fresh.chmod(mode)
    fresh.replace(path)


def _tell_the_host() -> None:
    """Users, folders and units are there at once, not only after the next boot."""
    commands = [["systemd-sysusers"], ["systemd-tmpfiles", "--create"]]
    if Path("/run/systemd/system").exists():
        commands.append(["systemctl", "daemon-reload"])
    for command in commands:
        if shutil.which(command[0]):
            files = ["aviary.conf"] if command[0] != "systemctl" else []
            _run([*command, *files])


def _run(command: list[str | Path]) -> None:
    done = subprocess.run(command, check=False)
    if done.returncode:
        sys.exit(
            f"{' '.join(map(str, command[:4]))} … failed, exit status {done.returncode}; nothing was switched"
        )


def _built(source: Path, folder: Path) -> Path:
    """The wheel of a source tree."""
    pip = [sys.executable, "-m", "pip", "--disable-pip-version-check"]
    _run([*pip, "wheel", "--quiet", "--no-deps", "--wheel-dir", folder, source])
    return next(folder.glob("aviary-*.whl"))


def main() -> None:
    """The command line."""
    parser = argparse.ArgumentParser(description="Install aviary's daemons and their systemd units.")
    parser.add_argument("--wheel", type=Path, help="a wheel of aviary; default: it is built from this source")
    parser.add_argument(
        "--extra", default="", help="more of aviary's extras, separated by commas, such as fix"
    )
    parser.add_argument("--destdir", default="", help="put before every path that is written")
    parser.add_argument(
        "--prefix", default=PREFIX, help="folder of the releases and of the link to the current one"
    )
    parser.add_argument(
        "--interpreter", type=Path, default=Path("/usr/bin/python3"), help="Python that the daemons run on"
    )
    parser.add_argument(
        "--uninstall", action="store_true", help="remove programs and units; settings and data stay"
    )
    options = parser.parse_args()
    if options.destdir and not os.path.isabs(options.destdir):
        options.destdir = os.path.abspath(options.destdir)
    layout = Layout(options.destdir, options.prefix)
    os.umask(0o022)
    if options.uninstall:
        uninstall(layout)
        return
    with tempfile.TemporaryDirectory(prefix="aviary-wheel-") as folder:
        wheel = options.wheel or _built(Path(__file__).resolve().parent.parent, Path(folder))
        release = install(wheel, layout, options.interpreter, options.extra)
    print(f"{layout.prefix}/current is {release}")


if __name__ == "__main__":
    main()
