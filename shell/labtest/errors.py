"""Errors by whose move it is. Each says what was wrong, where, and what to do."""

from __future__ import annotations

__all__ = [
    "ActionFailed",
    "AgentFailed",
    "EnvironmentLocked",
    "HostKeyChanged",
    "HostKeyUnknown",
    "HostUnreachable",
    "LabError",
    "LoginRefused",
    "NotPrivileged",
    "PlanOutdated",
    "SpecError",
]


class LabError(Exception):
    """All errors that a user is told without a stack trace. ``exit_code`` is that of a command that ends with it."""

    exit_code = 1


class SpecError(LabError):
    """The author of the spec's move. ``line`` is 1-based; None where no line is at fault."""

    exit_code = 2

    def __init__(self, source: str, line: int | None, problem: str) -> None:
        self.source = source
        self.line = line
        self.problem = problem
        super().__init__(f"{source}:{line}: {problem}" if line else f"{source}: {problem}")


class PlanOutdated(LabError):
    """Something has changed since the plan was made: plan again."""

    exit_code = 3


class EnvironmentLocked(LabError):
    """Somebody else is at it. ``holder`` says who, where and since when."""

    exit_code = 4

    def __init__(self, message: str, holder: str) -> None:
        self.holder = holder
        super().__init__(message)


class HostUnreachable(LabError):
    """No connection to a host, or it was lost. ``host`` is its name in the spec."""

    exit_code = 5

    def __init__(self, host: str, problem: str) -> None:
        self.host = host
        self.problem = problem
        super().__init__(f"{host}: {problem}")


class HostKeyUnknown(HostUnreachable):
    """The host has never been seen: compare the fingerprint, then add its key to known_hosts."""


class HostKeyChanged(HostUnreachable):
    """The host's key is not the one that known_hosts has: another machine, or somebody in between. Never ignored."""


class LoginRefused(HostUnreachable):
    """The host is there and lets nobody in with the keys that were offered."""


class NotPrivileged(HostUnreachable):
    """The login works, and ``sudo -n`` does not."""


class AgentFailed(LabError):
    """The agent on a host ended, or answered what is not in the protocol."""

    def __init__(self, host: str, problem: str) -> None:
        self.host = host
        self.problem = problem
        super().__init__(f"{host}: {problem}")


class ActionFailed(LabError):
    """A host was asked to do something, and could not. ``code`` is one of a short list, for programs; ``problem`` for people."""

    def __init__(self, host: str, code: str, problem: str) -> None:
        self.host = host
        self.code = code
        self.problem = problem
        super().__init__(f"{host}: {problem}")
