"""What shall be on each host: which templates see what, what is shared, and what cannot be."""

from __future__ import annotations

import hashlib

import msgspec
import pytest

from labtest.core import releases as releases_module
from labtest.core import resolve as resolve_module
from labtest.core.environment import (
    Environment,
    FileKind,
    FileSpec,
    FileUse,
    Health,
    HealthKind,
    HostSpec,
    OnChange,
    ProcessSpec,
    ReleaseSpec,
    ToolSpec,
)
from labtest.core.folder import FolderContents
from labtest.core.problems import Problem, ResolveError
from labtest.core.resolve import Resolved, problems_of, resolve
from labtest.core.target import FileTarget, HostTarget, Input

FILES = {
    "conf.j2": b"{{ host }} {{ size }}\n",
    "unit.j2": b"[Service]\nExecStart=/bin/{{ process }} {{ process.index }}\n",
    "data.csv": b"a,b\r\n{{ not a template }}\n",
    "wheels/app-1.0.whl": b"one",
    "wheels/app-2.0.whl": b"two",
    "bin/run": b"#!/bin/sh\n",
}
FOLDER = FolderContents(FILES, frozenset({"bin/run"}))
BASE = Environment(
    name="lab",
    hosts=(
        HostSpec(name="b", groups=("caches",)),
        HostSpec(name="a", groups=("caches",), address="a.lan", variables={"size": 2}),
        HostSpec(name="desk"),
    ),
    processes=(
        ProcessSpec(name="store", hosts=("desk",), unit="store.service"),
        ProcessSpec(
            name="cache", hosts=("b", "a"), unit="cache@{{ host }}.service", after=("store",), releases=("app",),
            files=(FileUse(file="conf"), FileUse(file="data", on_change=OnChange.NOTHING)), variables={"port": 90},
        ),
    ),
    files=(
        FileSpec(name="conf", kind=FileKind.TEMPLATE, source="conf.j2", path="/etc/{{ environment }}.conf", mode=0o600),
        FileSpec(name="data", kind=FileKind.COPY, source="data.csv", path="/srv/data", owner="app", hosts=("desk",)),
    ),
    releases=(
        ReleaseSpec(
            name="app", version="{{ version }}", source=("wheels/app-{{ release.version }}.whl", "bin"), folder="/opt/app",
            install=("pip", "install", "--target", "{target}", "{{ release.folder }}"),
        ),
    ),
    variables={"size": 1, "version": "1.0", "port": 80},
    groups={"caches": ("b", "a")},
)  # fmt: skip


def _changed(**parts: object) -> Environment:
    return msgspec.structs.replace(BASE, **parts)


def _with_process(index: int = 1, **parts: object) -> Environment:
    processes = list(BASE.processes)
    processes[index] = msgspec.structs.replace(processes[index], **parts)
    return _changed(processes=tuple(processes))


def _with_tool(text: str, host: str = "") -> Environment:
    return _changed(tools=(ToolSpec(name="tool", run=("run", text), host=host, env={"AT": text}),))


def _host(resolved: Resolved, name: str) -> HostTarget:
    return next(host for host in resolved.target.hosts if host.host == name)


def _problems(environment: Environment, folder: FolderContents = FOLDER) -> list[str]:
    with pytest.raises(ResolveError) as caught:
        resolve(environment, folder)
    assert problems_of(environment, folder) == caught.value.problems
    return [str(problem) for problem in caught.value.problems]


