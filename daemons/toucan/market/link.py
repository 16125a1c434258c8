"""A front end's way to a feed: keeps a picture of the market, connects again when the connection ends, and says when the picture may be old."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Sequence

import structlog

from toucan.core.frames import WireError, encode_all
from toucan.market.address import FeedAddress, shown_address
from toucan.market.core.messages import Subscribe, feed_reader
from toucan.market.core.picture import MarketPicture
from toucan.market.limits import CONNECT_S_MAX, RECEIVE_BYTES, RECONNECT_S, RECONNECT_S_MAX, SILENCE_S_MAX

__all__ = ["FeedLink"]

_log = structlog.get_logger(__name__)


class FeedLink:
    """Follows one venue's feed on the running loop, from :meth:`start` to :meth:`stop`.

    ``on_change`` is told the symbols that look other than before, ``on_staleness`` that :attr:`is_stale` is another; both return at once.
    """

    def __init__(self, venue: str, address: FeedAddress) -> None:
        self.venue = venue
        self.picture = MarketPicture()
        #: No word for ``SILENCE_S_MAX``, no connection, or a feed that hears nothing itself.
        self.is_stale = True
        self.on_change: Callable[[Sequence[str]], None] = lambda symbols: None
        self.on_staleness: Callable[[], None] = lambda: None
        self._address = address
        self._task: asyncio.Task[None] | None = None
        self._said = ""

    def start(self) -> None:
        """Looks for the feed from now on."""
        self._task = asyncio.get_running_loop().create_task(self._run(), name=f"feed of {self.venue}")

    async def stop(self) -> None:
        """Lets go of it."""
        if self._task is not None:
            self._task.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._task

    async def _run(self) -> None:
        pause_s = RECONNECT_S
        while True:
            try:
                await self._follow()
            except (OSError, WireError) as error:  # a TimeoutError is an OSError
                reason = str(error) or f"it said nothing for {SILENCE_S_MAX} s"
                pause_s = RECONNECT_S if not self.is_stale else min(2 * pause_s, RECONNECT_S_MAX)
                self._say(f"no market data of {self.venue} from {shown_address(self._address)}: {reason}")
            finally:
                self._set_stale(True)
            await asyncio.sleep(pause_s)

    def _say(self, text: str) -> None:
        """Once, however often it is tried again."""
        if text != self._said:
            _log.warning("feed is away", why=text)
            self._said = text

    async def _follow(self) -> None:
        """One connection, until it ends with an error."""
        reader, writer = await self._connected()
        try:
            writer.write(encode_all([Subscribe(self.picture.life, self.picture.places())]))
            frames = feed_reader()
            while True:
                async with asyncio.timeout(SILENCE_S_MAX):
                    data = await reader.read(RECEIVE_BYTES)
                if not data:
                    raise ConnectionError("the feed has closed the connection")
                changed: dict[str, None] = {}
                was_complete = self.picture.is_complete
                for message in frames.feed(data):
                    symbol = self.picture.take(message)
                    if symbol is not None:
                        changed[symbol] = None
                self._heard(was_complete, changed)
        finally:
            writer.transport.abort()

    def _heard(self, was_complete: bool, changed: dict[str, None]) -> None:
        picture = self.picture
        if not picture.is_complete:
            return  # what there is of it comes at once when it is
        if not was_complete:
            changed = dict.fromkeys(picture.instruments)
        if picture.is_stale != self.is_stale:
            if self._said and not picture.is_stale:
                _log.info("feed is back", venue=self.venue)
                self._said = ""
            self._set_stale(picture.is_stale)
        if changed:
            self.on_change([*changed])

    async def _connected(self) -> tuple[asyncio.StreamReader, asyncio.StreamWriter]:
        async with asyncio.timeout(CONNECT_S_MAX):
            if isinstance(self._address, tuple):
                return await asyncio.open_connection(*self._address)
            return await asyncio.open_unix_connection(str(self._address))

    def _set_stale(self, is_stale: bool) -> None:
        if is_stale is not self.is_stale:
            self.is_stale = is_stale
            self.on_staleness()
