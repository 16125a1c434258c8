"""What is put on a host's disk."""

from __future__ import annotations

import pwd
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from tests.labtest.namespaces.support import need_labs

from labtest.namespaces.building import hand_down_controllers
from labtest.namespaces.disk import look_at_machine, write_entries
from labtest.namespaces.root_files import Entry, Machine, Neighbour, entries_of_host

_NEEDED = {"systemd-journald.service", "dbus.service", "systemd-tmpfiles-setup.service"}
_NAMES = st.sampled_from(
    sorted(_NEEDED | {"cron.service", "nginx.service", "getty.target", "systemd-sysctl.service", "x.timer"})
)


def entries(machine: Machine) -> list[Entry]:
    return entries_of_host(
        name="a",
        machine_id="0" * 32,
        neighbours=[Neighbour("a", "10.0.0.1"), Neighbour("b", "10.0.0.2")],
        host_key=b"private",
        authorized_key=b"public",
        machine=machine,
        files={"/opt/x": b"x"},
    )


def masked(made: list[Entry]) -> set[str]:
    return {Path(entry.path).name for entry in made if entry.link == "/dev/null"}


@given(st.frozensets(_NAMES), st.frozensets(_NAMES))
def test_what_packages_enable_is_masked_unless_a_host_needs_it(
    wanted: frozenset[str], generators: frozenset[str]
) -> None:
    made = entries(Machine(units_wanted=wanted, generators=generators, session_rules={}))
    assert masked(made) >= (wanted - _NEEDED) | generators
    assert not {
        entry.path for entry in made if entry.link == "/dev/null" and "generators" not in entry.path
    } & {f"/etc/systemd/system/{name}" for name in _NEEDED}
    paths = [entry.path for entry in made]
    assert len(paths) == len(set(paths))
    assert all(path.startswith("/") for path in paths)
    # A folder that hides what is there comes before what is in it.
    for place, entry in enumerate(made):
        if entry.is_opaque:
            assert not any(path.startswith(f"{entry.path}/") for path in paths[:place])


def test_of_this_machine_everything_is_masked_that_is_not_known() -> None:
    need_labs()
    machine = look_at_machine()
    assert machine.units_wanted
    assert masked(entries(machine)) >= {
        "systemd-sysctl.service",
        "systemd-modules-load.service",
        *machine.generators,
    }


def test_only_the_owner_reads_a_private_key() -> None:
    made = {entry.path: entry for entry in entries(Machine(frozenset(), frozenset(), {}))}
    assert made["/etc/ssh/ssh_host_ed25519_key"].mode == 0o600
    assert (
        made["/etc/hosts"].content
        == b"127.0.0.1 localhost\n::1 localhost ip6-localhost\n10.0.0.1 a\n10.0.0.2 b\n"
    )


def test_entries_are_written_with_the_rights_of_the_machines_folders(tmp_path: Path) -> None:
    need_labs()  # of root
    upper = tmp_path / "upper"
    upper.mkdir()
    home = pwd.getpwuid(0).pw_dir
    write_entries(
        upper,
        [
            Entry(f"{home}/deep/er/file", b"content", mode=0o640),
            Entry("/etc/lab-new/link", link="/dev/null"),
            Entry("/var/lab-new", mode=0o2750),
        ],
    )
    assert (upper / home[1:] / "deep/er/file").read_bytes() == b"content"
    assert (upper / home[1:] / "deep/er/file").stat().st_mode & 0o7777 == 0o640
    assert (upper / home[1:]).stat().st_mode == Path(home).stat().st_mode
    assert (upper / "var/lab-new").stat().st_mode & 0o7777 == 0o2750
    assert (upper / "etc/lab-new/link").readlink() == Path("/dev/null")


def test_what_a_cgroup_can_limit_is_handed_down(tmp_path: Path) -> None:
    """Of files, since a machine whose controllers are all of version 1 has none to hand down."""
    (tmp_path / "cgroup.controllers").write_text("memory\n")
    hand_down_controllers(tmp_path)
    assert (tmp_path / "cgroup.subtree_control").read_text() == "+memory"
