"""Units: what systemd says of them, and the verbs it is asked to carry out.

``systemctl`` is asked, not D-Bus: it is on every host that has systemd, speaks to PID 1 over its private socket where no bus is up yet, and one
call tells of any number of units. Requests that ask at the same time share a call. A watcher asks twice a second while somebody watches; signals
over D-Bus would come sooner by half a second, and need a client of D-Bus on every host.
"""

from __future__ import annotations

import re
import threading
import time
from collections.abc import Sequence
from typing import Any

from .failures import Failed
from .limits import (
    DAEMON_RELOAD_TIMEOUT_S,
    FAILURE_LOG_LINES,
    SHOW_TRIES_MAX,
    SYSTEMCTL_TIMEOUT_S,
    UNITS_POLL_MAX_S,
    UNITS_POLL_S,
    UNITS_POLL_SHARE,
)
from .processes import Processes, tail
from .requests import Request

__all__ = ["Units", "checked_unit", "is_pattern", "parse_show", "told"]

#: systemd.unit(5): "valid unit names"; the characters of shell patterns besides.
_UNIT = re.compile(r"[A-Za-z0-9:_.\\@*?\[\]-]{1,255}\Z")
_PROPERTIES = (
    "Id",
    "LoadState",
    "ActiveState",
    "SubState",
    "Result",
    "StatusText",
    "StatusErrno",
    "MainPID",
    "NRestarts",
    "ActiveEnterTimestampMonotonic",
    "InvocationID",
    "MemoryCurrent",
    "Type",
)
#: ``systemctl`` for a number that does not apply.
_NO_NUMBER = 2**64 - 1

State = dict[str, Any]


def is_pattern(name: str) -> bool:
    """Whether it may stand for several units."""
    return any(character in name for character in "*?[")


def parse_show(output: str, clock_offset_ns: int) -> list[State]:
    """The blocks of ``systemctl show`` as ``UnitState`` tells them. ``clock_offset_ns`` leads from CLOCK_MONOTONIC to the epoch.

    It is the same throughout an agent's life, so that a unit's start does not seem to move when the clock is set.
    """
    states = []
    for block in output.split("\n\n"):
        fields = dict(line.partition("=")[::2] for line in block.splitlines() if "=" in line)
        if "Id" not in fields:
            continue
        since_us = _number(fields, "ActiveEnterTimestampMonotonic")
        active = fields.get("ActiveState", "")
        is_on = active in ("active", "reloading")
        states.append(
            {
                "unit": fields["Id"],
                "load": fields.get("LoadState", ""),
                "active": active,
                "sub": fields.get("SubState", ""),
                "result": fields.get("Result", ""),
                "status": fields.get("StatusText", ""),
                "main_pid": _number(fields, "MainPID"),
                "restarts": _number(fields, "NRestarts"),
                "active_since_ns": since_us * 1000 + clock_offset_ns if since_us and is_on else 0,
                "invocation": fields.get("InvocationID", ""),
                "memory_bytes": _number(fields, "MemoryCurrent"),
                "type": fields.get("Type", ""),
                "errno": _number(fields, "StatusErrno"),
            }
        )
    return states


def _number(fields: dict[str, str], name: str) -> int:
    text = fields.get(name, "")
    number = int(text) if text.isdecimal() else 0
    return 0 if number >= _NO_NUMBER else number


class _Ask:
    """One request's question, answered by whoever makes the next call."""

    def __init__(self, names: Sequence[str]) -> None:
        self.names = list(names)
        self.states: list[State] = []
        self.failure: Failed | None = None
        self.is_answered = False


