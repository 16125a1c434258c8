"""Commands that look: status, hosts, history, help."""

from __future__ import annotations

import re
import textwrap
import time
from collections.abc import Mapping
from datetime import datetime
from pathlib import Path
from typing import Any

import msgspec
import trio

from labshell.app.context import Context
from labshell.app.exits import Exit
from labshell.commands.drawing import draw_table
from labshell.core.commands import find_command
from labshell.core.json_objects import hosts_json, status_json
from labshell.core.json_results import history_json
from labshell.core.parse import Bound
from labshell.core.pictures import hosts_table, status_table
from labshell.core.reference import help_list, help_text
from labshell.core.state import Condition, condition, instances_of
from labshell.session.session import Session

__all__ = ["history", "hosts", "show_help", "status"]

#: ``status`` right after the start waits this long for the hosts' first word.
FIRST_WORD_S = 10.0
#: Of the end of the audit log, for ``history``.
AUDIT_BYTES_READ_MAX = 4 * 2**20
#: Of what should run.
_BAD = frozenset({Condition.DOWN, Condition.ABSENT})


async def status(session: Session, context: Context, bound: Bound) -> int:
    """The states of instances. Exit code 1 if one of them should run and does not, else 5 if that is not known of one."""
    await session.wait_for_first_word(FIRST_WORD_S)
    view, now_s = session.view, session.store.now_s()
    chosen = bound.texts("instances") or None
    down_only = bound.flag("down")
    if context.json:
        context.emit(status_json(view, now_s=now_s, instances=chosen, down_only=down_only))
    else:
        now_ns = time.time_ns()
        draw_table(
            context, status_table(view, now_s=now_s, now_ns=now_ns, instances=chosen, down_only=down_only)
        )
    found = {
        condition(view, process, host, wanted=wanted)
        for process, host, wanted in instances_of(view.environment)
        if wanted and (chosen is None or f"{process}@{host}" in chosen)
    }
    return Exit.FAILED if found & _BAD else Exit.UNREACHABLE if Condition.UNKNOWN in found else Exit.OK


async def hosts(session: Session, context: Context, bound: Bound) -> int:
    """How the connections are."""
    await session.wait_for_first_word(FIRST_WORD_S)
    view, now_s = session.view, session.store.now_s()
    chosen = bound.texts("hosts") or None
    if context.json:
        context.emit(hosts_json(view, now_s=now_s, hosts=chosen))
    else:
        draw_table(context, hosts_table(view, now_s=now_s, hosts=chosen))
    return 0


async def history(session: Session, context: Context, bound: Bound) -> int:
    """The commands that changed something, from the audit log."""
    count = bound.number("lines") or 20
    commands = await trio.to_thread.run_sync(_last_commands, session.audit_path, count)
    context.emit(commands)
    for one in commands:
        context.print(_history_line(one))
    if not commands:
        context.print("nothing was ever changed here")
    return Exit.OK


def _history_line(one: Mapping[str, Any]) -> str:
    at = datetime.fromisoformat(one["at"]).astimezone().strftime("%Y-%m-%d %H:%M:%S")
    who = f"{one['sudo_user'] or one['user']}@{one['host']}"
    if one["result"] is None:
        ending = "under way, or its shell was killed"
    else:
        code = f" ({one['exit']})" if one["exit"] else ""
        ending = f"{one['result']}{code} in {one['elapsed_s'] or 0:.1f} s"
    problem = f": {one['problem']}" if one["problem"] and one["result"] != "cancelled" else ""
    return f"{at}  {who}  {one['line']}  {ending}{problem}"


def _last_commands(path: Path, count: int) -> list[dict[str, object]]:
    """Of the end of an audit log; a line that was cut off by a crash is left out."""
    try:
        with path.open("rb") as file:
            file.seek(max(0, path.stat().st_size - AUDIT_BYTES_READ_MAX))
            lines = file.read().splitlines()
    except FileNotFoundError:
        return []
    records = []
    for line in lines:
        try:
            records.append(msgspec.json.decode(line, type=dict[str, Any]))
        except msgspec.DecodeError:
            continue
    return history_json(records, count)


def _wrapped(line: str, width: int) -> str:
    """At words; what goes on stands where the last column of the line began."""
    columns = [match.end() for match in re.finditer(r"\S {2,}", line)]
    indent = columns[-1] if columns and columns[-1] < width // 2 else len(line) - len(line.lstrip())
    return textwrap.fill(
        line, width, subsequent_indent=" " * indent, break_on_hyphens=False, drop_whitespace=True
    )


async def show_help(session: Session, context: Context, bound: Bound) -> int:
    """All commands, or one."""
    name = bound.text("command")
    command = find_command(name) if name else None
    lines = help_text(command) if command else help_list()
    context.print("\n".join(_wrapped(line, context.width) for line in lines))
    return 0
