"""``make install-systemd``: what it writes, where, and what it leaves alone."""

from __future__ import annotations

import importlib.util
import os
import shutil
import stat
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from tests.systemd.conftest import SYSTEMD, make

#: Where an installation of this machine itself would go.
OF_THIS_MACHINE = [
    Path(path)
    for path in (
        "/opt", "/opt/aviary", "/etc", "/etc/aviary", "/etc/passwd", "/etc/group", "/etc/systemd/system", "/run", "/srv",
        "/usr/lib/systemd/system", "/usr/lib/sysusers.d", "/usr/lib/tmpfiles.d", "/usr/bin", "/usr/local/bin", "/var/lib",
    )
]  # fmt: skip


def stamps() -> dict[Path, int | None]:
    """When each of the machine's folders was last changed."""
    return {path: path.stat().st_mtime_ns if path.exists() else None for path in OF_THIS_MACHINE}


def files_of(folder: Path) -> Iterator[Path]:
    return (path for path in folder.rglob("*") if path.is_file() and not path.is_symlink())


def test_wheel_carries_units_and_examples(wheel: Path) -> None:
    names = {name.partition(".data/data/")[2] for name in zipfile.ZipFile(wheel).namelist()}
    for path in files_of(SYSTEMD / "system"):
        assert f"lib/systemd/system/{path.name}" in names
    for path in files_of(SYSTEMD / "examples"):
        assert f"share/aviary/examples/{path.name}" in names
    assert {"lib/sysusers.d/aviary.conf", "lib/tmpfiles.d/aviary.conf", "share/aviary/README.md"} <= names


def test_everything_goes_below_destdir_and_knows_nothing_of_it(wheel: Path, tmp_path: Path) -> None:
    before = stamps()
    destdir = tmp_path / "image"
    make("install-systemd", f"DESTDIR={destdir}", f"WHEEL={wheel}")
    assert stamps() == before
    assert sorted(path.name for path in destdir.iterdir()) == ["etc", "opt", "usr"]
    for path in files_of(destdir):
        if "__pycache__" in path.parts or path.name == "RECORD":
            continue
        assert str(destdir).encode() not in path.read_bytes(), path


def test_current_is_a_link_to_a_release_whose_programs_name_it(installed: Path) -> None:
    current = installed / "opt/aviary/current"
    target = Path(os.readlink(current))
    assert target.parts[0] == "releases"
    for program in ("cashy", "toucan"):
        first = (current / "bin" / program).read_text().splitlines()[0]
        assert first == f"#!/opt/aviary/releases/{target.name}/bin/python"
    for unit in (SYSTEMD / "system").iterdir():
        assert (installed / "usr/lib/systemd/system" / unit.name).read_text() == unit.read_text()
    assert not [path for path in (current.parent / "releases").iterdir() if path.name != target.name]


def test_secrets_are_not_for_everyone(installed: Path) -> None:
    modes = {path.name: stat.S_IMODE(path.stat().st_mode) for path in (installed / "etc/aviary").iterdir()}
    assert modes.pop("cashy-keys.toml") == modes.pop("toucan-users.toml") == 0o640
    assert set(modes.values()) == {0o644}


def test_again_it_leaves_settings_alone_and_makes_no_second_release(
    installed: Path, wheel: Path, tmp_path: Path
) -> None:
    image = tmp_path / "image"
    shutil.copytree(installed, image, symlinks=True)
    edited, removed = image / "etc/aviary/cashy.toml", image / "etc/aviary/limits.toml"
    edited.write_text("# ours\n")
    removed.unlink()
    releases = sorted((image / "opt/aviary/releases").iterdir())
    done = make("install-systemd", f"DESTDIR={image}", f"WHEEL={wheel}")
    assert edited.read_text() == "# ours\n"
    assert removed.exists()
    assert "/etc/aviary/cashy.toml is there already and was left as it is" in done.stdout
    assert sorted((image / "opt/aviary/releases").iterdir()) == releases
    make("uninstall-systemd", f"DESTDIR={image}")
    left = sorted(str(path.relative_to(image)) for path in image.rglob("*") if not path.is_dir())
    assert left == [f"etc/aviary/{path.name}" for path in sorted((image / "etc/aviary").iterdir())]


