"""Keeps the list of a cluster's hosts up to date while the master runs: where it comes from, what is remembered of it, and how a change is made.

A :class:`MembershipSource` is a stream of lists and of what is wrong with them. The one here watches a file; another one could follow a key of a
coordinator that exists already (etcd). Whatever it gives, a list is taken only if its number is higher than that of the list in force: what is
broken, older or the same changes nothing, says so in one line of the log, and counts.

What this host counts by is written down in the instance's folder *before* it is acted on or told to anybody, and so lives as long as the memory that
the rules protect: a killed master goes on with it, a rebooted host has forgotten (:mod:`cashy.core.membership` says what follows).
"""

from __future__ import annotations

import asyncio
import json
import os
from collections.abc import AsyncIterator, Coroutine
from pathlib import Path
from typing import Any, NamedTuple, Protocol

import structlog

from cashy.core.membership import Counting
from cashy.errors import ConfigError
from cashy.hosts_file import HostList, format_hosts, parse_hosts, read_hosts
from cashy.limits import HOSTS_LOOK_S
from cashy.master.cluster import listed_of
from cashy.master.coherence import Coherence
from cashy.master.counters import Counters
from cashy.settings import Settings

__all__ = ["FileSource", "HostMemory", "Membership", "MembershipSource", "Remembered", "hosts_source"]

_log = structlog.get_logger("cashy.master")

#: A host whose word is still waited for is named in the log after so many looks, and so often.
_LOOKS_PER_LINE = 60


class MembershipSource(Protocol):
    """Where lists of hosts come from."""

    def read(self) -> HostList:
        """The present list, for the start; may block. Raises :class:`~cashy.errors.ConfigError`."""
        ...

    def lists(self) -> AsyncIterator[HostList | ConfigError]:
        """Every list from now on, or what is wrong with it, once each. Does not end, and does not block the loop."""
        ...

    def look_again(self) -> None:
        """Somebody says that there may be news (SIGHUP)."""
        ...


def hosts_source(settings: Settings) -> MembershipSource | None:
    """As configured; None: the list stands in the settings, or there is no cluster."""
    path = settings.cluster.hosts_file
    return None if path is None or settings.cluster.host is None else FileSource(path)


class FileSource:
    """A file (:mod:`cashy.hosts_file`), looked at every ``look_s`` seconds by a thread: inotify sees neither what a network file system's other
    hosts write, nor a symbolic link on the way that leads elsewhere.
    """

    def __init__(self, path: Path, look_s: float = HOSTS_LOOK_S) -> None:
        self._path = path
        self._look_s = look_s
        self._again = asyncio.Event()

    def read(self) -> HostList:
        """The present list."""
        return read_hosts(self._path)

    def look_again(self) -> None:
        """Looks at once, also if the file seems to be as it was."""
        self._again.set()

    async def lists(self) -> AsyncIterator[HostList | ConfigError]:
        """Each new content of the file."""
        seen: object = None
        while True:
            signature = await asyncio.to_thread(self._signature)
            if signature != seen:
                # Looked at before it is read: what is written meanwhile is found at the next look.
                seen = signature
                yield await asyncio.to_thread(self._read)
            try:
                await asyncio.wait_for(self._again.wait(), self._look_s)
                seen = None
            except TimeoutError:
                pass
            self._again.clear()

    def _read(self) -> HostList | ConfigError:
        try:
            return read_hosts(self._path)
        except ConfigError as error:
            return error

    def _signature(self) -> object:
        try:
            found = os.stat(self._path)
        except OSError as error:
            return error.errno
        return found.st_dev, found.st_ino, found.st_size, found.st_mtime_ns


class Remembered(NamedTuple):
    """What a host counted by, oldest list first, and whether it had forgotten what was before."""

    lists: tuple[HostList, ...]
    forgot: bool


class HostMemory:
    """What is written down in the instance's folder, on the same tmpfs as the arena."""

    def __init__(self, folder: Path) -> None:
        self._path = folder / "hosts"

    def load(self) -> Remembered | None:
        """What was written last; None: nothing, or nothing that can be read."""
        try:
            data = json.loads(self._path.read_text(encoding="utf-8"))
            lists = tuple(parse_hosts(text, str(self._path)) for text in data["lists"])
            return Remembered(lists, bool(data["forgot"])) if lists else None
        except FileNotFoundError:
            return None
        except (OSError, ValueError, KeyError, TypeError) as error:
            _log.error("what_was_known_of_the_hosts_is_lost", reason=str(error))
            return None

    def save(self, remembered: Remembered) -> None:
        """Writes it down, whole or not at all. Raises OSError."""
        texts = [format_hosts(hosts) for hosts in remembered.lists]
        fresh = self._path.with_name("hosts.new")
        fresh.write_text(json.dumps({"lists": texts, "forgot": remembered.forgot}), encoding="utf-8")
        fresh.replace(self._path)

    def first_list(self, source: MembershipSource | None) -> HostList | None:
        """The list to start with: the newest one remembered, else what the source has. None: there is no source. Raises ``ConfigError``.

        A newer one of the source's follows as a change, so that both are counted by.
        """
        if source is None:
            return None
        remembered = self.load()
        return source.read() if remembered is None else remembered.lists[-1]


