"""Health checks: asked from the process's own host until they pass, or until it is too late."""

from __future__ import annotations

import socket
import time
from typing import Any

from .failures import Failed
from .limits import HEALTH_INTERVAL_MIN_S, HEALTH_TRY_TIMEOUT_S
from .processes import Processes, tail
from .requests import Request
from .units import State, Units

__all__ = ["check_health", "try_http", "try_tcp"]

_ON = ("active", "reloading")
#: On the way to being active, or between two tries of systemd's own.
_ON_ITS_WAY = ("activating", "deactivating", "refreshing")


def check_health(request: Request, process: dict[str, Any], units: Units, processes: Processes) -> str:
    """Carries out ``CheckHealth``; gives a line for people. Raises :class:`Failed`: ``unit-failed``, ``timeout``."""
    health = process["health"]
    began = time.monotonic()
    deadline = began + health["timeout_s"]
    began_ns = time.time_ns()
    interval_s = max(health["interval_s"], HEALTH_INTERVAL_MIN_S)
    while True:
        state = units.state(process["unit"])
        problem = _unit_problem(process["unit"], state, units, began_ns)
        if not problem:
            problem = _try(request, health, processes, deadline)
        if not problem:
            break
        if time.monotonic() + interval_s > deadline:
            raise Failed(
                "timeout", f"{process['unit']} was not healthy within {health['timeout_s']:g} s: {problem}"
            )
        request.sleep(interval_s)
    took_s = time.monotonic() - began
    _stay(request, process["unit"], state, health["stable_s"], interval_s, units, began_ns)
    return f"{process['unit']} is healthy after {took_s:.1f} s"


def _unit_problem(unit: str, state: State, units: Units, began_ns: int) -> str:
    if state["active"] in _ON:
        return ""
    if state["load"] == "not-found":
        raise Failed("not-found", f"there is no unit {unit} on this host")
    if state["active"] in _ON_ITS_WAY:
        return f"it is {state['active']} ({state['sub']})"
    raise units.fail(unit, state, "is not running", began_ns)


def _stay(
    request: Request,
    unit: str,
    at_first: State,
    stable_s: float,
    interval_s: float,
    units: Units,
    began_ns: int,
) -> None:
    """The unit stays as it is, with the same main process, for so long."""
    until = time.monotonic() + stable_s
    while time.monotonic() < until:
        request.sleep(min(interval_s, max(until - time.monotonic(), 0.0)))
        state = units.state(unit)
        if (
            state["active"] not in _ON
            or state["main_pid"] != at_first["main_pid"]
            or state["invocation"] != at_first["invocation"]
        ):
            raise units.fail(unit, state, f"did not stay up for {stable_s:g} s", began_ns)


def _try(request: Request, health: dict[str, Any], processes: Processes, deadline: float) -> str:
    """What is wrong now; empty: nothing."""
    timeout_s = min(HEALTH_TRY_TIMEOUT_S, max(deadline - time.monotonic(), HEALTH_INTERVAL_MIN_S))
    kind = health["kind"]
    if kind == "tcp":
        return try_tcp(health["target"], timeout_s)
    if kind == "http":
        return try_http(health["target"], timeout_s)
    if kind == "command":
        return _try_command(request, health["command"], timeout_s, processes)
    return ""


def try_tcp(target: str, timeout_s: float) -> str:
    """Connects to ``HOST:PORT``; gives what is wrong, empty if nothing is."""
    host, _, port = target.rpartition(":")
    if not port.isdecimal():
        raise Failed("not-found", f"{target!r} is no address: HOST:PORT is wanted")
    try:
        socket.create_connection((host.strip("[]"), int(port)), timeout_s).close()
    except OSError as error:
        return f"{target}: {error.strerror or error}"
    return ""


def try_http(target: str, timeout_s: float) -> str:
    """A GET, without proxies and without following: a redirect is an answer of somebody else's. Gives what is wrong, empty if nothing is."""
    import http.client  # with it comes half of the standard library: an agent that is never asked starts without
    import urllib.parse

    try:
        url = urllib.parse.urlsplit(target)
        port = url.port
    except ValueError as error:
        raise Failed("not-found", f"{target!r} is no URL: {error}") from error
    kinds: dict[str, type[http.client.HTTPConnection]] = {
        "http": http.client.HTTPConnection,
        "https": http.client.HTTPSConnection,
    }
    if url.scheme not in kinds or not url.hostname:
        raise Failed("not-found", f"{target!r} is no URL of http or https")
    connection = kinds[url.scheme](url.hostname, port, timeout=timeout_s)
    try:
        connection.request(
            "GET",
            urllib.parse.urlunsplit(("", "", url.path or "/", url.query, "")),
            headers={"Connection": "close"},
        )
        status = connection.getresponse().status
    except (OSError, http.client.HTTPException) as error:
        return f"{target}: {getattr(error, 'strerror', None) or str(error) or type(error).__name__}"
    finally:
        connection.close()
    return "" if 200 <= status < 300 else f"{target}: status {status}"


def _try_command(request: Request, command: list[str], timeout_s: float, processes: Processes) -> str:
    try:
        outcome = processes.run(request, command, timeout_s=timeout_s)
    except Failed as failure:
        return failure.problem
    said = tail(outcome.stderr or outcome.stdout)
    return "" if outcome.status == 0 else f"{command[0]} ended with status {outcome.status}: {said}"