class Units:
    """The units of this host."""

    def __init__(self, processes: Processes) -> None:
        self._processes = processes
        self._offset_ns = time.time_ns() - time.monotonic_ns()
        self._asking = threading.Lock()  # held by the one that makes the call
        self._waiting_lock = threading.Lock()
        self._waiting: list[_Ask] = []
        self._poked = threading.Condition()
        self._pokes = 0

    # ------------------------------------------------------------ states

    def states(self, names: Sequence[str]) -> list[State]:
        """States of units, in the order of ``names``, each under the name it was asked by; those of patterns after them, in order of name."""
        for name in names:
            checked_unit(name)
        if not names:
            return []
        ask = _Ask(names)
        with self._waiting_lock:
            self._waiting.append(ask)
        with self._asking:
            if not ask.is_answered:
                with self._waiting_lock:
                    batch, self._waiting = self._waiting, []
                self._answer(batch)
        if ask.failure is not None:
            raise ask.failure
        return ask.states

    def state(self, unit: str) -> State:
        """The state of one unit."""
        return self.states([unit])[0]

    def _answer(self, batch: list[_Ask]) -> None:
        try:
            plain = sorted({name for ask in batch for name in ask.names if not is_pattern(name)})
            by_name = self._show_each(plain)
            for ask in batch:
                found = [by_name[name] for name in dict.fromkeys(ask.names) if not is_pattern(name)]
                patterns = [name for name in ask.names if is_pattern(name)]
                if patterns:
                    known = {state["unit"] for state in found}
                    more = {
                        state["unit"]: state for state in self._show(patterns) if state["unit"] not in known
                    }
                    found += [more[name] for name in sorted(more)]
                ask.states = found
        except Failed as failure:
            for ask in batch:
                ask.failure = failure
        for ask in batch:
            ask.is_answered = True

    def _show_each(self, names: list[str]) -> dict[str, State]:
        """By name; asked again if systemctl leaves one out, which has been seen beside the start of one, with no error."""
        for _ in range(SHOW_TRIES_MAX):
            states = self._show(names)
            if len(states) == len(names):
                # It answers in the order it was asked; a name may be another's alias, and is kept.
                return {name: {**states[index], "unit": name} for index, name in enumerate(names)}
        raise Failed(
            "io", f"systemctl show answered for {len(states)} of {len(names)} units: {', '.join(names)}"
        )

    def _show(self, names: list[str]) -> list[State]:
        if not names:
            return []
        argv = ["systemctl", "show", "--no-pager", f"--property={','.join(_PROPERTIES)}", "--", *names]
        outcome = self._processes.run(None, argv, timeout_s=SYSTEMCTL_TIMEOUT_S)
        if outcome.status != 0:
            raise Failed("io", f"systemctl show: {tail(outcome.stderr)}")
        return parse_show(outcome.stdout.decode("utf-8", "replace"), self._offset_ns)

    def watch(self, request: Request) -> None:
        """Sends the states of units, all at first and then those that have changed, until the request is cancelled."""
        names = list(request.arguments["units"])
        sent: dict[str, State] = {}
        is_first = True
        while True:
            if request.wait_until_it_may_send(UNITS_POLL_S):
                pokes, asked_at = self._pokes, time.monotonic()
                now = {state["unit"]: told(state) for state in self.states(names)}
                changed = [
                    state for name, state in now.items() if is_first or _differs(sent.get(name), state)
                ]
                changed += [_gone(sent[name]) for name in sent if name not in now]
                if changed or is_first:
                    request.event({"units": changed})
                    sent.update((state["unit"], state) for state in changed)
                    sent = {name: state for name, state in sent.items() if name in now}
                is_first = False
                took_s = time.monotonic() - asked_at
                self._wait_for_poke(
                    pokes, min(max(UNITS_POLL_S, took_s / UNITS_POLL_SHARE), UNITS_POLL_MAX_S)
                )
            request.check()

    def _wait_for_poke(self, pokes: int, timeout_s: float) -> None:
        with self._poked:
            self._poked.wait_for(lambda: self._pokes != pokes, timeout_s)

    def poke(self) -> None:
        """Something has changed: watchers look at once."""
        with self._poked:
            self._pokes += 1
            self._poked.notify_all()

    # ------------------------------------------------------------ verbs

    def do(self, request: Request, verb: str, unit: str, timeout_s: float) -> State:
        """``start``, ``stop``, ``restart`` or ``reload``, waited for; gives the state after it.

        Raises :class:`Failed`: ``not-found``, ``unit-failed`` with systemd's result and the unit's last lines, ``timeout`` (the job goes on).
        """
        checked_unit(unit)
        started_at_ns = time.time_ns()
        try:
            outcome = self._processes.run(
                request, ["systemctl", verb, "--no-pager", "--", unit], timeout_s=timeout_s
            )
        except Failed as failure:
            if failure.code != "timeout":
                raise
            state = self.state(unit)
            raise Failed(
                "timeout",
                f"{verb} of {unit} did not end within {timeout_s:g} s; it is {_words(state)}{self._last_lines(unit, started_at_ns)}",
            ) from failure
        finally:
            self.poke()
        state = self.state(unit)
        if outcome.status != 0:
            self._refuse(verb, unit, state, tail(outcome.stderr), started_at_ns)
        return state

    def _refuse(self, verb: str, unit: str, state: State, said: str, started_at_ns: int) -> None:
        if state["load"] == "not-found":
            raise Failed("not-found", f"there is no unit {unit} on this host")
        if state["load"] != "loaded":
            raise Failed("unit-failed", f"{verb} of {unit}: its file is {state['load']}: {said}")
        raise Failed(
            "unit-failed",
            f"{verb} of {unit} failed; it is {_words(state)}: {said}{self._last_lines(unit, started_at_ns)}",
        )

    def fail(self, unit: str, state: State, problem: str, since_ns: int) -> Failed:
        """``unit-failed``, with the unit's last lines."""
        return Failed(
            "unit-failed", f"{unit} {problem}; it is {_words(state)}{self._last_lines(unit, since_ns)}"
        )

    def _last_lines(self, unit: str, since_ns: int) -> str:
        since = f"--since=@{since_ns // 10**9}"
        argv = [
            "journalctl",
            "--no-pager",
            "--quiet",
            "--output=cat",
            f"--lines={FAILURE_LOG_LINES}",
            since,
            f"--unit={unit}",
        ]
        try:
            outcome = self._processes.run(None, argv, timeout_s=SYSTEMCTL_TIMEOUT_S)
        except Failed:
            return ""
        lines = tail(outcome.stdout)
        return f"\nits last lines:\n{lines}" if lines else ""

    def reset_failed(self, unit: str) -> None:
        """Makes systemd forget how often a unit has failed: a wish to start it is a new beginning."""
        self._processes.run(
            None, ["systemctl", "reset-failed", "--", checked_unit(unit)], timeout_s=SYSTEMCTL_TIMEOUT_S
        )

    def reload_manager(self, request: Request) -> None:
        """``systemctl daemon-reload``."""
        outcome = self._processes.run(
            request, ["systemctl", "daemon-reload"], timeout_s=DAEMON_RELOAD_TIMEOUT_S
        )
        if outcome.status != 0:
            raise Failed("io", f"systemctl daemon-reload: {tail(outcome.stderr)}")
        self.poke()


def checked_unit(name: str) -> str:
    """A unit's name, as it was. Raises :class:`Failed` for what is none."""
    if not _UNIT.match(name) or name.startswith("-"):
        raise Failed("not-found", f"{name!r} is no name of a unit")
    return name


def told(state: State) -> State:
    """A state as ``UnitState`` has it."""
    return {name: value for name, value in state.items() if name != "type"}


def _differs(before: State | None, now: State) -> bool:
    """Memory alone is no news: it is never the same twice."""
    return before is None or any(
        before[name] != value for name, value in now.items() if name != "memory_bytes"
    )


def _gone(state: State) -> State:
    """What a pattern does not find any more."""
    return {
        **state,
        "load": "not-found",
        "active": "inactive",
        "sub": "dead",
        "main_pid": 0,
        "active_since_ns": 0,
        "memory_bytes": 0,
    }


def _words(state: State) -> str:
    result = state["result"]
    more = f", result {result}" if result not in ("", "success") else ""
    return f"{state['active']} ({state['sub']}{more})"