def test_hosts_come_in_order_of_name_with_all_that_is_theirs() -> None:
    resolved = resolve(BASE, FOLDER)
    assert [host.host for host in resolved.target.hosts] == ["a", "b", "desk"]
    host = _host(resolved, "b")
    content = b"b 1\n"
    assert host.files == (
        FileTarget(
            path="/etc/lab.conf", sha256=hashlib.sha256(content).hexdigest(), size_bytes=4, mode=0o600, owner="root", group="root"
        ),
        FileTarget(
            path="/srv/data", sha256=hashlib.sha256(FILES["data.csv"]).hexdigest(), size_bytes=len(FILES["data.csv"]), mode=0o644,
            owner="app", group="root",
        ),
    )  # fmt: skip
    (process,) = host.processes
    assert (process.process, process.unit, process.after) == ("cache", "cache@b.service", ("store",))
    assert process.inputs == (
        Input(name="file:/etc/lab.conf", fingerprint=host.files[0].sha256, on_change=OnChange.RESTART),
        Input(name="file:/srv/data", fingerprint=host.files[1].sha256, on_change=OnChange.NOTHING),
        Input(name="release:app", fingerprint=host.releases[0].fingerprint, on_change=OnChange.RESTART),
    )


def test_file_that_a_host_has_whatever_runs_there() -> None:
    desk = _host(resolve(BASE, FOLDER), "desk")
    assert [file.path for file in desk.files] == ["/srv/data"]
    assert desk.releases == ()


def test_copied_file_is_not_rendered() -> None:
    assert FILES["data.csv"] in resolve(BASE, FOLDER).blobs.values()


@pytest.mark.parametrize(
    ("variables", "values"),
    [
        ({}, {"a": b"a 2\n", "b": b"b 1\n"}),
        ({"size": 3}, {"a": b"a 3\n", "b": b"b 3\n"}),
    ],
)
def test_narrower_variable_counts(variables: dict[str, int], values: dict[str, bytes]) -> None:
    resolved = resolve(_with_process(variables=variables), FOLDER)
    for name, content in values.items():
        assert resolved.blobs[_host(resolved, name).files[0].sha256] == content


def test_unit_file_of_a_process() -> None:
    resolved = resolve(_with_process(template="unit.j2"), FOLDER)
    for name, index in (("b", 0), ("a", 1)):
        host = _host(resolved, name)
        unit = next(file for file in host.files if file.is_unit)
        assert unit.path == f"/etc/systemd/system/cache@{name}.service"
        assert resolved.blobs[unit.sha256] == f"[Service]\nExecStart=/bin/cache {index}\n".encode()
        assert (
            Input(name="unit", fingerprint=unit.sha256, on_change=OnChange.RESTART)
            in host.processes[0].inputs
        )


def test_stopped_instance_shall_not_run() -> None:
    resolved = resolve(_with_process(stopped_on=("a",)), FOLDER)
    assert [_host(resolved, name).processes[0].running for name in ("a", "b")] == [False, True]


def test_health_check_is_filled_in() -> None:
    health = Health(kind=HealthKind.HTTP, target="http://{{ host.address }}:{{ port }}/ok")
    resolved = resolve(_with_process(health=health), FOLDER, {"b": "10.0.0.2"})
    assert [_host(resolved, name).processes[0].health.target for name in ("a", "b")] == [
        "http://a.lan:90/ok",
        "http://10.0.0.2:90/ok",
    ]


# Releases


def test_release_is_copied_under_the_names_of_what_is_found() -> None:
    release = _host(resolve(BASE, FOLDER), "a").releases[0]
    assert [(file.path, file.executable) for file in release.source] == [
        ("app-1.0.whl", False),
        ("bin/run", True),
    ]
    assert release.install == ("pip", "install", "--target", "{target}", "/opt/app")


def test_fingerprint_changes_with_version_and_with_contents() -> None:
    def fingerprint(environment: Environment, files: dict[str, bytes]) -> str:
        return _host(resolve(environment, FolderContents(files)), "a").releases[0].fingerprint

    one = fingerprint(BASE, FILES)
    assert fingerprint(BASE, FILES) == one
    assert fingerprint(BASE, {**FILES, "wheels/app-1.0.whl": b"built anew"}) != one
    assert fingerprint(BASE, {**FILES, "unrelated": b""}) == one
    assert fingerprint(_changed(variables={**BASE.variables, "version": "2.0"}), FILES) != one