class Membership:
    """One host's list of hosts, while it runs. To be made before anybody is served."""

    def __init__(
        self, source: MembershipSource, coherence: Coherence, memory: HostMemory, counters: Counters
    ) -> None:
        self._source = source
        self._coherence = coherence
        self._cluster = cluster = coherence.cluster
        self._memory = memory
        self._counters = counters
        self._writing = asyncio.Lock()
        self._lists = {cluster.host_list.version: cluster.host_list}
        self._tasks: set[asyncio.Task[None]] = set()
        remembered = memory.load()
        if remembered is None:
            memory.save(self._remembered())
        else:
            self._lists = {hosts.version: hosts for hosts in remembered.lists}
            lists = [listed_of(hosts) for hosts in remembered.lists]
            counting = Counting(cluster.own_name, lists, forgot=remembered.forgot)
            cluster.recall(counting, remembered.lists)
            coherence.hosts_changed()
        coherence.when_settled = self._settled

    def start(self) -> None:
        """Begins to follow the source."""
        self._spawn(self._follow())
        self._spawn(self._look_who_has_left())

    def look_again(self) -> None:
        """There may be news."""
        self._source.look_again()

    async def close(self) -> None:
        """Follows it no more."""
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    # --- lists ---

    async def _follow(self) -> None:
        async for item in self._source.lists():
            await self.take(item)

    async def take(self, item: HostList | ConfigError) -> None:
        """A list has come, or what is wrong with one."""
        present = self._cluster.host_list
        if isinstance(item, ConfigError):
            self._refuse(item.message)
        elif item.version < present.version:
            self._refuse(f"it has the number {item.version}, which is older than {present.version}")
        elif item.version == present.version:
            if item != present:
                self._refuse(
                    f"it has changed, but not its number {item.version}: count that up with each change"
                )
        elif not (counting := self._cluster.counting).has_room_for(listed_of(item)):
            self._refuse(
                f"{len(counting.lists)} lists before it are not known to all hosts yet: wait for {', '.join(counting.unconfirmed())}, "
                "or name those that are off for good in `gone`"
            )
        else:
            await self._adopt(item)

    def _refuse(self, reason: str) -> None:
        self._counters.add("membership_errors")
        _log.error("list_of_hosts_not_taken", reason=reason, in_force=self._cluster.host_list.version)

    async def _adopt(self, hosts: HostList) -> None:
        async with self._writing:
            self._lists[hosts.version] = hosts
            try:
                await asyncio.to_thread(self._memory.save, self._remembered(hosts))
            except OSError as error:
                self._refuse(f"it cannot be written down: {error.strerror}")
                return
            before = self._cluster.hosts
            self._cluster.adopt(hosts)
            self._coherence.hosts_changed()
        self._counters.add("membership_changes")
        _log.info(
            "list_of_hosts_taken",
            version=hosts.version,
            joined=sorted(hosts.names - before.keys()),
            left=sorted(before.keys() - hosts.names),
            is_in_it=self._cluster.own_name in hosts.names,
        )

    def _remembered(self, *more: HostList) -> Remembered:
        counting = self._cluster.counting
        lists = [self._lists[listed.version] for listed in counting.lists]
        return Remembered((*lists, *more), counting.forgot)

    def _settled(self) -> None:
        """Older lists are not counted by any more, or this host does not act any more, or acts again."""
        self._cluster.refresh()
        self._spawn(self._write_down())

    async def _write_down(self) -> None:
        async with self._writing:
            kept = {listed.version for listed in self._cluster.counting.lists}
            self._lists = {version: hosts for version, hosts in self._lists.items() if version in kept}
            try:
                await asyncio.to_thread(self._memory.save, self._remembered())
            except OSError as error:  # more than it counts by is remembered: that is safe
                _log.error("the_hosts_were_not_written_down", reason=error.strerror)

    async def _look_who_has_left(self) -> None:
        """Lets go of hosts whose time is over, and says whose word has been waited for for long."""
        looks = 0
        while True:
            await asyncio.sleep(HOSTS_LOOK_S)
            self._cluster.refresh()
            counting = self._cluster.counting
            silent = counting.unconfirmed() if len(counting.lists) > 1 else []
            looks = looks + 1 if silent else 0
            if looks and looks % _LOOKS_PER_LINE == 0:
                _log.info(
                    "hosts_not_known_to_have_the_list", hosts=silent, version=counting.newest.version,
                    advice="if one of them is off for good, name it in `gone` of the next list",
                )  # fmt: skip

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
