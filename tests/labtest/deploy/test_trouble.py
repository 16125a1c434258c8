"""What goes wrong while a plan is carried out: a step at any place, a host, the disk, Ctrl-C, a kill. What is said afterwards is true."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest
import trio
import trio.testing
from tests.labtest.deploy.labs import Bench
from tests.labtest.deploy.test_deployment import brought_up, play

from labtest.core.changes import MoveProcess, SetVariable, SwapRelease, apply
from labtest.core.choreography import RunState
from labtest.core.describe import action_title
from labtest.core.run_records import Record
from labtest.core.steps import CheckHealth, InstallRelease, PutFile, Restart
from labtest.core.target import Target
from labtest.deploy import Deployment, Ending, JournalFailed
from labtest.deploy.events import StepBegan
from labtest.deploy.journal import JournalFile
from labtest.hosts.memory import Fault, FaultKind

CHANGES = (
    SetVariable(name="level", value="debug"),
    SwapRelease(release="lab", version="1.1"),
    MoveProcess(process="worker", from_host="b", to_host="c"),
)


@pytest.fixture
def benches(tmp_path: Path) -> Iterator[Bench]:
    """A fresh one each time it is asked for."""

    def fresh() -> Iterator[Bench]:
        number = 0
        while True:
            number += 1
            folder = tmp_path / str(number)
            folder.mkdir()
            yield Bench(folder)

    return fresh()


def moved(bench: Bench) -> bool:
    """Whether all of :data:`CHANGES` are there."""
    return (
        bench.is_at(target_after(bench))
        and bench.hosts["b"].state.units["worker.service"].active == "inactive"
    )


def target_after(bench: Bench) -> Target:
    return bench.source.resolve(apply(bench.source.base, CHANGES)).target


def steps_of_changes(bench: Bench) -> int:
    count = 0

    async def body() -> None:
        nonlocal count
        await brought_up(bench)
        async with bench.open() as d:
            d.collect(*CHANGES)
            count = len((await d.plan()).plan.steps)

    play(body)
    return count


@pytest.mark.parametrize("is_done_first", [False, True], ids=["before", "after"])
def test_a_failure_at_any_step_leads_back_to_where_it_came_from(
    benches: Iterator[Bench], is_done_first: bool
) -> None:
    for place in range(steps_of_changes(next(benches))):
        bench = next(benches)

        async def body(bench: Bench = bench, place: int = place) -> None:
            await brought_up(bench)
            before = bench.target()
            bench.faults.append(Fault(after=place, is_done_first=is_done_first, problem="it burns"))
            async with bench.open() as d:
                d.collect(*CHANGES)
                outcome = await d.apply(await d.plan())
                assert (outcome.ending, outcome.left) == (Ending.ROLLED_BACK, ()), (place, outcome.lines())
                assert [problem.error for problem in outcome.problems] == ["it burns"]
                assert bench.is_at(before), place
                assert d.unfinished is None
                assert len(d.desired.pending) == 3
                assert (await d.drift()).plan.steps == ()
                assert (await d.apply(await d.plan())).ending is Ending.DONE
                assert moved(bench)
            assert bench.is_unlocked()

        play(body)


def test_a_failure_without_rollback_says_exactly_what_is_left_and_can_be_resumed(
    benches: Iterator[Bench],
) -> None:
    for place in range(0, steps_of_changes(next(benches)), 3):
        bench = next(benches)

        async def body(bench: Bench = bench, place: int = place) -> None:
            await brought_up(bench)
            bench.faults.append(Fault(after=place))
            async with bench.open() as d:
                d.collect(*CHANGES)
                outcome = await d.apply(await d.plan(), rollback=False)
                assert outcome.ending is Ending.FAILED
                assert outcome.exit_code == 1
                assert d.unfinished is not None
                assert d.unfinished.state is RunState.FAILED
                resumed = await d.plan_resume()
                lines = [
                    f"{step.host}: {step.reason or action_title(step.action)}" for step in resumed.plan.steps
                ]
                assert list(outcome.left) == list(dict.fromkeys(lines))
                assert (await d.apply(resumed)).ending is Ending.DONE
                assert moved(bench)
                assert d.unfinished is None
                assert not d.desired.pending

        play(body)


def test_a_host_that_is_lost_is_named_and_the_others_go_back(benches: Iterator[Bench]) -> None:
    for place in range(0, steps_of_changes(next(benches)), 4):
        bench = next(benches)

        async def body(bench: Bench = bench, place: int = place) -> None:
            await brought_up(bench)
            before = bench.target()
            bench.faults.append(Fault(kind=FaultKind.LOSE, after=place, is_done_first=place % 2 == 0))
            async with bench.open() as d:
                d.collect(*CHANGES)
                outcome = await d.apply(await d.plan())
                (lost,) = (name for name in "abc" if bench.agent(name).lost.is_set())
                assert outcome.ending is Ending.FAILED
                assert lost in outcome.unreachable
                assert lost in "\n".join(outcome.lines())
                bench.connect(lost)
                await d.reload()
                await d.apply(await d.plan_rollback() if d.unfinished else await d.plan(changes=()))
                assert bench.is_at(before), place

        play(body)


def test_a_host_that_comes_back_at_once_is_led_back_too(benches: Iterator[Bench]) -> None:
    bench = next(benches)

    async def body() -> None:
        await brought_up(bench)
        bench.faults.append(Fault(kind=FaultKind.LOSE, action=Restart, is_done_first=True))
        agents = bench.living

        def reconnecting() -> dict[str, object]:
            for name in "abc":
                if bench.agent(name).lost.is_set():
                    bench.connect(name)
            return dict(agents())

        bench.living = reconnecting  # type: ignore[method-assign,assignment]
        async with bench.open() as d:
            d.collect(*CHANGES)
            outcome = await d.apply(await d.plan())
            assert outcome.ending is Ending.ROLLED_BACK
            assert bench.is_at(bench.target())

    play(body)


def test_a_first_apply_that_fails_leaves_nothing(benches: Iterator[Bench]) -> None:
    bench = next(benches)

    async def body() -> None:
        bench.faults.append(Fault(action=CheckHealth, after=2, code="timeout", problem="not healthy"))
        async with bench.open() as d:
            outcome = await d.apply(await d.plan())
            assert outcome.ending is Ending.ROLLED_BACK
            assert bench.is_empty()

    play(body)


def test_a_rollback_that_fails_says_what_is_different(benches: Iterator[Bench]) -> None:
    bench = next(benches)

    async def body() -> None:
        await brought_up(bench)
        bench.faults.append(Fault(action=CheckHealth, after=1, problem="not healthy"))
        bench.faults.append(Fault(action=Restart, after=2, problem="will not start"))
        async with bench.open() as d:
            outcome = await d.apply(await d.plan(changes=(SetVariable(name="port", value=81),)))
            assert outcome.ending is Ending.FAILED
            assert [problem.error for problem in outcome.problems] == ["not healthy", "will not start"]
            assert outcome.left
            assert d.unfinished is not None
            assert d.unfinished.began.title == "rollback"
            await d.apply(await d.plan_resume())
            assert bench.is_at(bench.target())
            assert d.in_effect.variables["port"] == 80

    play(body)


def test_a_full_disk_on_a_host_is_told_and_nothing_is_half_done(benches: Iterator[Bench]) -> None:
    bench = next(benches)

    async def body() -> None:
        await brought_up(bench)
        bench.hosts["b"].disk_bytes = 0
        bench.source.contents["keys.csv"] += b"bob,secret\n" * 10
        async with bench.open() as d:
            outcome = await d.apply(await d.plan())
            assert outcome.ending is Ending.ROLLED_BACK
            assert [problem.host for problem in outcome.problems] == ["b"]
            assert "no space" in outcome.problems[0].error
            assert bench.is_at(bench.target())

    play(body)


def test_a_batch_that_fails_has_not_touched_those_whose_turn_had_not_come(benches: Iterator[Bench]) -> None:
    bench = next(benches)

    async def body() -> None:
        await brought_up(bench)
        bench.faults.append(Fault(action=CheckHealth, problem="not healthy"))
        starts = {name: bench.hosts[name].state.units["web.service"].starts for name in "abc"}
        async with bench.open() as d:
            await d.apply(await d.plan(changes=(SetVariable(name="level", value="debug"),)), rollback=False)
        assert [bench.hosts[name].state.units["web.service"].starts - starts[name] for name in "abc"] == [
            1,
            0,
            0,
        ]
        assert b"info" in bench.hosts["b"].state.files["/etc/lab/lab.toml"].content

    play(body)


# ---------------------------------------------------------------- cancelled


def test_a_cancelled_apply_says_so_and_can_be_resumed_or_gone_back_from(benches: Iterator[Bench]) -> None:
    for action in (PutFile, InstallRelease, Restart, CheckHealth):
        for way in ("resume", "rollback"):
            bench = next(benches)

            async def body(bench: Bench = bench, action: type = action, way: str = way) -> None:
                await brought_up(bench)
                bench.faults.append(Fault(kind=FaultKind.HANG, action=action, is_done_first=True))
                async with bench.open() as d:
                    d.collect(*CHANGES)
                    prepared = await d.plan()
                    async with trio.open_nursery() as nursery:
                        nursery.start_soon(d.apply, prepared)
                        while not any(
                            isinstance(event, StepBegan) and isinstance(event.step.action, action)
                            for event in bench.events
                        ):
                            await trio.sleep(0.001)
                        await trio.testing.wait_all_tasks_blocked(0.005)
                        nursery.cancel_scope.cancel()
                    assert bench.is_unlocked()
                    assert d.unfinished is not None
                    assert d.unfinished.state is RunState.CANCELLED
                    assert d.unfinished.unsure
                    assert "was cancelled" in str(d.unfinished)
                    outcome = await d.apply(await (d.plan_resume() if way == "resume" else d.plan_rollback()))
                    assert outcome.ending is Ending.DONE
                    assert moved(bench) if way == "resume" else bench.is_at(bench.target())
                    assert d.unfinished is None
                    assert (d.desired.pending == ()) == (way == "resume")

            play(body)


# ---------------------------------------------------------------- killed


class Killed(BaseException):
    """The process is gone: nothing is written any more."""


class Guillotine:
    """Ends the process, as it were, when the n-th record is to be written; before or after it is."""

    def __init__(self, patch: pytest.MonkeyPatch, place: int, *, is_written: bool) -> None:
        self.fell = False
        self._left = place
        self._is_written = is_written
        self._write = JournalFile.write
        patch.setattr(JournalFile, "write", lambda journal, record: self.write(journal, record))

    def write(self, journal: JournalFile, record: Record) -> None:
        if self.fell:
            raise Killed
        if self._left == 0:
            self.fell = True
            if self._is_written:
                self._write(journal, record)
            raise Killed
        self._left -= 1
        self._write(journal, record)


@pytest.mark.parametrize("way", ["resume", "rollback", "plan"])
def test_a_kill_at_any_record_of_the_journal_is_recovered_from(
    benches: Iterator[Bench], monkeypatch: pytest.MonkeyPatch, way: str
) -> None:
    place, is_over = 0, False
    while not is_over:
        bench = next(benches)

        async def body(bench: Bench = bench, place: int = place) -> None:
            nonlocal is_over
            await brought_up(bench)
            async with bench.open() as d:
                d.collect(*CHANGES)
            with monkeypatch.context() as patch:
                guillotine = Guillotine(patch, place, is_written=place % 2 == 0)
                try:
                    async with bench.open() as d:
                        await d.apply(await d.plan())
                except* Killed:
                    pass
            is_over = not guillotine.fell
            bench.connect()
            async with bench.open("bob@rack, pid 2") as d:
                await recover(bench, d, way)

        play(body)
        place += 5
    assert place > 20


async def recover(bench: Bench, d: Deployment, way: str) -> None:
    if d.unfinished is None or way == "plan":
        await d.apply(await d.plan())
        assert moved(bench)
    elif way == "resume":
        await d.apply(await d.plan_resume())
        assert moved(bench)
        assert not d.desired.pending
    else:
        await d.apply(await d.plan_rollback())
        assert bench.is_at(bench.target())
        assert len(d.desired.pending) == 3
        assert d.in_effect == bench.source.base
    assert d.unfinished is None
    assert (await d.drift()).plan.steps == ()


def test_a_journal_that_cannot_be_written_stops_the_run(
    benches: Iterator[Bench], monkeypatch: pytest.MonkeyPatch
) -> None:
    bench = next(benches)
    write = JournalFile.write
    written = 0

    def full(journal: JournalFile, record: Record) -> None:
        nonlocal written
        written += 1
        if written > 6:
            raise JournalFailed("no space left on device")
        write(journal, record)

    async def body() -> None:
        await brought_up(bench)
        monkeypatch.setattr(JournalFile, "write", full)
        async with bench.open() as d:
            prepared = await d.plan(changes=CHANGES)
            outcome = await d.apply(prepared, rollback=False)
            assert outcome.ending is Ending.FAILED
            assert "no space" in outcome.problems[-1].error
            assert outcome.steps_done < len(prepared.plan.steps)
            monkeypatch.setattr(JournalFile, "write", write)
            assert d.unfinished is not None
            await d.apply(await d.plan_resume())
            assert moved(bench)

    play(body)
