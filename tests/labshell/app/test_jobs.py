"""What becomes of commands: their order, their end, what is recorded. In plain trio with a clock that jumps, since jobs know nothing of asyncio."""

from __future__ import annotations

import json
from collections.abc import Awaitable, Callable, Mapping
from pathlib import Path
from typing import Any

import pytest
import trio
import trio.testing
from hypothesis import given
from hypothesis import strategies as st

from labshell.app.audit import Audit, AuditFailed
from labshell.app.context import Context, Handler
from labshell.app.exits import Exit, NotRun
from labshell.app.jobs import Job, JobState, JobTable
from labshell.app.limits import JOBS_ALIVE_MAX, JOBS_KEPT_MAX
from labshell.app.render import Drawable
from labshell.app.traces import Traces
from labshell.core.declare import Command, Group
from labshell.core.parse import Bound
from labtest.errors import HostUnreachable, LabError


class Screen:
    """A front end that keeps what is written."""

    interactive = False

    def __init__(self) -> None:
        self.lines: list[str] = []

    def writer(self, tag: Callable[[], str]) -> Screen:
        return self

    def write(self, text: str, style: str = "") -> None:
        self.lines.append(text)

    def draw(self, what: Drawable) -> None:
        self.lines.append("(drawn)")

    def close(self) -> None: ...

    def width(self) -> int:
        return 80

    async def confirm(self, question: str, default: bool) -> bool:
        return default

    async def attach(self, argv: Any, env: Any, folder: Any) -> int:
        return 0

    def changed(self) -> None: ...

    def quit(self, code: int) -> None: ...


class KeptAudit(Audit):
    """Keeps records; refuses those of commands in ``refuses``."""

    def __init__(self, refuses: str = "") -> None:
        self.records: list[dict[str, Any]] = []
        self._refuses = refuses

    async def write(self, record: Mapping[str, Any], *, durable: bool) -> None:
        await trio.lowlevel.checkpoint()
        if record["command"] == self._refuses:
            raise AuditFailed("the disk is full")
        self.records.append({**record, "durable": durable})


class Table:
    """A table of jobs with handlers of its own. Names that begin with ``change`` change something."""

    def __init__(self, folder: Path, **options: Any) -> None:
        self.screen, self.audit, self.json = Screen(), options.pop("audit", KeptAudit()), list[str]()
        self.handlers: dict[str, Handler] = {}
        self.ready = trio.Event()
        self.ready.set()
        self.table = JobTable(
            self.handlers, self.screen, self.ready, audit=self.audit, traces=Traces(folder), on_json=self.json.append, **options
        )  # fmt: skip

    def give(
        self, nursery: trio.Nursery, name: str, body: Callable[[Context], Awaitable[int]], **options: Any
    ) -> Job:
        async def handler(context: Context, bound: Bound) -> int:
            return await body(context)

        self.handlers[name] = handler
        command = Command(
            name=name,
            group=Group.SHELL,
            help="",
            long_help="",
            examples=(),
            changes=name.startswith("change"),
        )
        job = self.table.submit(name, Bound(command=command, spelled=name), **options)
        nursery.start_soon(self.table.run, job)
        return job


def run_jobs(body: Callable[[trio.Nursery], Awaitable[None]]) -> None:
    """Runs a test in trio, on a clock that jumps to where something happens."""

    async def main() -> None:
        async with trio.open_nursery() as nursery:
            await body(nursery)
            nursery.cancel_scope.cancel()

    trio.run(main, clock=trio.testing.MockClock(autojump_threshold=0))


def sleeps(seconds: float) -> Callable[[Context], Awaitable[int]]:
    async def body(context: Context) -> int:
        context.print("arrived")
        await trio.sleep(seconds)
        return Exit.OK

    return body


def raises(error: BaseException) -> Callable[[Context], Awaitable[int]]:
    async def body(context: Context) -> int:
        raise error

    return body


def test_looking_runs_side_by_side_and_changes_run_one_after_another(tmp_path: Path) -> None:
    table = Table(tmp_path)

    async def body(nursery: trio.Nursery) -> None:
        began = {}
        jobs = [
            table.give(nursery, name, sleeps(10))
            for name in ("look1", "change1", "look2", "change2", "change3")
        ]
        for job in jobs:
            await job.ended.wait()
            began[job.line] = trio.current_time()
        assert {name: round(at) for name, at in began.items()} == {
            "look1": 10, "change1": 10, "look2": 10, "change2": 20, "change3": 30,
        }  # fmt: skip
        assert [job.code for job in jobs] == [0] * 5

    run_jobs(body)


@given(st.lists(st.tuples(st.booleans(), st.integers(1, 50), st.booleans()), min_size=1, max_size=12))
def test_changes_never_overlap_and_none_runs_after_a_failure_it_waited_for(
    jobs: list[tuple[bool, int, bool]],
) -> None:
    table = Table(Path("/nonexistent"))
    running: list[str] = []
    order: list[int] = []

    async def body(nursery: trio.Nursery) -> None:
        def make(number: int, changes: bool, seconds: int, fails: bool) -> Job:
            async def one(context: Context) -> int:
                if changes:
                    assert running == []
                    running.append(str(number))
                    order.append(number)
                await trio.sleep(seconds)
                if changes:
                    running.clear()
                return Exit.FAILED if fails else Exit.OK

            return table.give(nursery, f"{'change' if changes else 'look'}{number}", one)

        made = [make(number, *one) for number, one in enumerate(jobs)]
        for job in made:
            await job.ended.wait()
        failed = False
        for job, (changes, _, fails) in zip(made, jobs, strict=True):
            expected = JobState.FAILED if fails else JobState.DONE
            assert job.state is (JobState.DROPPED if changes and failed else expected)
            failed |= changes and fails
        assert order == sorted(order)

    run_jobs(body)


