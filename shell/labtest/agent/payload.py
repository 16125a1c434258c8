"""The agent's program made ready to be sent: one compressed text, its digest, and the command that takes it in.

Nothing is installed and nothing is written to the host's disk. The remote command is one line that any login shell passes on to ``sh``; it reads
a loader from standard input, the loader reads the payload, checks its digest, and runs it. What the host must have is ``sh`` and ``python3`` (3.9
or newer), and ``sudo`` where it is asked for.
"""

from __future__ import annotations

import base64
import hashlib
import json
import shlex
import zlib
from functools import lru_cache
from pathlib import Path

import msgspec

__all__ = ["AgentOptions", "Payload", "build_payload", "opening", "python_command", "shell_script"]

#: In an order in which each needs only those before.
MODULES = (
    "limits",
    "failures",
    "frames",
    "requests",
    "processes",
    "files",
    "manifest",
    "locks",
    "units",
    "health",
    "releases",
    "actions",
    "journal",
    "server",
    "main",
)

#: Said on standard output once the login has succeeded: what fails after it is no refused login.
LOGIN_MARK = "labtest-login"
#: Exit statuses of the remote command that are nobody else's.
STATUS_NO_PYTHON = 97
STATUS_NO_SUDO = 96

#: Reads a line of base64 byte by byte, so that not one byte of what follows is taken.
_READ_LOADER = 'import os,base64;exec(base64.b64decode(b"".join(iter(lambda:os.read(0,1).strip(),b""))))'

_LOADER = """
import sys
if sys.version_info < (3, 9):
    sys.stderr.write("labtest: python3 is %d.%d, and 3.9 or newer is needed\\n" % sys.version_info[:2])
    sys.exit(97)
import hashlib, json, linecache, types, zlib
payload = b""
while len(payload) < SIZE:
    more = os.read(0, SIZE - len(payload))
    if not more:
        sys.exit("labtest: the connection ended within the agent's program")
    payload += more
if hashlib.sha256(payload).hexdigest() != DIGEST:
    sys.exit("labtest: the agent's program was changed on its way")
package = types.ModuleType("labtest_agent")
package.__path__ = []
sys.modules["labtest_agent"] = package
for name, source in json.loads(zlib.decompress(payload)):
    module = types.ModuleType("labtest_agent." + name)
    module.__package__ = "labtest_agent"
    module.__file__ = "labtest_agent/" + name + ".py"
    sys.modules[module.__name__] = module
    setattr(package, name, module)
    linecache.cache[module.__file__] = (len(source), None, source.splitlines(True), module.__file__)
    exec(compile(source, module.__file__, "exec"), module.__dict__)
sys.modules["labtest_agent.main"].main(DIGEST, OPTIONS)
"""


class AgentOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Where an agent keeps its own things on its host."""

    #: Manifests: ``<state_folder>/<environment>/manifest.json``.
    state_folder: str = "/var/lib/labtest"
    #: Locks: ``<run_folder>/<environment>.lock``.
    run_folder: str = "/run/labtest"


class Payload(msgspec.Struct, frozen=True):
    """The program, compressed, and the sha256 of that."""

    content: bytes
    digest: str


@lru_cache(maxsize=1)
def build_payload() -> Payload:
    """The program as it is in the folder beside this file."""
    folder = Path(__file__).parent / "program"
    sources = [(name, (folder / f"{name}.py").read_text(encoding="utf-8")) for name in MODULES]
    content = zlib.compress(json.dumps(sources).encode(), 9)
    return Payload(content, hashlib.sha256(content).hexdigest())


def opening(options: AgentOptions, payload: Payload) -> bytes:
    """The first bytes that go to the host: the loader, and the payload."""
    parameters = {
        "SIZE": len(payload.content),
        "DIGEST": payload.digest,
        "OPTIONS": json.dumps(msgspec.to_builtins(options)),
    }
    assignments = "".join(f"{name} = {value!r}\n" for name, value in parameters.items())
    return base64.b64encode((assignments + _LOADER).encode()) + b"\n" + payload.content


def python_command(python: str = "python3") -> list[str]:
    """What takes the opening in, isolated from what the host's environment or folder would make Python import."""
    return [python, "-I", "-c", _READ_LOADER]


def shell_script(*, sudo: bool) -> str:
    """The line that ``sh -c`` runs on the host."""
    command = shlex.join(python_command())
    lines = [f"echo {LOGIN_MARK}", "LC_ALL=C", "export LC_ALL"]
    if sudo:
        lines.append(
            f'command -v sudo >/dev/null || {{ echo "labtest: there is no sudo" >&2; exit {STATUS_NO_SUDO}; }}'
        )
        command = f"sudo -n -- {command}"
    lines.append(
        f'command -v python3 >/dev/null || {{ echo "labtest: there is no python3" >&2; exit {STATUS_NO_PYTHON}; }}'
    )
    return "; ".join([*lines, f"exec {command}"])
