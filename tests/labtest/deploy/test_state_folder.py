"""The state folder: what is written is there, what is damaged is told, what is not needed any more goes."""

from __future__ import annotations

import stat
from pathlib import Path

import msgspec
import pytest
from tests.labtest.plan.worlds import BLOBS, blob, file_target

from labtest.core.ask import EVERYTHING
from labtest.core.changes import SetVariable
from labtest.core.choreography import RunState
from labtest.core.run_records import Began, Ended, Record, StepDone, StepStarted
from labtest.core.steps import Plan
from labtest.core.target import FileTarget, HostTarget, Target
from labtest.deploy import Desired, JournalFailed, KeptTarget, StateDamaged, StateFolder, StateNewer
from labtest.deploy.journal import journals, read_journal
from labtest.deploy.limits import JOURNALS_KEPT, TARGETS_KEPT
from labtest.errors import EnvironmentLocked


@pytest.fixture
def folder(tmp_path: Path) -> StateFolder:
    return StateFolder(tmp_path / "floor.lab")


def target_with(*files: FileTarget) -> Target:
    return Target(environment="floor", hosts=(HostTarget(host="a", files=files),))


EMPTY = target_with()


def began() -> Began:
    plan = Plan(environment="floor", steps=(), index="", minor=True)
    return Began(title="apply", who="ada", at_ns=1, before=EMPTY, after=EMPTY, plan=plan, ask=EVERYTHING)


def write_journal(folder: StateFolder, *records: Record) -> Path:
    journal = folder.new_journal()
    for record in records:
        journal.write(record)
    journal.close()
    return journal.path


def test_it_is_beside_the_spec() -> None:
    assert StateFolder.beside(Path("/x/floor.toml")).path == Path("/x/floor.lab")


def test_an_environment_that_nobody_touched_has_no_changes(folder: StateFolder) -> None:
    assert folder.read("floor") == Desired(environment="floor")
    assert folder.unfinished() is None
    assert not folder.path.exists()


def test_its_mark_is_another_one_after_each_word_that_somebody_wrote(folder: StateFolder) -> None:
    marks = [folder.mark()]
    folder.write(Desired(environment="floor"))
    marks.append(folder.mark())
    journal = folder.new_journal()
    for record in (began(), StepStarted(step=0, at_ns=2), Ended(state=RunState.DONE, at_ns=3)):
        journal.write(record)
        marks.append(folder.mark())
    journal.close()
    assert len(set(marks)) == len(marks)
    assert folder.mark() == marks[-1]


def test_what_is_written_is_read_and_counted(folder: StateFolder) -> None:
    first = folder.write(Desired(environment="floor", changes=(SetVariable(name="a", value=1),)))
    second = folder.write(first)
    assert (first.serial, second.serial) == (1, 2)
    assert folder.read("floor") == second


def test_only_the_owner_may_look(folder: StateFolder) -> None:
    folder.write(Desired(environment="floor"))
    folder.keep(target_with(file_target("/x", b"secret")), BLOBS)
    write_journal(folder, began())
    for path in (folder.path, *folder.path.rglob("*")):
        assert stat.S_IMODE(path.stat().st_mode) & 0o077 == 0, path


@pytest.mark.parametrize(
    "text", [b"", b"{", b"[]", b'{"format": 1}', b'{"format": 1, "environment": "floor", "x": 2}', b"\xff"]
)
def test_a_damaged_desired_state_is_an_error(folder: StateFolder, text: bytes) -> None:
    folder.write(Desired(environment="floor"))
    (folder.path / "desired.json").write_bytes(text)
    with pytest.raises(StateDamaged, match="desired"):
        folder.read("floor")


def test_a_desired_state_of_a_newer_labtest_is_left_alone(folder: StateFolder) -> None:
    folder.write(Desired(environment="floor"))
    (folder.path / "desired.json").write_bytes(b'{"format": 2, "whatever": true}')
    with pytest.raises(StateNewer, match="format 2"):
        folder.read("floor")


def test_a_desired_state_of_another_environment_is_an_error(folder: StateFolder) -> None:
    folder.write(Desired(environment="floor"))
    with pytest.raises(StateDamaged, match="'floor'"):
        folder.read("roof")


