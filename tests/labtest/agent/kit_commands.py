"""Conformance: commands, and what is installed by them."""

from __future__ import annotations

import trio
from tests.labtest.agent.kit import Need, World, case, refused, sha

from labtest.core.steps import (
    InstallRelease,
    RemoveRelease,
    SwitchRelease,
)
from labtest.core.target import ReleaseTarget, SourceFile

__all__: list[str] = []


@case(Need.COMMANDS)
async def a_command_gives_status_and_both_outputs(world: World) -> None:
    ran = await world.agent.run(
        ["sh", "-c", "cat; echo $NAME in $PWD; echo bad >&2; exit 3"], stdin=b"in\n", env={"NAME": "me"}
    )
    assert (ran.status, ran.stdout, ran.stderr, ran.dropped_bytes) == (3, b"in\nme in /\n", b"bad\n", 0)


@case(Need.COMMANDS)
async def a_command_that_a_signal_ends_has_a_negative_status(world: World) -> None:
    assert (await world.agent.run(["sh", "-c", "kill -9 $$"])).status == -9


@case(Need.COMMANDS)
async def output_over_the_limit_is_counted_and_left_out(world: World) -> None:
    ran = await world.agent.run(["head", "-c", "1000001", "/dev/zero"], output_bytes_max=1_000_000)
    assert (len(ran.stdout), ran.dropped_bytes) == (1_000_000, 1)


@case(Need.COMMANDS)
async def a_large_input_comes_back_whole(world: World) -> None:
    given = bytes(range(256)) * 20_000
    ran = await world.agent.run(["cat"], stdin=given, output_bytes_max=len(given))
    assert ran.stdout == given


@case(Need.COMMANDS)
async def a_command_that_is_not_there_is_not_found(world: World) -> None:
    await refused("not-found", world.agent.run(["no-such-command"]))
    await refused("not-found", world.agent.run(["true"], folder=f"{world.folder}/nothing"))


@case(Need.COMMANDS)
async def a_late_command_is_ended_with_its_children(world: World) -> None:
    error = await refused(
        "timeout", world.agent.run(["sh", "-c", "echo begun; sleep 6001 & sleep 6001"], timeout_s=0.3)
    )
    assert "begun" in error.problem
    await _no_process(world, "sleep 6001")


@case(Need.COMMANDS)
async def a_cancelled_command_is_ended_with_its_children(world: World) -> None:
    async with trio.open_nursery() as nursery:
        nursery.start_soon(world.agent.run, ["sh", "-c", "sleep 6002 & sleep 6002"])
        while not await _processes(world, "sleep 6002"):
            await trio.sleep(0.02)
        nursery.cancel_scope.cancel()
    assert await _processes(world, "sleep 6002") == b""


@case(Need.COMMANDS)
async def what_a_command_leaves_behind_does_not_outlive_it(world: World) -> None:
    ran = await world.agent.run(["sh", "-c", "sleep 6003 & echo done"])
    assert ran.stdout == b"done\n"
    await _no_process(world, "sleep 6003")


@case(Need.COMMANDS)
async def twenty_commands_run_at_the_same_time(world: World) -> None:
    # Each waits for all others: in turn they would never end. Few processes, since a host allows only so many.
    script = 'own=$1; : >"$0.$own"; set -- "$0".*; while [ $# -lt 20 ]; do sleep 0.05; set -- "$0".*; done; echo $own'
    await world.agent.run(["mkdir", "-p", world.folder])
    outputs: dict[int, bytes] = {}

    async def one(number: int) -> None:
        ran = await world.agent.run(["sh", "-c", script, f"{world.folder}/here", str(number)])
        assert (ran.status, ran.stderr) == (0, b""), f"{number}: status {ran.status}, {ran.stderr!r}"
        outputs[number] = ran.stdout

    async with trio.open_nursery() as nursery:
        for number in range(20):
            nursery.start_soon(one, number)
    assert outputs == {number: f"{number}\n".encode() for number in range(20)}


async def _processes(world: World, words: str) -> bytes:
    """Process ids of those whose arguments are these words. A zombie has none."""
    script = 'for each in /proc/[0-9]*; do if [ "$(tr "\\0" " " <$each/cmdline 2>/dev/null)" = "$0 " ]; then echo $each; fi; done'
    return (await world.agent.run(["sh", "-c", script, words])).stdout


async def _no_process(world: World, words: str) -> None:
    with trio.fail_after(5):
        while await _processes(world, words):
            await trio.sleep(0.02)


def _release(
    world: World, version: str, files: dict[str, bytes], *, install: tuple[str, ...] = (), **more: object
) -> ReleaseTarget:
    source = []
    for path, content in sorted(files.items()):
        world.blobs[sha(content)] = content
        source.append(
            SourceFile(
                path=path, sha256=sha(content), size_bytes=len(content), executable=path.endswith(".sh")
            )
        )
    after = more.get("after_switch", ())
    assert isinstance(after, tuple)
    return ReleaseTarget(
        name="program",
        version=version,
        folder=f"{world.folder}/program",
        source=tuple(source),
        install=install,
        after_switch=after,
        install_timeout_s=30.0,
        fingerprint=sha(repr((version, files, install, more)).encode()),
    )