def test_another_prefix_is_in_the_units(installed: Path, wheel: Path, tmp_path: Path) -> None:
    # The release is there already, so that nothing is downloaded again.
    image = tmp_path / "image"
    shutil.copytree(installed / "opt/aviary", image / "srv/programs", symlinks=True)
    make("install-systemd", f"DESTDIR={image}", f"WHEEL={wheel}", "PREFIX=/srv/programs")
    unit = (image / "usr/lib/systemd/system/cashy-master@.service").read_text()
    assert "ExecStart=/srv/programs/current/bin/cashy master" in unit
    assert "/opt/aviary" not in unit


def test_another_extra_is_another_release_with_more_in_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    spec = importlib.util.spec_from_file_location("install", SYSTEMD / "install.py")
    assert spec is not None
    assert spec.loader is not None
    program = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(program)
    commands: list[list[str]] = []
    monkeypatch.setattr(program, "_run", lambda command: commands.append([str(word) for word in command]))
    for left_out in ("_call_it", "_switch", "_install_files", "_check_interpreter"):
        monkeypatch.setattr(program, left_out, lambda *_: None)
    wheel = tmp_path / "aviary-0.1.0-py3-none-any.whl"
    wheel.write_bytes(b"a wheel")
    layout = program.Layout(str(tmp_path / "image"))
    releases = {
        program.install(wheel, layout, Path("/usr/bin/python3"), extra) for extra in ("", "fix", "fix")
    }
    assert len(releases) == 2
    wanted = [
        word.rpartition("[")[2] for command in commands for word in command if word.startswith(str(wheel))
    ]
    assert wanted == ["cashy,toucan-web,lab]", "cashy,toucan-web,lab,fix]"]


def test_an_interpreter_that_services_cannot_reach_is_refused(wheel: Path, tmp_path: Path) -> None:
    with tempfile.TemporaryDirectory(dir="/root" if os.geteuid() == 0 else Path.home()) as home:
        interpreter = Path(home) / "python3"
        interpreter.write_text("#!/bin/sh\n")
        interpreter.chmod(0o755)
        done = make(
            "install-systemd", f"DESTDIR={tmp_path / 'image'}", f"WHEEL={wheel}", f"INTERPRETER={interpreter}", check=False
        )  # fmt: skip
    assert done.returncode != 0
    assert "which services cannot reach" in done.stderr
    assert not (tmp_path / "image").exists()


def test_a_failed_installation_leaves_no_half_release(wheel: Path, tmp_path: Path) -> None:
    broken = tmp_path / wheel.name
    broken.write_bytes(wheel.read_bytes()[:1000])
    image = tmp_path / "image"
    done = make("install-systemd", f"DESTDIR={image}", f"WHEEL={broken}", check=False)
    assert done.returncode != 0
    assert "nothing was switched" in done.stderr
    assert not (image / "opt/aviary/current").exists()
    assert not list((image / "opt/aviary/releases").iterdir())


def test_switching_a_release_never_leaves_a_moment_without_one(installed: Path, tmp_path: Path) -> None:
    image = tmp_path / "image"
    shutil.copytree(installed / "opt/aviary", image, symlinks=True)
    watcher = subprocess.Popen(
        [sys.executable, "-c", "import os, sys\nwhile True:\n    os.readlink(sys.argv[1])", str(image / "current")],
        stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    try:
        switch = (
            "import sys; sys.path.insert(0, sys.argv[1]); from install import Layout, _switch; from pathlib import Path\n"
            "for number in range(500): _switch(Layout('', sys.argv[2]), Path(f'/x/releases/{number}'))"
        )
        subprocess.run([sys.executable, "-B", "-c", switch, str(SYSTEMD), str(image)], check=True, timeout=60)
        assert watcher.poll() is None
    finally:
        watcher.kill()
        _, complaint = watcher.communicate()
    assert "Traceback" not in complaint
