"""The text of ``docs/toucan-settings.md``: every key of ``toucan.toml``, of the instruments, limits and users files, from where it is declared."""

from __future__ import annotations

import inspect
import re
import textwrap
from types import ModuleType

import msgspec

from toucan import instrument_file
from toucan.core import risk_document
from toucan.core.instruments import Instrument, Session
from toucan.core.risk_limits import LIMITS, LimitKind, LimitSpec
from toucan.engine.settings import EngineSection, VenueSection
from toucan.fix.settings import DropCopySection, FixAcceptorSection, FixSection, FixSessionSection
from toucan.server import entitlements, users
from toucan.server.settings import ServerSection
from toucan.web.settings import WebSection

__all__ = ["field_comments", "settings_page"]

_INTRO = """\
# Settings of toucan

All files are TOML and read strictly: a key that is not understood is an error that names file and line, and what was probably meant.

`toucan.toml` is one file for all processes of a host: the engine reads `[engine]` and `[venue.NAME]`, front ends `[engine]` and `[server]`, gateways
`[engine]` and `[web]`, FIX sessions `[engine]` and their own ([docs](toucan-fix.md)). `toucan dev` needs none of them.
"""

_FIELD = re.compile(r"(\w+): [^=]+")


def settings_page() -> str:
    """The page, without the line that says that it is generated."""
    parts = [_INTRO]
    for title, struct in (
        ("[engine]", EngineSection),
        ("[venue.NAME]", VenueSection),
        ("[server]", ServerSection),
        ("[web]", WebSection),
        ("[fix.NAME]", FixSection),
        ("[fix_acceptor]", FixAcceptorSection),
        ("[fix_acceptor.session.COMPID]", FixSessionSection),
        ("[fix_acceptor.drop_copy.COMPID]", DropCopySection),
    ):
        parts += [f"## `{title}`\n", _struct_table(struct)]
    parts += [
        "## Instruments file\n",
        _example(instrument_file),
        "Of each instrument:\n",
        _struct_table(Instrument),
    ]
    parts += ["Of its session:\n", _struct_table(Session)]
    parts += ["## Limits file\n", _example(risk_document), _limits_text(), _limits_table()]
    parts += [
        "## Users file\n",
        _example(users),
        _actions_table(),
        "A token's hash is made by `toucan server hash-token --new`.\n",
    ]
    return "\n".join(parts)


def _struct_table(struct: type[msgspec.Struct]) -> str:
    comments = field_comments(struct)
    rows = ["| key | default | what it is |", "|---|---|---|"]
    for field in msgspec.structs.fields(struct):
        default = "" if field.default is msgspec.NODEFAULT else f"`{_toml(field.default)}`"
        rows.append(f"| `{field.encode_name}` | {default} | {comments.get(field.name, '')} |")
    return "\n".join(rows) + "\n"


def _toml(value: object) -> str:
    match value:
        case bool():
            return str(value).lower()
        case str():
            return f'"{value}"'
        case tuple():
            return f"[{', '.join(map(_toml, value))}]"
        case Session():
            return "around the clock"
        case _:
            return str(value)


def field_comments(struct: type) -> dict[str, str]:
    """Each field of a class and what the comment (``#:``) above it says, or else the class's docstring about it."""
    found: dict[str, str] = {}
    comment: list[str] = []
    for line in map(str.strip, inspect.getsource(struct).splitlines()):
        match = _FIELD.match(line)
        if line.startswith("#:"):
            comment.append(line.removeprefix("#:").strip())
            continue
        if match is not None:
            found[match.group(1)] = " ".join(comment).replace("|", "&#124;").replace("``", "`")
        comment = []
    return found


def _example(module: ModuleType) -> str:
    """The indented example in a module's docstring."""
    text = inspect.getdoc(module) or ""
    example = text.split("::\n", 1)[1]
    lines = []
    for line in example.lstrip("\n").splitlines():
        if line and not line.startswith(" "):
            break
        lines.append(line)
    return f"```toml\n{textwrap.dedent(chr(10).join(lines)).strip()}\n```\n"


def _actions_table() -> str:
    """The table of actions in the docstring of :mod:`toucan.server.entitlements`."""
    lines = (inspect.getdoc(entitlements) or "").splitlines()
    table = "\n".join(line.replace("``", "`") for line in lines if line.startswith("|"))
    return f"What `actions` can be, each on the user's accounts:\n\n{table}\n"


def _limits_text() -> str:
    return (
        'Each limit can stand at any node: `[firm]`, `[team.NAME]`, `[account.NAME]`, `[trader."ACCOUNT/NAME"]`; all nodes above an order are '
        "checked, each with what is used below it. Numbers are decimal strings. At run time `toucan limits set NODE LIMIT VALUE` changes one.\n"
    )


def _limits_table() -> str:
    rows = ["| limit | takes | what it does |", "|---|---|---|"]
    rows += [f"| `{spec.name}` | {_takes(spec)} | {_limit_text(spec)} |" for spec in LIMITS.values()]
    return "\n".join(rows) + "\n"


def _takes(spec: LimitSpec) -> str:
    return " or ".join(f"`{word}`" for word in spec.words) if spec.kind is LimitKind.WORD else spec.kind.value


def _limit_text(spec: LimitSpec) -> str:
    default = f" Default: {spec.default}." if spec.default != "" else ""
    symbol = " Can be given for one symbol (`[account.NAME.symbol.SYMBOL]`)." if spec.per_symbol else ""
    return f"{spec.help_text}{default}{symbol}"
