"""``logs``: messages of many hosts in one order."""

from __future__ import annotations

import time
from collections import deque
from collections.abc import Sequence
from datetime import datetime

import trio
from rich.text import Text

from labshell.app.context import Context
from labshell.core.commands import PRIORITIES
from labshell.core.fold import fold_hosts
from labshell.core.folding import FoldedLine, fold_lines
from labshell.core.json_objects import log_line_json
from labshell.core.log_text import readable
from labshell.core.parse import Bound
from labshell.core.values import since_ns
from labshell.session.session import Session
from labtest.errors import AgentFailed, HostUnreachable
from labtest.hosts.interface import LogBatch, LogLine

__all__ = ["logs"]

#: Equal messages of several hosts that are no further apart are shown as one.
FOLD_WITHIN_NS = 1_000_000_000
#: How long new messages wait for those of other hosts, so that they are shown in the order of their times.
GATHER_S = 0.1
#: Messages that wait to be shown; what is over it is left out, and counted.
WAITING_MAX = 20_000
#: Before a host that was lost is asked again.
AGAIN_S = 0.5

_NS = 1_000_000_000
_STYLES = {0: "bold red", 1: "bold red", 2: "bold red", 3: "red", 4: "yellow", 7: "dim"}


async def logs(session: Session, context: Context, bound: Bound) -> int:
    """Shows messages of instances, with ``--follow`` until it is cancelled."""
    log = _Logs(session, context, bound)
    chosen = session.units_of(bound.texts("instances"))
    async with trio.open_nursery() as nursery:
        if log.follow:
            nursery.start_soon(log.show_now_and_then)
        async with trio.open_nursery() as readers:
            for host, units in chosen.items():
                readers.start_soon(log.read_host, host, units)
        nursery.cancel_scope.cancel()
    log.show()
    return 5 if log.unreachable else 0


class _Logs:
    """One run of the command."""

    def __init__(self, session: Session, context: Context, bound: Bound) -> None:
        self._session = session
        self._context = context
        self.follow = bound.flag("follow")
        self._grep = bound.text("grep") or ""
        self._lines = bound.number("lines") or 0
        since = bound.text("since")
        self._since_ns = (since_ns(since, time.time_ns()) or 0) if since else 0
        priority = bound.text("priority")
        self._priority = PRIORITIES.index(priority) if priority else len(PRIORITIES)
        self._waiting: deque[tuple[str, LogLine]] = deque()
        self._dropped = 0
        self._processes: dict[tuple[str, str], str] = {}
        self.unreachable: list[str] = []

    async def read_host(self, host: str, units: dict[str, str]) -> None:
        """Messages of one host. A connection that is lost is waited for with ``--follow``, and then goes on where it was."""
        self._processes.update({(host, unit): process for process, unit in units.items()})
        cursor, lost = "", False
        while True:
            try:
                cursor = await self._read(host, tuple(units.values()), cursor)
                return
            except (HostUnreachable, AgentFailed) as error:
                if not self.follow:
                    self._context.error(str(error))
                    self.unreachable.append(host)
                    return
                if not lost:
                    self._context.warn(f"{error}; its messages go on when it is back")
                lost = True
                await trio.sleep(AGAIN_S)

    async def _read(self, host: str, units: tuple[str, ...], cursor: str) -> str:
        agent = await self._session.agent(host)
        lines = 0 if cursor else self._lines
        stream = agent.logs(
            units,
            lines=lines,
            follow=self.follow,
            cursor=cursor,
            grep=self._grep,
            since_ns=0 if cursor else self._since_ns,
        )
        async with stream as batches:
            async for batch in batches:
                self._take(host, batch)
                cursor = batch.cursor or cursor
        return cursor

    def _take(self, host: str, batch: LogBatch) -> None:
        self._dropped += batch.dropped
        for line in batch.lines:
            if line.priority <= self._priority:
                if len(self._waiting) >= WAITING_MAX:
                    self._waiting.popleft()
                    self._dropped += 1
                self._waiting.append((host, line))

    async def show_now_and_then(self) -> None:
        """What has come, in the order of its times."""
        while True:
            await trio.sleep(GATHER_S)
            self.show()

    def show(self) -> None:
        """All that waits."""
        waiting, dropped = list(self._waiting), self._dropped
        self._waiting.clear()
        self._dropped = 0
        if dropped:
            self._context.warn(f"{dropped} messages were left out: there were more than can be shown")
        folded = fold_lines(waiting, within_ns=FOLD_WITHIN_NS)
        if self._context.json:
            self._context.emit_items(log_line_json(one, self._process(one)) for one in folded)
        elif folded and self._context.interactive:
            self._context.print(self._drawn(folded))
        elif folded:
            # One line each, however long, for those who filter them.
            self._context.print(self._drawn(folded).plain)

    def _drawn(self, folded: Sequence[FoldedLine]) -> Text:
        text = Text(overflow="fold")
        for index, one in enumerate(folded):
            at = datetime.fromtimestamp(one.line.at_ns / _NS).strftime("%H:%M:%S.%f")[:-3]
            text.append(("\n" if index else "") + at, style="dim")
            text.append(f" {self._source(one)} ", style="cyan")
            text.append(readable(one.line.text), style=_STYLES.get(one.line.priority, ""))
        return text

    def _source(self, one: FoldedLine) -> str:
        return f"{self._process(one)}@{fold_hosts(one.hosts)}"

    def _process(self, one: FoldedLine) -> str:
        return self._processes.get((one.hosts[0], one.line.unit), one.line.unit)
