"""One instrument's tape: its newest trades, numbered, in bounded memory.

Law: a line is in the tape or it is counted, never neither. A reader's place is a :class:`Place`: the number of the last line that he was told, and
the sum up to there. What he has not been told since is what :meth:`Tape.since` gives: the lines that are kept, and of those that are not their number
and the quantity traded in them, both differences of what the lines carry. So a reader costs two integers, however slow he is.

A tape has no holes: what comes behind one (the feed left lines out) begins it anew, and whoever stood before the hole is told of it by the numbers.

Rejected: a queue for each reader (memory by the slowest); averages or highs and lows of what is left out (a running sum gives the count and the
quantity for nothing; more would have to be kept for every place at which somebody might stand).
"""

from __future__ import annotations

from collections import deque
from itertools import islice

import msgspec

from toucan.core.values import Side
from toucan.market.core.messages import LineKind, TapeLine
from toucan.market.limits import TAPE_LINES_KEPT

__all__ = ["TOTAL_MODULUS", "Place", "Tape", "Told"]

#: Sums wrap there, so that 63 bits are enough on every wire.
TOTAL_MODULUS = 2**63
_TRADE = LineKind.TRADE


class Place(msgspec.Struct, frozen=True, gc=False):
    """Everything up to this line is told; ``total`` is the sum that it carries."""

    number: int = 0
    total: int = 0


class Told(msgspec.Struct, frozen=True):
    """What somebody has not been told: ``left_out`` lines that are not kept, then ``lines``; afterwards he stands at ``place``."""

    left_out: int
    left_out_quantity: int
    lines: tuple[TapeLine, ...]
    place: Place


class Tape:
    """The newest lines of one instrument. ``number`` and ``total`` are those of the newest line that there was."""

    __slots__ = ("_lines", "number", "symbol", "total")

    def __init__(self, symbol: str, kept_max: int = TAPE_LINES_KEPT) -> None:
        self.symbol = symbol
        self.number = 0
        self.total = 0
        self._lines: deque[TapeLine] = deque(maxlen=kept_max)

    def __len__(self) -> int:
        return len(self._lines)

    @property
    def end(self) -> Place:
        """The place behind the newest line."""
        return Place(self.number, self.total)

    # ------------------------------------------------------------ writing

    def write(
        self,
        kind: LineKind,
        at_ns: int,
        price: int,
        quantity: int,
        aggressor: Side | None = None,
        of: int = 0,
    ) -> int:
        """For the venue: puts the next line on the tape and gives its number."""
        self.number = number = self.number + 1
        if kind is _TRADE:
            self.total = (self.total + quantity) % TOTAL_MODULUS
        self._lines.append(
            TapeLine(self.symbol, number, kind, at_ns, price, quantity, self.total, aggressor, of)
        )
        return number

    def take(self, line: TapeLine) -> bool:
        """For whoever follows: a line has come. False: it is not news, since a later one has come before."""
        if line.number <= self.number:
            return False
        if line.number != self.number + 1:
            self._lines.clear()
        self._lines.append(line)
        self.number, self.total = line.number, line.total
        return True

    # ------------------------------------------------------------ reading

    def newest(self, count: int) -> Place:
        """Where somebody stands who is still to be told the newest ``count`` lines, or all that are kept."""
        count = min(count, len(self._lines))
        return self._before(self._lines[-count]) if count else self.end

    def since(self, place: Place, count_max: int | None = None) -> Told:
        """What somebody at ``place`` has not been told; of the lines at most the newest ``count_max``. A place that is ahead has been told all."""
        wanted = max(0, self.number - place.number)
        count = min(wanted, len(self._lines), wanted if count_max is None else count_max)
        lines = tuple(islice(self._lines, len(self._lines) - count, None))
        begin = self._before(lines[0]) if lines else self.end
        left_out = wanted - count
        quantity = (begin.total - place.total) % TOTAL_MODULUS if left_out else 0
        return Told(left_out, quantity, lines, self.end if wanted else place)

    def since_number(self, number: int) -> tuple[TapeLine, ...]:
        """The kept lines with larger numbers: for whoever reads from the numbers what is missing."""
        return self.since(Place(number)).lines

    @staticmethod
    def _before(line: TapeLine) -> Place:
        traded = line.quantity if line.kind is LineKind.TRADE else 0
        return Place(line.number - 1, (line.total - traded) % TOTAL_MODULUS)
