"""What the ``labshell`` command runs: reads the spec, and joins the live environment, the commands, and the shell around them."""

from __future__ import annotations

import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from labshell.app.audit import AuditFile
from labshell.app.context import Context, Handler
from labshell.app.jobs import Job
from labshell.app.jobs import JobState as State
from labshell.app.language import TableLanguage
from labshell.app.script import split_commands
from labshell.app.settings import ShellSettings
from labshell.app.shell import Shell
from labshell.commands import HANDLERS, SessionHandler
from labshell.core.complete import Suggestion, complete
from labshell.core.events import JobEnded, JobProgress, JobStarted
from labshell.core.habits import Habits, used
from labshell.core.parse import Bound
from labshell.core.state import JobState, View, first_view
from labshell.core.summary import Summarizer, Summary
from labshell.core.toolbar import prompt, toolbar
from labshell.session.choices import SessionChoices
from labshell.session.opening import last_wanted, open_session
from labshell.session.session import Session
from labshell.session.store import Store
from labtest.deploy import StateFolder
from labtest.spec import read_environment

__all__ = ["Options", "Program", "run_program"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """What was said on the command line."""

    spec: Path
    overlays: tuple[str, ...] = ()
    variables: Mapping[str, str]
    ssh_config: str = ""
    as_json: bool = False
    yes: bool = False
    read_only: bool = False
    keep_going: bool = False


def run_program(options: Options, *, command: str | None, script: str | None) -> int:
    """Runs commands of ``-c`` or of a script, or whatever comes from standard input; the exit code."""
    program = Program(options)
    shell = Shell(program.settings)
    if command is not None:
        return shell.run_script(split_commands(command), keep_going=options.keep_going)
    if script is not None:
        return shell.run_script(script.splitlines(), keep_going=options.keep_going)
    return shell.run_interactive(keep_going=options.keep_going)


class Program:
    """One run. The live environment is there between the first command and the last."""

    def __init__(self, options: Options) -> None:
        self._options = options
        environment = read_environment(
            options.spec, overlays=options.overlays, variables=dict(options.variables)
        )
        self._environment = environment
        self._state = StateFolder.beside(options.spec)
        self._in_effect, wanted = last_wanted(environment, self._state)
        self._store = Store(first_view(wanted, now_s=Store.now_s(), read_only=options.read_only))
        self._session: Session | None = None
        self._habits: Habits = {}
        self._summarizer = Summarizer()
        self.settings = ShellSettings(
            language=TableLanguage(
                choices=self._choices,
                complete=self._complete,
                prompt=lambda width: prompt(self._store.view, width, self._summary()),
                toolbar=lambda width: toolbar(self._view, width, Store.now_s(), self._summary()),
            ),
            handlers={name: self._bound(handler) for name, handler in HANDLERS.items()},
            surround=self._live,
            audit=AuditFile(self._state.audit_path, environment=environment.name),
            history=self._state.path / "history",
            banner=f"{environment.name}: {environment.description or options.spec.name}. `help` lists commands, Tab completes, Ctrl-D leaves.",
            read_only=options.read_only,
            assume_yes=options.yes,
            json=options.as_json,
            on_job=self._tell_job,
        )

    @asynccontextmanager
    async def _live(self) -> AsyncIterator[None]:
        async with open_session(
            self._environment,
            self._options.spec,
            self._state,
            self._store,
            overlays=self._options.overlays,
            variables=self._options.variables,
            ssh_config=self._options.ssh_config,
        ) as session:
            self._session = session
            silence = self._store.listen(lambda: self.settings.changed())
            try:
                yield
            finally:
                silence()

    @property
    def _view(self) -> View:
        return self._session.view if self._session else self._store.view

    def _summary(self) -> Summary:
        return self._summarizer.of(self._view)

    def _bound(self, handler: SessionHandler) -> Handler:
        async def run(context: Context, bound: Bound) -> int:
            assert self._session is not None, "commands wait for the environment"
            self._habits = _used(self._habits, bound)
            return await handler(self._session, context, bound)

        return run

    def _choices(self) -> SessionChoices:
        in_effect = self._session.deployment.in_effect if self._session else self._in_effect
        return SessionChoices(self._store.view, in_effect)

    def _complete(self, line: str, cursor: int) -> list[Suggestion]:
        return complete(line, cursor, self._choices(), habits=self._habits, now_s=time.time())

    def _tell_job(self, job: Job) -> None:
        now_s = Store.now_s()
        if job.state is State.WAITING:
            return
        if job.number not in self._store.view.jobs:
            self._store.feed(JobStarted(job.number, job.line, now_s))
        if job.is_over:
            self._store.feed(JobEnded(job.number, _ENDS[job.state], job.problem, now_s))
        elif job.progress:
            text, done, total = job.progress
            self._store.feed(JobProgress(job.number, done or 0, total or 0, text, now_s))


_ENDS = {
    State.DONE: JobState.DONE,
    State.FAILED: JobState.FAILED,
    State.CANCELLED: JobState.CANCELLED,
    State.DROPPED: JobState.CANCELLED,
}


def _used(habits: Habits, bound: Bound) -> Habits:
    """What was typed is likely to be typed again."""
    now_s = time.time()
    habits = used(habits, "command", bound.command.name, now_s)
    kinds = {one.name: one.kind for one in bound.command.parameters}
    for name, value in bound.arguments.items():
        for text in value if isinstance(value, tuple) else (value,):
            if isinstance(text, str) and name in kinds:
                habits = used(habits, kinds[name].value, text, now_s)
    return habits
