"""An environment, written as a spec and read, is the same environment; rendered twice, it is the same target."""

from __future__ import annotations

import json
import tempfile
from pathlib import Path
from typing import Any

import msgspec
from hypothesis import HealthCheck, given, settings
from tests.labtest.spec.environments import CONTENTS, FOLDER, environments

from labtest.core.environment import Environment, FileKind, FileSpec
from labtest.core.folder import FolderContents
from labtest.core.resolve import problems_of, resolve
from labtest.spec import Sources, read_environment


def _literal(value: Any) -> str:
    """A value as TOML. JSON's strings are TOML's, but for the one character that TOML wants escaped and JSON does not."""
    if isinstance(value, dict):
        return "{" + ", ".join(f"{json.dumps(key)} = {_literal(item)}" for key, item in value.items()) + "}"
    if isinstance(value, (list, tuple)):
        return "[" + ", ".join(map(_literal, value)) + "]"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    if isinstance(value, float):
        return repr(value)  # 1e16 and 5e-324 are TOML too
    return json.dumps(value)


def _file(file: FileSpec) -> dict[str, Any]:
    section = _section(file)
    del section["kind"], section["source"]
    section["template" if file.kind is FileKind.TEMPLATE else "copy"] = file.source
    section["mode"] = f"{file.mode:04o}"
    return section


def _section(part: Any) -> dict[str, Any]:
    section: dict[str, Any] = msgspec.to_builtins(part)
    del section["name"]
    section.pop("stopped_on", None)
    return section


def _written(environment: Environment) -> str:
    """The environment as a spec: every key of every table is there."""
    lines = [f"name = {_literal(environment.name)}", f"description = {_literal(environment.description)}"]
    lines.append(f"variables = {_literal(environment.variables)}")
    tables: dict[str, dict[str, dict[str, Any]]] = {
        "hosts": {one.name: _section(one) for one in environment.hosts},
        "processes": {one.name: _section(one) for one in environment.processes},
        "files": {one.name: _file(one) for one in environment.files},
        "releases": {one.name: _section(one) for one in environment.releases},
        "tools": {one.name: _section(one) for one in environment.tools},
    }
    for table, entries in tables.items():
        for name, section in entries.items():
            lines += [f"[{table}.{name}]", *(f"{key} = {_literal(value)}" for key, value in section.items())]
    return "\n".join(lines) + "\n"


def _ordered(environment: Environment) -> Environment:
    """Groups come in the order in which hosts name them, which does not matter."""
    groups = dict(sorted(environment.groups.items()))
    hosts = tuple(
        msgspec.structs.replace(host, groups=tuple(sorted(host.groups))) for host in environment.hosts
    )
    return msgspec.structs.replace(environment, groups=groups, hosts=hosts)


@given(environments(stops=False))
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_written_and_read_is_the_same(environment: Environment) -> None:
    with tempfile.TemporaryDirectory() as folder:
        for name, content in CONTENTS.items():
            (Path(folder) / name).write_bytes(content)
        spec = Path(folder) / "lab.toml"
        spec.write_text(_written(environment), encoding="utf-8")
        assert _ordered(read_environment(spec)) == _ordered(environment)
        assert resolve(environment, Sources(Path(folder))) == resolve(environment, FOLDER)


@given(environments())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_resolving_is_a_function_of_three_values(environment: Environment) -> None:
    assert problems_of(environment, FOLDER) == ()
    addresses = {host.name: f"10.0.0.{index}" for index, host in enumerate(environment.hosts)}
    resolved = resolve(environment, FOLDER, addresses)
    copy = msgspec.json.decode(msgspec.json.encode(environment), type=Environment)
    again = resolve(copy, FolderContents(CONTENTS), addresses)
    assert msgspec.json.encode(again.target) == msgspec.json.encode(resolved.target)
    assert again == resolved
    named = {file.sha256 for host in resolved.target.hosts for file in host.files}
    named |= {file.sha256 for host in resolved.target.hosts for one in host.releases for file in one.source}
    assert named == set(resolved.blobs), "a target names all contents, and no others are kept"
    assert [host.host for host in resolved.target.hosts] == sorted(addresses)


@given(environments())
@settings(max_examples=100, deadline=None, suppress_health_check=[HealthCheck.too_slow])
def test_every_host_gets_what_its_processes_need_and_nothing_else(environment: Environment) -> None:
    target = resolve(environment, FOLDER).target
    for host in target.hosts:
        here = {one.name: one for one in environment.processes if host.host in one.hosts}
        assert [one.process for one in host.processes] == sorted(here)
        assert {one.process for one in host.processes if not one.running} == {
            name for name, process in here.items() if host.host in process.stopped_on
        }
        wanted = {name for process in here.values() for name in process.releases}
        wanted |= {release.name for release in environment.releases if host.host in release.hosts}
        assert [one.name for one in host.releases] == sorted(wanted)
        paths = {file.path for file in host.files}
        for process in host.processes:
            inputs = {one.name: one.fingerprint for one in process.inputs}
            assert list(inputs) == sorted(inputs)
            for file in host.files:
                if f"file:{file.path}" in inputs:
                    assert inputs[f"file:{file.path}"] == file.sha256
            assert {name.removeprefix("file:") for name in inputs if name.startswith("file:")} <= paths
            assert ("unit" in inputs) == bool(here[process.process].template)
