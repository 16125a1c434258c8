"""Conformance: files, and the lock of an environment."""

from __future__ import annotations

import pytest
import trio
from tests.labtest.agent.kit import World, case, refused, sha

from labtest.core.actual import FileActual
from labtest.core.steps import (
    PutFile,
    RemoveFile,
)
from labtest.core.target import FileTarget
from labtest.errors import EnvironmentLocked

__all__: list[str] = []


@case()
async def a_file_is_put_observed_and_read(world: World) -> None:
    file = await world.put("folder/that/is/new/x.toml", b"a = 1\n")
    assert await world.seen(file.path) == FileActual(
        path=file.path, sha256=file.sha256, mode=0o640, owner="root", group="root", managed=True
    )
    assert await world.agent.read_file(file.path) == b"a = 1\n"
    assert world.asked == [file.sha256]


@case()
async def putting_the_same_file_again_sends_nothing(world: World) -> None:
    file = await world.put("x", b"same")
    await world.do(PutFile(file=file, replaces_sha256=""))
    assert world.asked == [file.sha256]


@case()
async def a_file_whose_mode_alone_is_different_is_not_sent(world: World) -> None:
    await world.put("x", b"same")
    file = await world.put("x", b"same", replaces=sha(b"same"), mode=0o600)
    seen = await world.seen(file.path)
    assert seen is not None
    assert seen.mode == 0o600
    assert len(world.asked) == 1


@case()
async def a_file_is_replaced_when_it_is_what_the_plan_saw(world: World) -> None:
    await world.put("x", b"old")
    file = await world.put("x", b"new", replaces=sha(b"old"))
    assert await world.agent.read_file(file.path) == b"new"


@case()
async def a_file_that_was_changed_since_is_left_alone(world: World) -> None:
    file = await world.put("x", b"by somebody else")
    wanted = world.file("x", b"new")
    await refused("checksum", world.do(PutFile(file=wanted, replaces_sha256=sha(b"what the plan saw"))))
    await refused("checksum", world.do(PutFile(file=wanted, replaces_sha256="")))
    assert await world.agent.read_file(file.path) == b"by somebody else"


@case()
async def a_file_that_has_gone_since_is_not_put_back(world: World) -> None:
    wanted = world.file("x", b"new")
    await refused("checksum", world.do(PutFile(file=wanted, replaces_sha256=sha(b"what the plan saw"))))
    assert await world.seen(wanted.path) is None


@case()
async def an_empty_file_is_a_file(world: World) -> None:
    file = await world.put("empty", b"")
    assert await world.agent.read_file(file.path) == b""


@case()
async def a_file_that_labtest_put_there_is_removed(world: World) -> None:
    file = await world.put("x", b"x")
    await world.do(RemoveFile(path=file.path))
    assert await world.seen(file.path) is None
    assert (await world.observe()).files == ()
    await world.do(RemoveFile(path=file.path))


@case()
async def a_file_of_another_environment_is_not_removed(world: World) -> None:
    file = await world.put("x", b"x")
    await world.agent.do("another", RemoveFile(path=file.path), content=world.content)
    assert await world.agent.read_file(file.path) == b"x"


@case()
async def reading_what_is_not_there_or_too_large_is_refused(world: World) -> None:
    await refused("not-found", world.agent.read_file(f"{world.folder}/nothing"))
    file = await world.put("x", bytes(1001))
    await refused("too-large", world.agent.read_file(file.path, size_max=1000))
    assert len(await world.agent.read_file(file.path, size_max=1001)) == 1001


@case()
async def an_owner_that_the_host_does_not_know_is_refused(world: World) -> None:
    known = world.file("x", b"x")
    stranger = FileTarget(
        path=known.path, sha256=known.sha256, size_bytes=1, mode=0o644, owner="no-such-user", group="root"
    )
    await refused("not-found", world.do(PutFile(file=stranger)))
    assert await world.seen(known.path) is None


@case()
async def observing_a_fresh_host_finds_nothing(world: World) -> None:
    actual = await world.observe(f"{world.folder}/nothing")
    assert actual.host == world.agent.host
    assert actual.boot_id
    assert (actual.files, actual.releases, actual.processes) == ((), (), ())


@case()
async def what_one_agent_did_the_next_one_knows(world: World) -> None:
    file = await world.put("x", b"x")
    async with world.other() as other:
        actual = await other.observe(world.environment, files=(), units={})
    assert [(seen.path, seen.managed) for seen in actual.files] == [(file.path, True)]


@case()
async def files_are_listed_in_order_of_path(world: World) -> None:
    for name in ("b", "c", "a"):
        await world.put(name, name.encode())
    assert [file.path[-1] for file in (await world.observe()).files] == ["a", "b", "c"]


@case()
async def a_lock_is_held_by_one_and_says_by_whom(world: World) -> None:
    async with (
        world.other() as other,
        world.agent.lock(world.environment, "ada on rack1, applying since 12:00"),
    ):
        with pytest.raises(EnvironmentLocked) as caught:
            await other.lock(world.environment, "somebody else").__aenter__()
        assert caught.value.holder == "ada on rack1, applying since 12:00"
        assert caught.value.holder in str(caught.value)
        async with other.lock("another", "somebody else"):
            pass


@case()
async def a_lock_that_is_given_back_can_be_taken_at_once(world: World) -> None:
    async with world.other() as other:
        for _ in range(3):
            async with world.agent.lock(world.environment, "one"):
                pass
            async with other.lock(world.environment, "two"):
                pass


@case()
async def a_lock_ends_with_its_agent(world: World) -> None:
    async with world.other() as other:
        holding = other.lock(world.environment, "one that dies")
        await holding.__aenter__()
        await other.aclose()
        with trio.fail_after(5):
            while True:
                try:
                    async with world.agent.lock(world.environment, "the next"):
                        break
                except EnvironmentLocked:
                    await trio.sleep(0.02)
        await holding.__aexit__(None, None, None)
