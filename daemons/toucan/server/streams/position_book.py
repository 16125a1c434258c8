"""Positions as front ends tell them: with marks and amounts, each worked out and encoded once however many ask.

The core's numbers are exact and cost some microseconds each; what was worked out is kept until the position or its mark changes.
"""

from __future__ import annotations

from collections.abc import Collection, Iterable
from typing import NamedTuple

import msgspec

from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.positions import Position
from toucan.engine.port import EnginePort
from toucan.server.entitlements import User
from toucan.server.translate import fields, to_wire
from toucan.server.translate.pieces import position_piece

__all__ = ["PositionBook", "PositionFilter", "PositionKey"]


class PositionKey(NamedTuple):
    """Which position; ``trader`` None: the whole account's."""

    account: str
    trader: str | None
    symbol: str


def _place(key: PositionKey) -> tuple[bool, str, str, str]:
    return key.trader is not None, key.account, key.trader or "", key.symbol


class PositionFilter(msgspec.Struct, frozen=True):
    """Which positions somebody wants to see, as far as he may; None: all."""

    accounts: frozenset[str] | None
    symbols: frozenset[str] | None
    by_trader: bool

    @classmethod
    def of(
        cls, accounts: Collection[str], symbols: Collection[str], by_trader: bool, user: User
    ) -> PositionFilter:
        """Raises :class:`~toucan.server.errors.CallError` for names that cannot be, and accounts that are not the user's."""
        named = fields.names(accounts, "accounts")
        for account in sorted(named or ()):
            user.require_account(account)
        return cls(named or user.accounts, fields.names(symbols, "symbols"), by_trader)

    def has_account(self, account: str) -> bool:
        """Whether positions of an account can match."""
        return self.accounts is None or account in self.accounts

    def takes(self, key: PositionKey) -> bool:
        """Whether a position matches."""
        return (
            (self.by_trader or key.trader is None)
            and self.has_account(key.account)
            and (self.symbols is None or key.symbol in self.symbols)
        )


class PositionBook:
    """All positions of the copy, by key."""

    def __init__(self, port: EnginePort) -> None:
        self._port = port
        #: Every position there is or was, and the event that changed it last; for older ones the event at which this front end began.
        self.keys: dict[PositionKey, int] = {}
        self._of_symbol: dict[str, list[PositionKey]] = {}
        self._marks: dict[str, int | None] = {}
        self._pieces: dict[PositionKey, bytes] = {}
        self.rebuild()

    def rebuild(self) -> None:
        """The copy was replaced."""
        state = self._port.state
        self._pieces.clear()
        for position in state.positions:
            self._add(PositionKey(position.account, position.trader, position.symbol), state.seq)

    def _add(self, key: PositionKey, seq: int) -> None:
        if key not in self.keys:
            self._of_symbol.setdefault(key.symbol, []).append(key)
        self.keys[key] = seq

    def select(self, wanted: PositionFilter) -> list[PositionKey]:
        """Those that match: accounts' first, then traders', each by name."""
        return sorted(filter(wanted.takes, self.keys), key=_place)

    def changed(self, account: str, trader: str, symbol: str, seq: int) -> tuple[PositionKey, PositionKey]:
        """A trader's position is another one, and so his account's."""
        both = PositionKey(account, None, symbol), PositionKey(account, trader, symbol)
        for key in both:
            self._add(key, seq)
            self._pieces.pop(key, None)
        return both

    def marked(self, symbols: Iterable[str]) -> list[PositionKey]:
        """Which positions are worth something else after the market has moved in these symbols."""
        moved: list[PositionKey] = []
        for symbol in symbols:
            mark = to_wire.mark_price(self._port.quotes.get(symbol))
            if mark == self._marks.get(symbol):
                continue
            self._marks[symbol] = mark
            for key in self._of_symbol.get(symbol, ()):
                self._pieces.pop(key, None)
                if self._port.state.positions.quantity(key.account, key.symbol, key.trader):
                    moved.append(key)
        return moved

    def position(self, key: PositionKey) -> Position:
        """How it stands now."""
        return self._port.state.positions.position(key.account, key.symbol, key.trader)

    def to_wire(self, key: PositionKey) -> tp.Position:
        """The same for the wire, at the newest mark."""
        return self._at(key, to_wire.mark_price(self._port.quotes.get(key.symbol)))

    def _at(self, key: PositionKey, mark: int | None) -> tp.Position:
        instrument = self._port.instruments.get(key.symbol)
        return to_wire.position(self.position(key), instrument, mark, self.keys[key])

    def piece(self, key: PositionKey) -> bytes:
        """The same, encoded; at the mark of the last :meth:`marked`."""
        piece = self._pieces.get(key)
        if piece is None:
            # Not at the newest: a market that goes away from that mark and comes back is no move for marked(), and the position would stay
            # at the one between.
            if key.symbol not in self._marks:
                self._marks[key.symbol] = to_wire.mark_price(self._port.quotes.get(key.symbol))
            piece = self._pieces[key] = position_piece(self._at(key, self._marks[key.symbol]))
        return piece
