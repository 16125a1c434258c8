"""The actions of a plan, carried out on this host. Each can be done twice with the same end as once."""

from __future__ import annotations

import os
import time
from collections.abc import Callable
from typing import Any

from . import units as unit_states
from .failures import Failed, naming
from .files import Digests, facts_of, put_file, sync_folder
from .health import check_health
from .manifest import Manifests
from .processes import Processes
from .releases import Releases
from .requests import Request
from .units import Units

__all__ = ["Host", "boot_id"]

Step = Callable[[Request, str, dict[str, Any]], str]
_ON = ("active", "reloading")


def boot_id() -> str:
    """Changes with each boot (proc(5))."""
    with open("/proc/sys/kernel/random/boot_id", encoding="ascii") as stream:
        return stream.read().strip()


class Host:
    """What this host has, and what can be done to it."""

    def __init__(self, processes: Processes, state_folder: str) -> None:
        self.units = Units(processes)
        self._processes = processes
        self._digests = Digests()
        self._manifests = Manifests(state_folder)
        self._releases = Releases(processes, self._digests, self._manifests)
        self._steps: dict[str, Step] = {
            "put-file": self._put_file,
            "remove-file": self._remove_file,
            "install-release": self._install_release,
            "switch-release": self._switch_release,
            "remove-release": self._remove_release,
            "reload-manager": self._reload_manager,
            "stop": self._stop,
            "start": self._start,
            "restart": self._restart,
            "reload": self._reload,
            "check-health": self._check_health,
            "forget": self._forget,
        }

    def do(self, request: Request) -> str:
        """Carries an action out; gives a line for people. Raises :class:`Failed`."""
        action = request.arguments["action"]
        step = self._steps.get(action["type"])
        if step is None:
            raise Failed("not-allowed", f"there is no action {action['type']!r}")
        return step(request, request.arguments["environment"], action)

    # ------------------------------------------------------------ observe

    def observe(self, request: Request) -> dict[str, Any]:
        """What the manifest names and what was asked for, as ``HostActual`` has it."""
        manifest = self._manifests.read(request.arguments["environment"])
        processes = {entry["process"]: unit for unit, entry in manifest["units"].items()}
        processes.update(request.arguments["units"])
        units = sorted({*processes.values(), *manifest["units"]})
        states = {state["unit"]: state for state in self.units.states(units)}
        return {
            "boot_id": boot_id(),
            "files": self._observe_files(request, manifest),
            "releases": [
                self._releases.facts(name, release["folder"])
                for name, release in sorted(manifest["releases"].items())
            ],
            "processes": self._observe_units(manifest, request.arguments["units"], states),
        }

    def _observe_files(self, request: Request, manifest: dict[str, Any]) -> list[dict[str, Any]]:
        files = []
        for path in sorted({*manifest["files"], *request.arguments["files"]}):
            request.check()
            facts = facts_of(path, self._digests)
            if facts is not None:
                files.append({**facts, "managed": path in manifest["files"]})
        return files

    def _observe_units(
        self, manifest: dict[str, Any], asked: dict[str, str], states: dict[str, unit_states.State]
    ) -> list[dict[str, Any]]:
        names = {(entry["process"], unit) for unit, entry in manifest["units"].items()}
        names.update((process, unit) for process, unit in asked.items() if unit not in manifest["units"])
        return [
            {
                "process": process,
                "state": unit_states.told(states[unit]),
                "started_from": manifest["units"].get(unit, {}).get("started_from", {}),
                "managed": unit in manifest["units"],
            }
            for process, unit in sorted(names)
        ]

    # ------------------------------------------------------------ files and releases

    def _put_file(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        file = action["file"]
        said = put_file(request, file, action["replaces_sha256"], self._digests)
        with self._manifests.change(environment) as manifest:
            manifest["files"][file["path"]] = {"sha256": file["sha256"], "is_unit": file["is_unit"]}
        return said

    def _remove_file(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        path = action["path"]
        if path not in self._manifests.read(environment)["files"]:
            return f"{path} is left as it is: labtest did not put it there"
        with naming(f"removing {path}"):
            is_there = os.path.lexists(path)
            if is_there:
                os.unlink(path)
                sync_folder(os.path.dirname(path))
        with self._manifests.change(environment) as manifest:
            manifest["files"].pop(path, None)
        return f"{path} removed" if is_there else f"{path} is not there"

    def _install_release(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        return self._releases.install(request, environment, action["release"])

    def _switch_release(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        said = self._releases.switch(request, environment, action["release"], action["replaces"])
        self.units.poke()
        return said

    def _remove_release(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        return self._releases.remove(environment, action["name"], action["folder"], action["version"])

    # ------------------------------------------------------------ units

    def _reload_manager(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        self.units.reload_manager(request)
        return ""

    def _stop(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        state = self.units.state(action["unit"])
        if state["load"] == "not-found" and state["active"] == "inactive":
            return f"{action['unit']} is not there"
        after = self.units.do(request, "stop", action["unit"], action["timeout_s"])
        if after["active"] not in ("inactive", "failed"):
            raise Failed(
                "unit-failed",
                f"{action['unit']} was stopped, and is {after['active']}: something starts it again",
            )
        return f"{action['unit']} stopped"

    def _start(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        process = action["process"]
        unit = process["unit"]
        inputs = _inputs(process)
        state = self.units.state(unit)
        if state["active"] in _ON:
            # An agent that was killed between systemd's start and its note has left what it was about to start from.
            if self._manifests.read(environment)["units"].get(unit, {}).get("starting") == inputs:
                self._note(environment, process)
                return f"{unit} is running already"
            with self._manifests.change(environment) as manifest:
                manifest["units"].setdefault(unit, _entry(process, {}))
            return f"{unit} is running already, and was not started from what it should be now"
        return self._begin(request, environment, process, "start", "started")

    def _restart(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        return self._begin(request, environment, action["process"], "restart", "restarted")

    def _begin(
        self, request: Request, environment: str, process: dict[str, Any], verb: str, said: str
    ) -> str:
        unit = process["unit"]
        with self._manifests.change(environment) as manifest:
            entry = manifest["units"].setdefault(unit, _entry(process, {}))
            entry["starting"] = _inputs(process)
        self.units.reset_failed(unit)
        state = self.units.do(request, verb, unit, process["start_timeout_s"])
        is_done = (
            state["type"] == "oneshot" and state["active"] == "inactive" and state["result"] == "success"
        )
        if state["active"] not in _ON and not is_done:
            raise self.units.fail(unit, state, f"was {said}, and did not stay up", 0)
        self._note(environment, process)
        return f"{unit} {said}"

    def _reload(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        process = action["process"]
        started_at_ns = time.time_ns()
        state = self.units.do(request, "reload", process["unit"], process["start_timeout_s"])
        if state["errno"]:  # sd_notify(3): what it was told to read again it refused
            problem = f"has refused what it was to read again ({os.strerror(state['errno'])}), and goes on as before"
            raise self.units.fail(process["unit"], state, problem, started_at_ns)
        self._note(environment, process)
        return f"{process['unit']} reloaded"

    def _note(self, environment: str, process: dict[str, Any]) -> None:
        with self._manifests.change(environment) as manifest:
            manifest["units"][process["unit"]] = _entry(process, _inputs(process))

    def _check_health(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        return check_health(request, action["process"], self.units, self._processes)

    def _forget(self, request: Request, environment: str, action: dict[str, Any]) -> str:
        with self._manifests.change(environment) as manifest:
            is_known = manifest["units"].pop(action["unit"], None) is not None
        return "" if is_known else f"{action['unit']} was forgotten already"


def _inputs(process: dict[str, Any]) -> dict[str, str]:
    return {each["name"]: each["fingerprint"] for each in process["inputs"]}


def _entry(process: dict[str, Any], started_from: dict[str, str]) -> dict[str, Any]:
    return {"process": process["process"], "started_from": started_from}
