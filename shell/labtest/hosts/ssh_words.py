"""What ssh says when it fails, told apart by whose move it is. Text in, errors out.

The messages are OpenSSH's (sshconnect.c, clientloop.c, sshconnect2.c); they are not translated. Status 255 is ssh's own, any other is the remote
command's.
"""

from __future__ import annotations

import re

from labtest.agent.connection import Ended
from labtest.agent.payload import STATUS_NO_PYTHON, STATUS_NO_SUDO
from labtest.errors import (
    AgentFailed,
    HostKeyChanged,
    HostKeyUnknown,
    HostUnreachable,
    LabError,
    LoginRefused,
    NotPrivileged,
)

__all__ = ["explain_end", "host_key_in", "unknown_key"]

_SSH_FAILED = 255
_CHANGED = re.compile(
    r"REMOTE HOST IDENTIFICATION HAS CHANGED|REVOKED HOST KEY DETECTED|POSSIBLE DNS SPOOFING"
)
_UNKNOWN = re.compile(r"Host key verification failed|host key is known for .* and you have requested strict")
_OFFENDING = re.compile(r"^Offending (?:\S+ )?key (?:for IP )?in (.+:\d+)$", re.MULTILINE)
_REMOVE = re.compile(r"^\s*(ssh-keygen -f .+)$", re.MULTILINE)
_OFFERED = re.compile(
    r"The fingerprint for the (\S+) key sent by the remote host is\s+(SHA256:\S+?)\.?$", re.MULTILINE
)
#: pam_nologin(8): it goes away by itself.
_BOOTING = re.compile(r"System is (?:booting up|going down)|pam_nologin")
_REFUSED = re.compile(
    r"Permission denied \(|Permission denied, please try again|Too many authentication failures"
    r"|account has expired|account is (?:currently )?not available|No more authentication methods"
)
_SERVER_KEY = re.compile(r"^debug1: Server host key: (\S+) (SHA256:\S+)", re.MULTILINE)
#: The line that says it, among those that do not.
_TELLING = re.compile(
    r"refused|timed out|resolve|No route|unreachable|closed by|reset by|Bad (?:configuration|owner|remote)|not responding|Broken pipe|"
    r"No such file|disconnect",
    re.IGNORECASE,
)


def explain_end(host: str, ended: Ended, *, sudo: bool) -> LabError:
    """Why ssh ended without an agent. ``host`` is its name in the spec."""
    if ended.is_logged_in:
        return _explain_command(host, ended, sudo)
    text = ended.stderr
    if _CHANGED.search(text):
        return HostKeyChanged(host, _changed_words(text))
    if _UNKNOWN.search(text):
        return HostKeyUnknown(host, "its host key is not known")
    if _BOOTING.search(text):
        return HostUnreachable(host, f"it lets nobody in yet: {_telling_line(text)}")
    if _REFUSED.search(text):
        return LoginRefused(host, f"the login is refused: {_line_with(_REFUSED, text)}")
    if ended.status != _SSH_FAILED:
        said = _telling_line(text) or "nothing"
        return LoginRefused(
            host, f"its login shell ended at once with status {ended.status}, and said: {said}"
        )
    return HostUnreachable(host, _telling_line(text) or "ssh ended without a word")


def _explain_command(host: str, ended: Ended, sudo: bool) -> LabError:
    said = ended.stderr or f"status {ended.status}"
    if ended.status == STATUS_NO_PYTHON:
        return AgentFailed(host, f"{_last_line(said)} (Python 3.9 or newer must be there as python3)")
    is_sudo = "sudo:" in said or "is not allowed to execute" in said or "not in the sudoers" in said
    if ended.status == STATUS_NO_SUDO or (sudo and is_sudo and "Traceback" not in said):
        return NotPrivileged(host, f"the login works, and sudo -n does not: {_last_line(said)}")
    if ended.status == _SSH_FAILED:
        return HostUnreachable(host, _telling_line(said))
    return AgentFailed(host, f"its agent did not start: {said}")


def _changed_words(text: str) -> str:
    place = _OFFENDING.search(text)
    offered = _OFFERED.search(text)
    remove = _REMOVE.search(text)
    words = [f"ITS HOST KEY HAS CHANGED: it is not the one in {place[1] if place else 'known_hosts'}"]
    if offered:
        words.append(f"it offers {offered[1]} {offered[2]}")
    words.append("another machine answers, or somebody is in between")
    if remove:
        words.append(f"if the host was installed anew and the key is right: {remove[1]}")
    return "; ".join(words)


def unknown_key(host: str, command: str, key: tuple[str, str] | None) -> HostKeyUnknown:
    """An unknown key, with what it is and what to do; ``command`` is what a person types to connect."""
    offered = f"; it offers {key[0]} {key[1]}" if key else ""
    algorithm = (key[0] if key else "ssh-ed25519").removeprefix("ssh-").partition("-")[0]
    where = f"ssh-keygen -lf /etc/ssh/ssh_host_{algorithm}_key.pub"
    return HostKeyUnknown(
        host,
        f"its host key is not known{offered}; compare it with what `{where}` says there, then connect once by hand: {command}",
    )


def host_key_in(verbose: str) -> tuple[str, str] | None:
    """Type and fingerprint of the last host key that ``ssh -v`` was shown; with jumps that is the one it stopped at."""
    found = _SERVER_KEY.findall(verbose)
    return (found[-1][0], found[-1][1]) if found else None


def _lines(text: str) -> list[str]:
    return [line.strip() for line in text.splitlines() if line.strip()]


def _last_line(text: str) -> str:
    return (_lines(text) or [""])[-1]


def _line_with(pattern: re.Pattern[str], text: str) -> str:
    return next(line for line in _lines(text) if pattern.search(line))


def _telling_line(text: str) -> str:
    telling = [line for line in _lines(text) if _TELLING.search(line)]
    return telling[-1] if telling else _last_line(text)