def test_one_host_can_have_another_version() -> None:
    hosts = (msgspec.structs.replace(BASE.hosts[0], variables={"version": "2.0"}), *BASE.hosts[1:])
    resolved = resolve(_changed(hosts=hosts), FOLDER)
    assert {name: _host(resolved, name).releases[0].version for name in "ab"} == {"a": "1.0", "b": "2.0"}


def test_problems_are_found_without_reading_releases() -> None:
    class Unread(FolderContents):
        def read(self, path: str) -> bytes:
            assert not path.startswith(("wheels/", "bin/")), "nobody needs its contents"
            return super().read(path)

    assert problems_of(BASE, Unread(FILES)) == ()


def test_release_at_its_limits_and_one_past_them(monkeypatch: pytest.MonkeyPatch) -> None:
    size = len(FILES["wheels/app-1.0.whl"]) + len(FILES["bin/run"])
    monkeypatch.setattr(releases_module, "RELEASE_BYTES_MAX", size)
    monkeypatch.setattr(releases_module, "RELEASE_FILES_MAX", 2)
    resolve(BASE, FOLDER)
    monkeypatch.setattr(releases_module, "RELEASE_BYTES_MAX", size - 1)
    with pytest.raises(
        ResolveError, match=f"its files have more than the {size - 1} bytes that are possible"
    ):
        resolve(BASE, FOLDER)
    monkeypatch.setattr(releases_module, "RELEASE_FILES_MAX", 1)
    assert _problems(BASE) == ["releases.app.source: it takes in 2 files; 1 are possible"]


# What templates find


@pytest.mark.parametrize(
    ("text", "made"),
    [
        ("{{ environment }}", "lab"),
        ("{{ address('cache') }}", "b"),
        ("{{ address('a') }}", "a.lan"),
        ("{{ hosts('cache') | join(' ') }}", "b a"),
        ("{{ hosts('caches') | join(' ') }}", "b a"),
        ("{{ hosts('@caches') | map(attribute='address') | join(' ') }}", "b a.lan"),
        ("{{ hosts('@all') | length }}", "3"),
        ("{{ instances('cache') | join(', ') }}", "cache on b, cache on a"),
        ("{{ instances('cache')[1].variables.size }} {{ instances('cache')[0].variables.port }}", "2 90"),
        ("{{ size }} {{ port }}", "1 80"),
        ("{{ hosts('@caches')[1].variables.size }} {{ hosts('@caches')[1].groups | join }}", "2 caches"),
    ],
)
def test_tool_of_this_machine_finds(text: str, made: str) -> None:
    (tool,) = resolve(_with_tool(text), FOLDER).tools
    assert (tool.argv, tool.env, tool.host) == (("run", made), {"AT": made}, "")


def test_tool_of_a_host_sees_the_host() -> None:
    (tool,) = resolve(_with_tool("{{ host }} {{ size }}", "a"), FOLDER).tools
    assert tool.argv == ("run", "a 2")


@pytest.mark.parametrize(
    ("text", "problem"),
    [
        ("{{ address('cach') }}", "there is no process 'cach'; did you mean 'cache'?"),
        ("{{ hosts('@cach') }}", "there is no group 'cach'; did you mean 'caches'?"),
        ("{{ instances('stor') }}", "there is no process 'stor'; did you mean 'store'?"),
        ("{{ host }}", "unknown variable 'host'; did you mean 'hosts'?"),
    ],
)
def test_tool_does_not_find(text: str, problem: str) -> None:
    assert _problems(_with_tool(text)) == [f"tools.tool.run[1]: {problem}", f"tools.tool.env.AT: {problem}"]


def test_process_and_group_of_one_name_must_be_told_apart() -> None:
    environment = msgspec.structs.replace(
        _with_tool("{{ hosts('@cache') | join }}"), groups={"cache": ("a",)}
    )
    assert resolve(environment, FOLDER).tools[0].argv == ("run", "a")
    environment = msgspec.structs.replace(_with_tool("{{ hosts('cache') }}"), groups={"cache": ("a",)})
    assert _problems(environment)[0] == (
        "tools.tool.run[1]: 'cache' is a process and a group; say '@cache' for the group, or take another name"
    )