def test_errors_are_results(tmp_path: Path) -> None:
    table = Table(tmp_path)

    async def body(nursery: trio.Nursery) -> None:
        group = ExceptionGroup(
            "g", [HostUnreachable("a", "no route"), ExceptionGroup("h", [LabError("b is away")])]
        )
        cases = [
            (raises(LabError("told")), 1),
            (raises(HostUnreachable("a", "no route")), 5),
            (raises(group), 5),
            (raises(KeyError("x")), 70),
        ]
        for number, (what, code) in enumerate(cases):
            job = table.give(nursery, f"look{number}", what)
            await job.ended.wait()
            assert (job.state, job.code) == (JobState.FAILED, code)

    run_jobs(body)
    told = [line.partition(" (trace")[0] for line in table.screen.lines]
    assert told == [
        "error: told", "error: a: no route", "error: a: no route", "error: b is away", "error: internal error: KeyError: 'x'",
    ]  # fmt: skip
    assert "KeyError: 'x'" in next(tmp_path.glob("*.txt")).read_text()


def test_what_arrived_before_a_cancel_is_kept(tmp_path: Path) -> None:
    table = Table(tmp_path, as_json=True)

    async def collect(context: Context) -> int:
        context.print("arrived")
        context.emit_items([1, 2])
        await trio.sleep_forever()
        return 0

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "look", collect)
        await trio.sleep(1)
        job.cancel()
        await job.ended.wait()
        assert job.code == Exit.INTERRUPTED

    run_jobs(body)
    found = json.loads(table.json[0])
    assert (found["state"], found["exit"], found["result"], found["text"]) == (
        "cancelled",
        130,
        [1, 2],
        ["arrived"],
    )


def test_a_cancel_and_an_error_while_cleaning_up_is_an_error(tmp_path: Path) -> None:
    table = Table(tmp_path)

    async def untidy(context: Context) -> int:
        try:
            await trio.sleep_forever()
        finally:
            raise LabError("could not be put back")
        return 0

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "change", untidy)
        await trio.sleep(1)
        job.cancel()
        await job.ended.wait()
        assert (job.state, job.problem) == (JobState.FAILED, "could not be put back")

    run_jobs(body)


def test_a_change_is_recorded_before_it_begins_and_when_it_has_ended(tmp_path: Path) -> None:
    table = Table(tmp_path)

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "change", sleeps(2))
        await job.ended.wait()
        job = table.give(nursery, "look", sleeps(0))
        await job.ended.wait()

    run_jobs(body)
    kept = [(one["command"], one["event"], one["durable"], one.get("exit")) for one in table.audit.records]
    assert kept == [
        ("change", "began", True, None),
        ("change", "ended", True, 0),
        ("look", "ended", False, 0),
    ]


class SlowAudit(KeptAudit):
    """A disk that takes its time."""

    async def write(self, record: Mapping[str, Any], *, durable: bool) -> None:
        await trio.sleep(1)
        await super().write(record, durable=durable)


def test_a_change_that_is_cancelled_while_it_is_recorded_has_a_beginning_and_an_end(tmp_path: Path) -> None:
    table = Table(tmp_path, audit=SlowAudit())

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "change", sleeps(2))
        await trio.sleep(0.5)
        job.cancel()
        await job.ended.wait()

    run_jobs(body)
    assert [(one["event"], one.get("result")) for one in table.audit.records] == [
        ("began", None),
        ("ended", "cancelled"),
    ]
    assert "arrived" not in table.screen.lines


def test_a_change_that_cannot_be_recorded_is_not_begun(tmp_path: Path) -> None:
    table = Table(tmp_path, audit=KeptAudit(refuses="change"))

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "change", sleeps(1))
        await job.ended.wait()
        assert (job.state, job.problem) == (JobState.FAILED, "the disk is full")

    run_jobs(body)
    assert "arrived" not in table.screen.lines


def test_the_bounds_of_the_table(tmp_path: Path) -> None:
    table = Table(tmp_path)

    async def body(nursery: trio.Nursery) -> None:
        for number in range(JOBS_ALIVE_MAX):
            table.give(nursery, f"look{number}", sleeps(5))
        with pytest.raises(NotRun, match="64 commands run or wait"):
            table.give(nursery, "look", sleeps(5))
        await trio.sleep(6)
        table.give(nursery, "look", sleeps(0))
        assert len(table.table.all()) == JOBS_KEPT_MAX + 1

    run_jobs(body)


def test_read_only_refuses_changes(tmp_path: Path) -> None:
    table = Table(tmp_path, read_only=True)

    async def body(nursery: trio.Nursery) -> None:
        with pytest.raises(
            NotRun, match="change changes something, and this shell was started with --read-only"
        ):
            table.give(nursery, "change", sleeps(0))

    run_jobs(body)


def test_nothing_begins_before_what_surrounds_commands_is_there(tmp_path: Path) -> None:
    table = Table(tmp_path)
    table.ready = table.table._ready = trio.Event()

    async def body(nursery: trio.Nursery) -> None:
        job = table.give(nursery, "look", sleeps(0))
        await trio.sleep(5)
        assert job.state.value == "waiting"
        table.ready.set()
        await job.ended.wait()
        assert job.state.value == "done"

    run_jobs(body)
