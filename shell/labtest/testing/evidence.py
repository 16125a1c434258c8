"""What is written down of an environment when a test has failed: how everything was, how that differed, and what was logged."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path

from labtest.core.actual import Actual, UnitState
from labtest.core.environment import HostKind
from labtest.errors import LabError
from labtest.live import LiveEnvironment
from labtest.live.limits import (
    COLLECT_TIMEOUT_S,
    INSIDE_TIMEOUT_S,
    JOURNAL_BYTES_MAX,
    JOURNAL_LINES_MAX,
    JOURNAL_READERS_MAX,
    SHOWN_LINES_MAX,
)
from labtest.namespaces import status_of

__all__ = ["Evidence", "collect"]

#: Of a host's faults, those with which it cannot be asked over the network.
_DEAF = {"off", "frozen", "cut off"}
_PROPERTIES = ("LoadState", "ActiveState", "SubState", "Result", "StatusText", "MainPID", "NRestarts")


@dataclass
class Evidence:
    """What was found."""

    #: Title and text, for a report on a terminal.
    sections: list[tuple[str, str]] = field(default_factory=list)
    #: Written, relative to the folder that was given.
    files: list[str] = field(default_factory=list)


@dataclass(frozen=True)
class _Unit:
    """One instance of a process."""

    host: str
    process: str
    unit: str
    state: UnitState | None
    journal: str

    @property
    def title(self) -> str:
        return f"{self.process}@{self.host}"

    def is_well(self, began_ns: int) -> bool:
        """Whether it is active, and systemd did not have to restart it since the test began. What a plan restarts is well."""
        if self.state is None or self.state.active != "active":
            return False
        return not self.state.restarts or self.state.active_since_ns < began_ns


def collect(env: LiveEnvironment, folder: Path | None) -> Evidence:
    """Looks at everything, hurt as it is, and writes it to ``folder`` if that is given. What cannot be had is said, and is no error."""
    status = _lab_status(env)
    actual, problem = _observed(env, [name for name, said in status.items() if said & _DEAF])
    units = _units(env, actual)
    differences = [problem] if problem else _differences(env, actual)
    shown = [*_host_lines(env, actual, status), *_unit_lines(units)]
    evidence = Evidence()
    if folder is not None:
        texts = {
            "status.txt": "\n".join(shown),
            "differences.txt": "\n".join(differences) or "nothing differs",
        }
        texts |= {f"journal/{one.host}/{one.unit}.log": one.journal for one in units}
        evidence.files = _written(folder, texts)
    _show(evidence, env, units, differences, folder)
    return evidence


def _lab_status(env: LiveEnvironment) -> dict[str, set[str]]:
    """Namespace host to what is wrong with it on purpose."""
    if env.lab is None:
        return {}
    return {
        host.name: {*([] if host.state == "up" else [host.state]), *host.faults}
        for host in status_of(env.lab).hosts
    }


def _observed(env: LiveEnvironment, without: Sequence[str]) -> tuple[Actual, str]:
    try:
        return env.observe(COLLECT_TIMEOUT_S / 2, without=without), ""
    except LabError as error:
        nothing: dict[str, None] = dict.fromkeys(env.hosts)
        return Actual(environment=env.name, hosts={**nothing}), f"not known: {error}"


def _differences(env: LiveEnvironment, actual: Actual) -> list[str]:
    try:
        return env.differences(actual)
    except LabError as error:
        return [f"not known: {error}"]


def _units(env: LiveEnvironment, actual: Actual) -> list[_Unit]:
    states = {
        (host, one.state.unit): one.state
        for host, found in actual.hosts.items()
        if found is not None
        for one in found.processes
    }
    named = [(one.hosts[0], one.name, one.unit) for one in env.processes]

    def look(one: tuple[str, str, str]) -> _Unit:
        host, process, unit = one
        state = states.get((host, unit)) or _state_inside(env, host, unit)
        return _Unit(host, process, unit, state, _journal(env, host, unit))

    with ThreadPoolExecutor(JOURNAL_READERS_MAX) as readers:
        return list(readers.map(look, named))


def _state_inside(env: LiveEnvironment, host: str, unit: str) -> UnitState | None:
    """The state on a namespace host that is cut off; None where that cannot be had either."""
    if env.hosts[host].kind is not HostKind.NAMESPACE:
        return None
    argv = ["systemctl", "show", f"--property={','.join(_PROPERTIES)}", unit]
    try:
        said = env.hosts[host].run(argv, timeout_s=INSIDE_TIMEOUT_S, check=True).stdout
    except LabError:
        return None
    found = dict(line.split("=", 1) for line in said.splitlines() if "=" in line)
    return UnitState(
        unit=unit,
        load=found.get("LoadState", ""),
        active=found.get("ActiveState", ""),
        sub=found.get("SubState", ""),
        result=found.get("Result", ""),
        status=found.get("StatusText", ""),
        main_pid=int(found.get("MainPID", 0)),
        restarts=int(found.get("NRestarts", 0)),
    )


def _journal(env: LiveEnvironment, host: str, unit: str) -> str:
    try:
        text = env.hosts[host].journal(unit, lines=JOURNAL_LINES_MAX, timeout_s=COLLECT_TIMEOUT_S)
    except LabError as error:
        return f"not to be had: {error}\n"
    raw = text.encode()
    if len(raw) <= JOURNAL_BYTES_MAX:
        return text
    return f"({len(raw) - JOURNAL_BYTES_MAX:,} bytes before were left out)\n" + raw[
        -JOURNAL_BYTES_MAX:
    ].decode(errors="replace")


def _host_lines(env: LiveEnvironment, actual: Actual, status: dict[str, set[str]]) -> list[str]:
    lines = []
    for name in env.hosts:
        answer = "answers" if actual.hosts.get(name) is not None else "does not answer"
        said = ", ".join(sorted(status.get(name, ())))
        lines.append(f"host {name} {answer}{f': {said}' if said else ''}")
    return lines


def _unit_lines(units: Sequence[_Unit]) -> list[str]:
    width = max((len(one.title) for one in units), default=0)
    return [f"{one.title:<{width}}  {_said(one.state)}  ({one.unit})" for one in units]


def _said(state: UnitState | None) -> str:
    if state is None:
        return "not known"
    words = [f"{state.active} ({state.sub})"]
    if state.result not in ("", "success"):
        words.append(f"result {state.result}")
    if state.restarts:
        words.append(f"{state.restarts} restarts by systemd")
    if state.main_pid:
        words.append(f"pid {state.main_pid}")
    if state.status:
        words.append(state.status)
    return ", ".join(words)


def _written(folder: Path, texts: dict[str, str]) -> list[str]:
    for name, text in texts.items():
        path = folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text(text if text.endswith("\n") else f"{text}\n", encoding="utf-8")
    return list(texts)


def _show(
    evidence: Evidence,
    env: LiveEnvironment,
    units: Sequence[_Unit],
    differences: Sequence[str],
    folder: Path | None,
) -> None:
    unwell = [one for one in units if not one.is_well(env.began_ns)]
    lines = [
        f"{len(units) - len(unwell)} of {len(units)} processes are well, and have not been restarted by systemd"
    ]
    lines += _unit_lines(unwell)
    if differences:
        lines += ["", "different from the spec and the changes made:", *differences[:SHOWN_LINES_MAX]]
    if folder is not None:
        lines += ["", f"journals of all processes since the test began: {folder}"]
    evidence.sections.append((f"lab {env.name}", "\n".join(lines)))
    for one in unwell:
        tail = "\n".join(one.journal.splitlines()[-SHOWN_LINES_MAX:])
        evidence.sections.append(
            (f"lab {env.name}: journal of {one.title}", tail or "(nothing since the test began)")
        )