def test_address_of_a_process_that_runs_nowhere() -> None:
    environment = _with_tool("{{ address('store') }}")
    processes = (msgspec.structs.replace(BASE.processes[0], hosts=()), BASE.processes[1])
    environment = msgspec.structs.replace(environment, processes=processes)
    assert (
        _problems(environment)[0] == "tools.tool.run[1]: process 'store' runs nowhere, so it has no address"
    )


def test_address_given_counts_before_that_of_the_spec() -> None:
    resolved = resolve(BASE, FOLDER, {"a": "10.0.0.1"})
    assert resolved.addresses == {"a": "10.0.0.1", "b": "b", "desk": "desk"}


# Files that meet


def _two_users(template: bytes, path: str = "/etc/lab.conf") -> tuple[Environment, FolderContents]:
    """Processes ``store`` and ``cache`` on host ``b``, both of which use the file ``conf``."""
    store = msgspec.structs.replace(BASE.processes[0], hosts=("b",), files=(FileUse(file="conf"),))
    files = (msgspec.structs.replace(BASE.files[0], path=path), BASE.files[1])
    environment = _changed(processes=(store, BASE.processes[1]), files=files)
    return environment, FolderContents({**FILES, "conf.j2": template})


def test_file_of_two_processes_that_is_the_same_for_both() -> None:
    environment, folder = _two_users(b"{{ size }}")
    host = _host(resolve(environment, folder), "b")
    assert [file.path for file in host.files] == ["/etc/lab.conf", "/srv/data"]
    assert all(process.inputs[0].name == "file:/etc/lab.conf" for process in host.processes)


def test_file_of_two_processes_that_is_not_the_same() -> None:
    assert _problems(*_two_users(b"{{ process }}")) == [
        "files.conf.path: /etc/lab.conf on host 'b' comes out differently for processes 'store' and 'cache'; "
        "give each its own path (such as one with {{ process.name }}), or make the file the same for both"
    ]


def test_file_of_two_processes_with_a_path_for_each() -> None:
    host = _host(resolve(*_two_users(b"{{ process }}", "/etc/{{ process }}.conf")), "b")
    assert [file.path for file in host.files] == ["/etc/cache.conf", "/etc/store.conf", "/srv/data"]


def test_file_without_a_process_does_not_know_one() -> None:
    files = (msgspec.structs.replace(BASE.files[0], hosts=("desk",)), BASE.files[1])
    folder = FolderContents({**FILES, "conf.j2": b"\n{{ process }}"})
    environment = _changed(files=files)
    with pytest.raises(ResolveError) as caught:
        resolve(environment, folder)
    (problem,) = caught.value.problems
    assert (problem.source, problem.line, problem.place) == ("conf.j2", 2, ("files", "conf", "template"))
    assert problem.text.startswith("unknown variable 'process'")


def test_file_at_its_size_limit_and_one_past_it(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(resolve_module, "FILE_BYTES_MAX", len(FILES["data.csv"]))
    resolve(BASE, FOLDER)
    monkeypatch.setattr(resolve_module, "FILE_BYTES_MAX", len(FILES["data.csv"]) - 1)
    assert "files.data.copy: 'data.csv' has 26 bytes; 25 are possible" in _problems(BASE)


# Problems


def test_problem_of_many_hosts_is_told_once() -> None:
    folder = FolderContents({**FILES, "conf.j2": b"{{ nobody }}"})
    with pytest.raises(ResolveError) as caught:
        resolve(BASE, folder)
    assert [(problem.source, problem.line) for problem in caught.value.problems] == [("conf.j2", 1)]
    assert caught.value.exit_code == 2


def test_very_many_problems_are_cut_and_counted() -> None:
    error = ResolveError([Problem(("tools", str(number)), "wrong") for number in range(21)])
    assert str(error).splitlines()[-2:] == ["tools.19: wrong", "and 1 more"]