_INSTALL = ("sh", "-c", 'mkdir "$0" && cp tool.sh "$0" && echo "$0" >"$0/place"', "{target}")


@case(Need.RELEASES)
async def a_release_is_installed_and_switched_to(world: World) -> None:
    release = _release(world, "1.0", {"tool.sh": b"#!/bin/sh\n", "lib/a": b"a"}, install=_INSTALL)
    await world.do(InstallRelease(release=release))
    (seen,) = (await world.observe()).releases
    assert (seen.name, seen.folder, seen.installed, seen.current) == (
        "program",
        release.folder,
        {"1.0": release.fingerprint},
        "",
    )
    await world.do(SwitchRelease(release=release))
    assert (await world.observe()).releases[0].current == "1.0"
    place = await world.agent.read_file(f"{release.folder}/current/place")
    assert place.decode().strip() == f"{release.folder}/1.0"  # where it was installed is where it is


@case(Need.RELEASES)
async def a_release_without_an_install_command_is_its_copy(world: World) -> None:
    release = _release(world, "1.0", {"tool.sh": b"#!/bin/sh\necho it runs\n"})
    await world.do(InstallRelease(release=release))
    await world.do(SwitchRelease(release=release))
    assert await world.agent.read_file(f"{release.folder}/current/tool.sh") == b"#!/bin/sh\necho it runs\n"


@case(Need.RELEASES)
async def only_what_no_version_has_is_sent(world: World) -> None:
    large = bytes(100_000)
    await world.do(InstallRelease(release=_release(world, "1.0", {"large": large, "a": b"1"})))
    world.asked.clear()
    release = _release(world, "1.1", {"moved/large": large, "a": b"2"})
    await world.do(InstallRelease(release=release))
    assert world.asked == [sha(b"2")]
    await world.do(InstallRelease(release=release))
    assert world.asked == [sha(b"2")]


@case(Need.RELEASES)
async def an_install_command_that_fails_leaves_nothing(world: World) -> None:
    release = _release(
        world,
        "1.0",
        {"a": b"a"},
        install=("sh", "-c", 'mkdir "$0"; echo no such wheel >&2; exit 7', "{target}"),
    )
    error = await refused("command-failed", world.do(InstallRelease(release=release)))
    assert "status 7" in error.problem
    assert "no such wheel" in error.problem
    assert (await world.observe()).releases[0].installed == {}
    await refused("not-found", world.do(SwitchRelease(release=release)))


@case(Need.RELEASES)
async def a_version_in_use_is_neither_removed_nor_installed_over(world: World) -> None:
    release = _release(world, "1.0", {"a": b"a"})
    await world.do(InstallRelease(release=release))
    await world.do(SwitchRelease(release=release))
    await refused("exists", world.do(RemoveRelease(name="program", folder=release.folder, version="1.0")))
    await refused("exists", world.do(InstallRelease(release=_release(world, "1.0", {"a": b"other"}))))
    assert await world.agent.read_file(f"{release.folder}/current/a") == b"a"


@case(Need.RELEASES)
async def a_switch_from_what_the_plan_did_not_see_is_refused(world: World) -> None:
    releases = [_release(world, version, {"a": version.encode()}) for version in ("1", "2", "3")]
    for release in releases:
        await world.do(InstallRelease(release=release))
    await world.do(SwitchRelease(release=releases[0]))
    await refused("checksum", world.do(SwitchRelease(release=releases[1], replaces="3")))
    await world.do(SwitchRelease(release=releases[1], replaces="1"))
    await world.do(SwitchRelease(release=releases[1], replaces="1"))
    assert (await world.observe()).releases[0].current == "2"


@case(Need.RELEASES)
async def commands_after_a_switch_run_and_their_failure_is_told(world: World) -> None:
    bad = ("sh", "-c", "echo no users today >&2; exit 2")
    release = _release(world, "1", {"a": b"a"}, after_switch=(("sh", "-c", "touch ran"), bad))
    await world.do(InstallRelease(release=release))
    error = await refused("command-failed", world.do(SwitchRelease(release=release)))
    assert "no users today" in error.problem
    assert await world.agent.read_file(f"{release.folder}/ran") == b""


@case(Need.RELEASES)
async def a_release_is_removed_whole(world: World) -> None:
    release = _release(world, "1", {"a": b"a"})
    other = _release(world, "2", {"a": b"b"})
    for each in (release, other):
        await world.do(InstallRelease(release=each))
    await world.do(SwitchRelease(release=release))
    await world.do(RemoveRelease(name="program", folder=release.folder, version="2"))
    assert (await world.observe()).releases[0].installed == {"1": release.fingerprint}
    for _ in range(2):
        await world.do(RemoveRelease(name="program", folder=release.folder))
        assert (await world.observe()).releases == ()
    await refused("not-found", world.agent.read_file(f"{release.folder}/1/a"))
