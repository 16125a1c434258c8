"""A spec that is good, for tests to break, and the shape of a case that does."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from types import MappingProxyType
from typing import NamedTuple

__all__ = ["FILES", "GOOD", "Case", "write_tree"]

GOOD = """\
name = "floor"

[variables]
memory = "64MiB"
port = 9100

[hosts."cache[1-2]"]
kind = "namespace"
groups = ["cache"]

[hosts.desk]
ssh = "ops@desk"

[processes.store]
hosts = ["desk"]
template = "store.service.j2"

[processes.cashy]
hosts = ["@cache"]
unit = "cashy-master@default.service"
after = ["store"]
releases = ["aviary"]
files = ["config", { file = "keys", on_change = "reload" }]
health = { kind = "tcp", target = "{{ host.address }}:{{ port }}" }

[files.config]
template = "cashy.toml.j2"
path = "/etc/aviary/cashy.toml"

[files.keys]
copy = "keys.csv"
path = "/etc/aviary/keys.csv"
mode = "0640"

[releases.aviary]
version = "1.4.0"
source = ["wheels/*-{{ release.version }}-*.whl"]
install = ["python3", "-m", "venv", "{target}"]

[tools.cashy]
run = ["cashy", "--server", "{{ address('cashy') }}"]

[overlays.big]
variables.memory = "1GiB"
"""
#: What is beside it.
FILES = {
    "cashy.toml.j2": 'memory = "{{ memory }}"\n',
    "store.service.j2": "[Service]\nExecStart=/bin/store\n",
    "keys.csv": "a,b\n",
    "wheels/aviary-1.4.0-py3.whl": "wheel",
}

_NOTHING: Mapping[str, str] = MappingProxyType({})


class Case(NamedTuple):
    """``old`` of the good spec is replaced by ``new``, ``files`` are put beside it, and ``message`` is the error."""

    name: str
    old: str
    new: str
    message: str
    files: Mapping[str, str] = _NOTHING
    overlays: tuple[str, ...] = ()
    variables: Mapping[str, str] = _NOTHING


def write_tree(folder: Path, text: str = GOOD, files: Mapping[str, str] = _NOTHING) -> Path:
    """Puts a spec and what is beside it into a folder, and gives the spec's path."""
    for name, content in {**FILES, **files, "lab.toml": text}.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(content, encoding="utf-8")
    return folder / "lab.toml"
