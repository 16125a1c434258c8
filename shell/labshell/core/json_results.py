"""What commands give as their ``result`` with ``--json``, besides the tables of :mod:`labshell.core.json_objects`, and the line around it.

Law: as stable as those: fields are only ever added. Commands that carry something out share one object, whatever it was; so do those that collect
a change. A script can rely on ``exit`` and ``result`` alone; what is in ``text`` is for people, and may read differently tomorrow.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import msgspec

from labshell.core.json_objects import Fields, JsonField, held_json
from labtest.core.change_values import Change
from labtest.core.changes import describe

__all__ = [
    "RESULTS",
    "collected_json",
    "difference_json",
    "history_json",
    "outcome_json",
    "reached_json",
]


def _of(name: str, kind: str, text: str) -> JsonField:
    return JsonField(name, kind, text, lambda one: one.get(name))


_LINE = Fields(
    "Every command: one line, an object",
    (
        _of("command", "text", "The command in full, with what was left out filled in."),
        _of("exit", "integer", "Its exit code."),
        _of("state", "text", "done, failed, cancelled or dropped; dropped: it was never begun."),
        _of("result", "as below, or null", "What the command gives; null: it gives nothing, or did not come so far."),
        _of("text", "array of text", "What it says to people."),
        _of("warnings", "array of text", "What should be known, and kept it from nothing."),
        _of("error", "text or null", "Why it failed, for people."),
        _of("errors", "array of errors", "The same for programs; empty where `error` is not the fault of the line or of a host."),
        _of("dropped", "integer", "Items of the result that were left out, since there were too many."),
        _of("elapsed_s", "number", "How long it took."),
    ),
)  # fmt: skip

_OUTCOME = Fields(
    "`apply`, `rollback`, `resume`, `down`, `start`, `stop`, `restart`, `reload`, `set`, `unset`: an object",
    (
        _of("ending", "text", "done, rolled back (it failed, and all is as it was) or failed."),
        _of("steps_done", "integer", "Steps that were done, those of a rollback as well."),
        _of("problems", "array", "Steps that failed, each an object of `host`, `step` and `error`."),
        _of("left", "array of text", "How hosts still differ from where it should have ended."),
        _of("unreachable", "array of text", "Hosts that do not answer, so that nothing was done there."),
        _of(
            "held",
            "array",
            "What was left as it is, each an object of `host`, `unit` and `reason`, since doing it would break something.",
        ),
    ),
)

_COLLECTED = Fields(
    "`swap`, `move`, `add`, `remove`, `add-host`, `remove-host`, `set --later`, `unset --later`, `discard`: an object",
    (
        _of("change", "object or null", "The change, by its `type`; null: nothing had to be changed."),
        _of("what", "text or null", "The change, for people."),
        _of("pending", "array of text", "All changes that wait for `apply` now, for people."),
    ),
)

_DIFFERENCE = Fields(
    "`diff`: an array of",
    (
        _of("host", "text", "Where."),
        _of("what", "text", "What it is about: a path, a process or a release."),
        _of("reason", "text", "How it differs."),
        _of("action", "object", "What `apply` would do, by its `type`."),
        _of("lines", "array of text", "Of a file: its lines that differ, as a unified diff."),
    ),
)

_HISTORY = Fields(
    "`history`: an array, the latest last, of",
    (
        _of("at", "time", "When it began."),
        _of("user", "text", "Whose shell it was."),
        _of("sudo_user", "text", "Who became that by sudo; empty: nobody."),
        _of("host", "text", "The machine that the shell ran on."),
        _of("tty", "text", "Its terminal; empty: it had none."),
        _of("client", "text", "From where it was reached by ssh; empty: it was not."),
        _of("pid", "integer", "The shell's process there."),
        _of("command", "text", "Name of the command."),
        _of("line", "text", "The command in full."),
        _of(
            "result",
            "text or null",
            "done, failed, cancelled or dropped; null: its end was never written: it still runs, or its shell was killed.",
        ),
        _of("exit", "integer or null", "Its exit code."),
        _of("problem", "text", "Why it failed; empty: it did not, or has said so itself."),
        _of("elapsed_s", "number or null", "How long it took."),
    ),
)

_REACHED = Fields(
    "`reconnect`: an array of",
    (
        _of("host", "text", "Its name in the spec."),
        _of("connected", "boolean", "Whether it answers now."),
        _of("reason", "text or null", "Why it does not."),
    ),
)

#: All of them, for the documentation.
RESULTS: tuple[Fields, ...] = (_LINE, _OUTCOME, _COLLECTED, _DIFFERENCE, _HISTORY, _REACHED)


def outcome_json(
    *,
    ending: str,
    steps_done: int,
    problems: Iterable[tuple[str, str, str]],
    left: Iterable[str],
    unreachable: Iterable[str],
    held: Mapping[tuple[str, str], str],
) -> dict[str, object]:
    """What carrying something out came to. ``problems`` are of host, step and error; ``held`` is host and unit to the reason."""
    return _OUTCOME.of(
        {
            "ending": ending,
            "steps_done": steps_done,
            "problems": [{"host": host, "step": step, "error": error} for host, step, error in problems],
            "left": list(left),
            "unreachable": list(unreachable),
            "held": held_json(held),
        }
    )


def collected_json(change: Change | None, pending: Iterable[str]) -> dict[str, object]:
    """What became of a change that waits, and all that wait."""
    return _COLLECTED.of(
        {
            "change": msgspec.to_builtins(change) if change is not None else None,
            "what": describe(change) if change is not None else None,
            "pending": list(pending),
        }
    )


def difference_json(
    host: str, what: str, reason: str, action: object, lines: Sequence[str]
) -> dict[str, object]:
    """One difference of one host."""
    return _DIFFERENCE.of(
        {
            "host": host,
            "what": what,
            "reason": reason,
            "action": msgspec.to_builtins(action),
            "lines": list(lines),
        }
    )


def reached_json(host: str, problem: str) -> dict[str, object]:
    """Whether a host could be reached."""
    return _REACHED.of({"host": host, "connected": not problem, "reason": problem or None})


def history_json(records: Iterable[Mapping[str, Any]], count: int) -> list[dict[str, object]]:
    """The last commands that change something, from the records of an audit log, in which each has a "began" and, when it is over, an "ended"."""
    commands: dict[tuple[object, ...], dict[str, Any]] = {}
    for record in records:
        if not record.get("changes"):
            continue
        key = tuple(record.get(name) for name in ("host", "pid", "job", "line"))
        if record.get("event") == "began":
            commands.pop(key, None)  # another process that had the same number once
            commands[key] = {"problem": "", **record}
        elif key in commands:
            commands[key] |= {name: record.get(name) for name in ("result", "exit", "problem", "elapsed_s")}
        else:  # its beginning is further back than what was read
            commands[key] = dict(record)
    return [_HISTORY.of(one) for one in list(commands.values())[-count:]]
