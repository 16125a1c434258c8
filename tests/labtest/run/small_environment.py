"""An environment that deploys in a second or two: two namespace hosts, a process on both that answers HTTP, and one that logs."""

from __future__ import annotations

import os
from pathlib import Path

__all__ = ["NAME", "write_spec"]

#: Runs of several test processes at once do not share hosts.
NAME = f"small-{os.getpid()}"

_SPEC = """
name = "{name}"

[variables]
greeting = "hello"
port = 8080

[hosts.a]
kind = "namespace"

[hosts.b]
kind = "namespace"

[processes.web]
hosts = ["@all"]
template = "web.service.j2"
files = ["page"]
health = {{ kind = "http", target = "http://{{{{ host.address }}}}:{{{{ port }}}}/page" }}
stop_timeout_s = 10

[processes.clock]
hosts = ["b"]
after = ["web"]
template = "clock.service.j2"

[files.page]
template = "page.j2"
path = "/srv/page"

[tools.page]
host = "b"
run = ["cat", "/srv/page"]

[tools.echo]
run = ["sh", "-c", "printf '%s|' $WHERE \\"$0\\" \\"$@\\""]
env = {{ WHERE = "{{{{ address('web') }}}}:{{{{ port }}}}" }}

[overlays.loud]
variables.greeting = "HELLO"
"""

_WEB = """
[Service]
ExecStart=python3 -u -m http.server --directory /srv --bind {{ host.address }} {{ port }}
Restart=on-failure
RestartSec=50ms
"""

_CLOCK = """
[Service]
ExecStart=sh -c 'echo the clock says {{ greeting }}; exec sleep infinity'
"""


def write_spec(folder: Path, name: str = NAME) -> Path:
    """Writes the spec and what it needs. Gives its path."""
    folder.mkdir(parents=True, exist_ok=True)
    (folder / "web.service.j2").write_text(_WEB)
    (folder / "clock.service.j2").write_text(_CLOCK)
    (folder / "page.j2").write_text("{{ greeting }} from {{ host.name }}\n")
    spec = folder / "small.toml"
    spec.write_text(_SPEC.format(name=name))
    return spec
