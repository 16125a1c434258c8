"""Keeps the prompt's picture: threads that follow the user's orders, positions and kill levels over lost connections, until the prompt ends."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

from toucan.cli.limits import LIMITS_INTERVAL_S
from toucan.cli.prompt.news import news_lines, staged_news_lines
from toucan.cli.prompt.picture import Picture
from toucan.client import Blotter, Position, StagedOrder, Toucan, Watch
from toucan.client.errors import NotEntitled, ServerUnavailable, ToucanError

__all__ = ["Feed"]

#: Before what has failed is tried again; the streams themselves try again sooner.
_PAUSE_S = 1.0


class Feed:
    """Follows ``client``'s user; ``say`` is called with each line of news, ``on_change`` when the picture is another one, both from any thread."""

    def __init__(
        self, client: Toucan, server: str, say: Callable[[str], None], on_change: Callable[[], None]
    ) -> None:
        self._client = client
        self._say = say
        self._on_change = on_change
        self._closed = threading.Event()
        self._lock = threading.Lock()
        self._picture = Picture(server=server, last_heard_s=time.monotonic(), trouble="connecting")
        self._positions: dict[tuple[str, str, str], Position] = {}
        self._watches: list[Watch[Any, Any]] = []
        self._threads = [
            threading.Thread(target=self._keep, args=(body,), name=f"toucan-feed-{name}", daemon=True)
            for name, body in (
                ("orders", self._follow_orders),
                ("positions", self._follow_positions),
                ("limits", self._follow_limits),
                ("staged", self._follow_staged),
            )
        ]

    def start(self) -> None:
        """Begins to follow."""
        for thread in self._threads:
            thread.start()

    def picture(self) -> Picture:
        """What is known now."""
        with self._lock:
            picture, watch = self._picture, self._watches[0] if self._watches else None
        if watch is None:
            return picture
        return replace(
            picture,
            is_connected=watch.is_connected,
            is_stale=watch.is_stale,
            last_heard_s=watch.last_heard_s,
            trouble=watch.trouble or picture.trouble,
        )

    def close(self) -> None:
        """Ends all threads."""
        self._closed.set()
        with self._lock:
            watches = list(self._watches)
        for watch in watches:
            watch.close()

    # --- threads ---

    def _keep(self, body: Callable[[], None]) -> None:
        while not self._closed.is_set():
            try:
                body()
            except NotEntitled as error:
                self._change(trouble=error.message)
                return  # asking again would not help
            except ToucanError as error:
                if error.code == "UNKNOWN_REQUEST":
                    return  # a server of an older version, which has no such thing
                is_new = self._change(trouble=error.message)
                if is_new and not isinstance(error, ServerUnavailable):
                    self._say(f"toucan: error: {error.message}")
            self._closed.wait(_PAUSE_S)

    def _follow_orders(self) -> None:
        client = self._client
        identity = client.identity()
        symbols = {one.symbol: one.description for one in client.instruments()}
        self._change(user=identity.user, accounts=identity.accounts, symbols=symbols)
        blotter = Blotter(only_open=True)
        watch = client.watch_orders(owners=[identity.user], is_open=True)
        # The first is the one whose age is shown: it is never silent.
        self._add(watch, is_first=True)
        for batch in watch.batches():
            before = {order.order_id: order for order in blotter}
            blotter.apply(batch)
            after = {order.order_id: order for order in blotter}
            self._change(orders=tuple(after.values()), trouble="")
            for line in news_lines(before, batch, after):
                self._say(line)

    def _follow_positions(self) -> None:
        watch = self._client.watch_positions()
        self._add(watch)
        for batch in watch.batches():
            if batch.is_snapshot:
                self._positions.clear()
            for position in batch.positions:
                self._positions[position.account, position.trader, position.symbol] = position
            if batch.positions or batch.is_snapshot:
                self._change(positions=tuple(self._positions.values()))

    def _follow_staged(self) -> None:
        user = self._client.identity().user
        watch = self._client.watch_staged(is_pending=True)
        self._add(watch)
        pending: dict[int, StagedOrder] = {}
        snapshot: dict[int, StagedOrder] = {}
        for batch in watch.batches():
            before = dict(pending)
            if batch.is_snapshot_begin:
                snapshot = {}
            kept = snapshot if batch.is_snapshot else pending
            for update in batch.updates:
                kept.pop(update.staged.staged_id, None)
                if update.staged.is_pending:
                    kept[update.staged.staged_id] = update.staged
            if batch.is_snapshot_end:
                pending = snapshot
            self._change(staged=tuple(pending.values()))
            for line in staged_news_lines(before, batch, user):
                self._say(line)

    def _follow_limits(self) -> None:
        while not self._closed.is_set():
            levels = {node.node: node.effective_level for node in self._client.limits().nodes}
            if levels != self._picture.levels:
                self._change(levels=levels)
            self._closed.wait(LIMITS_INTERVAL_S)

    def _add(self, watch: Watch[Any, Any], *, is_first: bool = False) -> None:
        watch.on_state = self._on_change
        with self._lock:
            self._watches.insert(0 if is_first else len(self._watches), watch)
        if self._closed.is_set():
            watch.close()

    def _change(self, **changes: Any) -> bool:
        """Changes the picture; False: it was so already."""
        with self._lock:
            before = self._picture
            self._picture = replace(before, **changes)
            is_new = self._picture != before
        self._on_change()
        return is_new
