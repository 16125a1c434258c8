"""This machine as a host: the agent is a child of this process, as root or by ``sudo -n``."""

from __future__ import annotations

import os
import shutil
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

from labtest.agent.client import AgentClient
from labtest.agent.connection import Ended, connection
from labtest.agent.payload import AgentOptions, Payload, python_command
from labtest.errors import AgentFailed, LabError, NotPrivileged

__all__ = ["connect_local"]


@asynccontextmanager
async def connect_local(
    host: str,
    options: AgentOptions | None = None,
    *,
    env: dict[str, str] | None = None,
    payload: Payload | None = None,
) -> AsyncIterator[AgentClient]:
    """An agent on this machine, by the Python that runs this. Raises :class:`NotPrivileged` if this is not root and ``sudo -n`` is refused."""
    is_root = os.geteuid() == 0
    argv = python_command(sys.executable)
    if not is_root:
        if shutil.which("sudo") is None:
            raise NotPrivileged(host, "labtest is not root here, and there is no sudo")
        argv = ["sudo", "-n", "--", *argv]

    async def explain(ended: Ended) -> LabError:
        said = ended.stderr or f"status {ended.status}"
        if not is_root and "Traceback" not in said:
            return NotPrivileged(host, f"labtest is not root here, and sudo -n does not work: {said}")
        return AgentFailed(host, f"its agent did not start: {said}")

    async with connection(host, argv, explain=explain, options=options, env=env, payload=payload) as made:
        yield AgentClient(made)