def test_the_lock_is_held_by_one_who_is_named(folder: StateFolder) -> None:
    assert folder.holder() == ""
    with folder.lock("ada on desk"):
        with pytest.raises(EnvironmentLocked) as locked, folder.lock("bob"):
            pass
        assert locked.value.holder == "ada on desk"
        assert folder.holder() == "ada on desk"
    with folder.lock("bob"):
        pass


def test_contents_come_back_and_damage_is_noticed(folder: StateFolder) -> None:
    digest = folder.keep(target_with(file_target("/x", b"one")), BLOBS)
    assert folder.target(digest) == target_with(file_target("/x", b"one"))
    assert folder.blob(blob(b"one")) == b"one"
    (folder.path / "blobs" / blob(b"one")).write_bytes(b"two")
    with pytest.raises(StateDamaged, match="is not what was put there"):
        folder.blob(blob(b"one"))
    with pytest.raises(StateDamaged, match="is not there"):
        folder.blob(blob(b"never kept"))


def test_contents_of_targets_that_are_not_kept_any_more_go(folder: StateFolder) -> None:
    desired = Desired(environment="floor")
    for number in range(TARGETS_KEPT + 1):
        digest = folder.keep(
            target_with(file_target("/same", b"same"), file_target("/x", b"%d" % number)), BLOBS
        )
        kept = KeptTarget(sha256=digest, changes=(), spec_sha256="", at_ns=number, who="ada")
        desired = folder.write(msgspec.structs.replace(desired, kept=(*desired.kept, kept)))
    folder.forget_others(desired)
    assert len(desired.kept) == TARGETS_KEPT
    for number in range(TARGETS_KEPT + 1):
        assert (folder.path / "blobs" / blob(b"%d" % number)).exists() == (number > 0)
    assert folder.blob(blob(b"same")) == b"same"
    assert len(list((folder.path / "blobs").iterdir())) == 2 * TARGETS_KEPT + 1


def test_a_journal_is_read_as_it_was_written(folder: StateFolder) -> None:
    records: list[Record] = [began(), StepStarted(step=0, at_ns=2), StepDone(step=0, at_ns=3, said="ok")]
    path = write_journal(folder, *records)
    assert read_journal(path) == records
    assert folder.last_journal() == records
    assert folder.unfinished() is not None
    write_journal(folder, began(), Ended(state=RunState.DONE, at_ns=4))
    assert folder.unfinished() is None
    assert len(folder.history()) == 2


def test_a_record_that_a_kill_cut_off_was_never_written(folder: StateFolder) -> None:
    path = write_journal(folder, began(), StepStarted(step=0, at_ns=2))
    whole = path.read_bytes()
    first = whole.index(b"\n") + 1
    for length in range(first, len(whole)):
        path.write_bytes(whole[:length])
        assert read_journal(path) == [began()]


def test_a_journal_in_which_anything_else_is_changed_is_an_error(folder: StateFolder) -> None:
    path = write_journal(folder, began(), StepStarted(step=0, at_ns=2), StepDone(step=0, at_ns=3))
    whole = path.read_bytes()
    second = whole.index(b"\n") + 1
    for place in (0, 12, second, second + 20):
        damaged = bytearray(whole)
        damaged[place] ^= 0x01
        path.write_bytes(damaged)
        with pytest.raises(StateDamaged, match=path.name):
            read_journal(path)
    path.write_bytes(whole[:second] + whole[second + 5 :])
    with pytest.raises(StateDamaged):
        folder.unfinished()


def test_a_run_that_was_killed_before_its_first_record_does_not_hide_the_one_before(
    folder: StateFolder,
) -> None:
    write_journal(folder, began())
    write_journal(folder)
    assert folder.unfinished() is not None


def test_a_folder_that_cannot_be_written_is_told(tmp_path: Path) -> None:
    (tmp_path / "floor.lab").write_text("in the way")
    with pytest.raises(JournalFailed, match=r"floor\.lab"), StateFolder(tmp_path / "floor.lab").lock("ada"):
        pass


def test_old_journals_go(folder: StateFolder) -> None:
    for _ in range(JOURNALS_KEPT + 2):
        write_journal(folder, began())
    there = journals(folder.path / "journal")
    assert len(there) == JOURNALS_KEPT
    assert there[-1].stem == f"{JOURNALS_KEPT + 2:08}"
