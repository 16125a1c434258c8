"""What a shell is made of: a language, handlers, what surrounds them, and where things are written down."""

from __future__ import annotations

import contextlib
from collections.abc import Callable, Mapping
from contextlib import AbstractAsyncContextManager
from dataclasses import dataclass, field
from pathlib import Path

import trio

from labshell.app.audit import Audit
from labshell.app.context import Handler, Surface
from labshell.app.jobs import Job, JobTable
from labshell.app.language import Language
from labshell.app.own import OWN_HANDLERS
from labshell.app.traces import Traces

__all__ = ["ShellSettings"]


@dataclass(kw_only=True)
class ShellSettings:
    """One shell. Handlers are by the name of their command; those of :mod:`labshell.app.own` are added if they are not there."""

    language: Language
    handlers: Mapping[str, Handler]
    audit: Audit = field(default_factory=Audit)
    traces: Traces = field(default_factory=Traces)
    #: File of the lines that were typed; None: they are forgotten.
    history: Path | None = None
    #: First line on a terminal.
    banner: str = ""
    read_only: bool = False
    assume_yes: bool = False
    #: Every command gives one JSON line.
    json: bool = False
    #: Entered in trio before the first command and left after the last one has ended. At the prompt it is entered behind it: commands wait for it. An
    #: error of it that is a LabError is told, and ends the program with its exit code.
    surround: Callable[[], AbstractAsyncContextManager[object]] = contextlib.nullcontext
    #: Called when a job begins to run, says how far it is, or has ended.
    on_job: Callable[[Job], None] = lambda job: None
    #: Set by the front end: to be called, from trio, when prompt or bottom line would now look different. Any number of times.
    changed: Callable[[], None] = lambda: None

    def job_table(self, surface: Surface, on_json: Callable[[str], None], ready: trio.Event) -> JobTable:
        """The table of jobs of a front end; none of them begins before it is ``ready``."""
        self.changed = surface.changed
        return JobTable(
            {**OWN_HANDLERS, **self.handlers}, surface, ready, audit=self.audit, traces=self.traces, as_json=self.json, assume_yes=self.assume_yes,
            read_only=self.read_only, on_json=on_json, on_change=self.on_job,
        )  # fmt: skip
