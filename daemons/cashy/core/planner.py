"""Which blocks are fetched, and when: demand and prefetch, which are two things.

Law. *Demand* is the blocks that somebody asked for and waits for: :class:`ReadPlan` issues all of it, as fast as a window allows, and
nothing else. *Prefetch* is a guess: :class:`ReadAhead` bounds it by what the reader has really read, and never delays demand. Both count
blocks; neither knows what a block holds, whether it is cached already (the owner skips those), or who carries it out.

The size of an object is unknown until its first block's answer brings it, together with the right to read it at all. So that block goes
alone: asking in parallel for blocks that may not exist, by somebody who may not read them, would be a guess, and it would delay the first
byte, for which the reader waits. From then on the rest is demand and not a guess, however much it is.

The rule for prefetch: **blocks prefetched and not read are never more than the blocks that were read before**. So a reader who stops at
any moment has made the daemon load at most twice the blocks that it read. See :class:`ReadAhead` for the exact statement.

Rejected: one rule for both (a large read would crawl at the pace of the guess); a fixed read-ahead (it loads its whole window for a
reader of one block); restarting the count at the reader's request size (small reads of large blocks would never prefetch).
"""

from __future__ import annotations

__all__ = ["ReadAhead", "ReadPlan", "block_count", "block_length", "blocks_of"]


def block_count(size_bytes: int, block_bytes: int) -> int:
    """Number of blocks of an object; an empty object has none."""
    return -(-size_bytes // block_bytes)


def block_length(index: int, size_bytes: int, block_bytes: int) -> int:
    """Bytes in block ``index``: the last one is short, those after it are empty."""
    return min(block_bytes, max(0, size_bytes - index * block_bytes))


def blocks_of(offset: int, length: int, block_bytes: int, size_bytes: int | None) -> range:
    """The blocks in which the bytes [offset, offset + length) lie, clipped at the object's end if its size is known.

    Empty if there are no such bytes. Negative offsets or lengths are a ValueError.
    """
    if offset < 0 or length < 0:
        raise ValueError(f"offset {offset} and length {length} may not be negative")
    end = offset + length if size_bytes is None else min(offset + length, size_bytes)
    if end <= offset:
        return range(0)
    return range(offset // block_bytes, -(-end // block_bytes))


class ReadPlan:
    """One fetch of the blocks [first, first + count), with at most ``window`` of them under way.

    Ask :meth:`next_blocks` what to issue: at the start, and after each of :meth:`on_size`, :meth:`on_done` and :meth:`on_failed`. Every
    block is issued once, in ascending order. Until :meth:`on_size` one is under way at a time, normally just the first, whose answer
    brings the size; a caller that knows the size already calls it at once. Blocks after the object's end are dropped when the size
    becomes known; the first one may have been issued by then, and is still to be reported. One failure ends the plan: nothing more is
    issued.
    """

    def __init__(self, first: int, count: int, window: int, *, block_bytes: int) -> None:
        if first < 0 or count < 0 or window < 1 or block_bytes < 1:
            raise ValueError(
                f"no plan for {count} blocks from {first} of {block_bytes} bytes with a window of {window}"
            )
        self.block_bytes = block_bytes
        self._window = window
        self._next = first
        self._stop = first + count
        self._in_flight: set[int] = set()  # at most `window`
        self._size_bytes: int | None = None
        self._failed = False

    @property
    def size_bytes(self) -> int | None:
        """The object's size, None while it is unknown."""
        return self._size_bytes

    @property
    def in_flight(self) -> frozenset[int]:
        """Blocks issued, and neither done nor failed."""
        return frozenset(self._in_flight)

    @property
    def failed(self) -> bool:
        """Whether a block failed or the plan was cancelled: it finishes without issuing the rest."""
        return self._failed

    @property
    def finished(self) -> bool:
        """Whether nothing is under way and nothing is left to issue."""
        return not self._in_flight and (self._failed or self._next >= self._stop)

    def on_size(self, size_bytes: int) -> None:
        """The object's size is known. It may be said again, but not differently: another size is another version (ValueError)."""
        if self._size_bytes not in (None, size_bytes):
            raise ValueError(
                f"the size was {self._size_bytes} bytes and is now {size_bytes}: that is another version"
            )
        self._size_bytes = size_bytes
        self._stop = min(self._stop, block_count(size_bytes, self.block_bytes))

    def next_blocks(self) -> list[int]:
        """The blocks to issue now, ascending; they count as under way from here on."""
        if self._failed:
            return []
        window = 1 if self._size_bytes is None else self._window
        stop = min(self._stop, self._next + max(0, window - len(self._in_flight)))
        issued = list(range(self._next, stop))
        self._next = max(self._next, stop)
        self._in_flight.update(issued)
        return issued

    def on_done(self, index: int) -> None:
        """Block ``index`` has arrived; KeyError if it was not under way."""
        self._in_flight.remove(index)

    def on_failed(self, index: int) -> None:
        """Block ``index`` will not arrive; KeyError if it was not under way. A retry is the caller's and comes before this."""
        self._in_flight.remove(index)
        self._failed = True

    def cancel(self) -> None:
        """Nobody waits any more: nothing further is issued, what is under way is still to be reported."""
        self._failed = True


class ReadAhead:
    """The prefetch of one reader of one object (a *stream*).

    Reads that continue or overlap what was read before make a *run*. Let R be the blocks of the run read before the present call, and P
    those prefetched for it that lie after its end. Each call keeps ``len(P) <= min(len(R), window)``; so the first read of a run
    prefetches nothing, the second at most as many blocks as the first read, and so on, doubling up to the window. A read that does not
    continue the run begins another with R empty; what lies prefetched ahead of it is not asked for again. Hence, over any sequence of
    reads, the blocks loaded (read or prefetched) are at most twice the blocks read.
    """

    def __init__(self, window: int, *, block_bytes: int) -> None:
        self.block_bytes = block_bytes
        self._window = window
        self._start = self._stop = 0  # blocks [start, stop) were read in this run
        self._frontier = 0  # blocks [stop, frontier) were prefetched, and not read yet

    def prefetch(self, now_reading: range, size_bytes: int | None, *, budget: int | None = None) -> range:
        """The blocks to prefetch beside the read of ``now_reading`` (ascending, step 1), whose blocks are demand and not in the answer.

        Clipped at the end of the object if its size is known, and to ``budget`` blocks if the caller has no more to spare.
        An empty read changes nothing.
        """
        if not now_reading:
            return range(0)
        if not self._start <= now_reading.start <= self._stop:
            self._begin_run(now_reading.start)
        already_read = self._stop - self._start
        self._stop = max(self._stop, now_reading.stop)
        self._frontier = max(self._frontier, self._stop)
        end = self._stop + min(already_read, self._window)
        if size_bytes is not None:
            end = min(end, block_count(size_bytes, self.block_bytes))
        if budget is not None:
            end = min(end, self._frontier + max(0, budget))
        wanted = range(self._frontier, max(self._frontier, end))
        self._frontier = wanted.stop
        return wanted

    def _begin_run(self, start: int) -> None:
        if not self._stop <= start <= self._frontier:
            self._frontier = start
        self._start = self._stop = start
