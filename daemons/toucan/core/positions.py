"""Positions: what was executed adds up to how much is held, what it cost and what was earned, per account and per trader within it.

Law: a book's numbers are a function of its executions as they count now, in the order in which they came; a bust or a correction changes the list,
and the numbers follow as if it had always been so. No float, no clock, no instrument: money is an integer product of price and quantity
(:meth:`toucan.core.instruments.Instrument.money` makes a currency's amount of it), and a rounded number is only ever told, never added to.

The method is average cost. A trade that adds brings its own cost; one that reduces takes the average with it; one that crosses zero closes all and
opens the rest at its own price. Kept are the **cash** that flowed, an integer, and the **cost** of what is held, a fraction; what is realised is
their sum. So profit realised and unrealised together is exact whatever is done to the fraction, and with nothing held so is each of them.

* The cost's denominator can grow with every reduction. Beyond ``COST_DENOMINATOR_BITS_MAX`` it is rounded, to 2^-192 of the smallest unit of money.
* A book keeps ``EXECUTIONS_MAX`` executions; older ones are folded into a base. Busting one of those changes quantity, cash and volume exactly;
  what the average was in between is forgotten, so the cost is that of trading back at the same price, and the position ``is_approximate``
  until nothing is held.

Rejected: first-in-first-out lots (a list to keep for ever, and the average is what traders know); whole units of money with the remainder left in the
cost (nothing is lost, but the average price of three for a hundred changes when one is sold); ``fractions.Fraction`` on the way (thrice as slow).
"""

from __future__ import annotations

from collections.abc import Iterator
from decimal import ROUND_HALF_EVEN, Context, Decimal
from fractions import Fraction
from math import gcd
from typing import Any

import msgspec

from toucan.core.instruments import Instrument
from toucan.core.values import Side

__all__ = [
    "CHECKPOINT_EXECUTIONS",
    "COST_DENOMINATOR_BITS_MAX",
    "EXECUTIONS_MAX",
    "FOLD_EXECUTIONS",
    "Position",
    "Positions",
    "average_price_decimal",
    "unrealised_profit",
]

#: Executions that a book keeps: some days of a busy strategy, and busts come on the day. About 1 MB of memory.
EXECUTIONS_MAX = 10_000
#: So many of the oldest are folded at a time: the list is moved once for many executions.
FOLD_EXECUTIONS = 1_000
#: The sums are kept at every so-maniest execution: a bust recomputes from the one before it.
CHECKPOINT_EXECUTIONS = 250
#: Some twenty reductions by unrelated quantities in a row are exact; an operation stays under a microsecond.
COST_DENOMINATOR_BITS_MAX = 256
_ROUNDED_DENOMINATOR = 1 << 192

assert EXECUTIONS_MAX % FOLD_EXECUTIONS == 0
assert FOLD_EXECUTIONS % CHECKPOINT_EXECUTIONS == 0
assert _ROUNDED_DENOMINATOR.bit_length() + 53 < COST_DENOMINATOR_BITS_MAX  # room for one more reduction

#: Decimals of an average price beyond those of its instrument's prices.
_AVERAGE_DECIMALS = 6
_CONTEXT = Context(prec=80, rounding=ROUND_HALF_EVEN)


class Position(msgspec.Struct, frozen=True, gc=False):
    """How a book stands. Money in units of 10^-(price_decimals + quantity_decimals) before the multiplier; ``trader`` None: the whole account."""

    account: str
    trader: str | None
    symbol: str
    #: Signed: negative is short.
    quantity: int = 0
    #: Exactly, in units of a price; None when nothing is held.
    average_price: Fraction | None = None
    #: What is held has cost this (negative: was received for it), rounded half to even.
    cost: int = 0
    #: Profit of what was closed; ``realised - cost`` is the cash that flowed, without rounding.
    realised: int = 0
    bought: int = 0
    sold: int = 0
    #: An execution was busted or corrected that was folded away: the split between ``cost`` and ``realised`` is an estimate.
    is_approximate: bool = False
    #: Of the last change, ns since the epoch; 0: there was none.
    updated_ns: int = 0


def unrealised_profit(position: Position, mark_price: int) -> int:
    """What closing at ``mark_price`` would realise, in the units of ``realised``."""
    return position.quantity * mark_price - position.cost


def average_price_decimal(position: Position, instrument: Instrument) -> Decimal | None:
    """The average price for people, with six decimals more than a price has, rounded half to even; None when nothing is held."""
    average = position.average_price
    if average is None:
        return None
    places = instrument.price_decimals + _AVERAGE_DECIMALS
    scaled = round(average * 10**_AVERAGE_DECIMALS)
    return Decimal(scaled).scaleb(-places, _CONTEXT)


class _Sums:
    """What a list of executions adds up to. ``cost`` / ``denominator`` is the signed cost of ``quantity``."""

    __slots__ = ("bought", "cash", "cost", "denominator", "is_approximate", "quantity", "sold")

    def __init__(self) -> None:
        self.quantity = 0
        self.cost = 0
        self.denominator = 1
        #: Received less paid.
        self.cash = 0
        self.bought = 0
        self.sold = 0
        self.is_approximate = False

    def copy(self) -> _Sums:
        """Another one with the same numbers."""
        other = _Sums.__new__(_Sums)
        other.quantity = self.quantity
        other.cost = self.cost
        other.denominator = self.denominator
        other.cash = self.cash
        other.bought = self.bought
        other.sold = self.sold
        other.is_approximate = self.is_approximate
        return other

    def add(self, signed: int, price: int, is_volume: bool) -> None:
        """Takes an execution; ``signed`` is its quantity, negative for a sale, 0 if it was busted."""
        self._move_cost(signed, price)
        self.count(signed, price, is_volume)

    def take_back(self, signed: int, price: int) -> None:
        """Undoes an execution somewhere before: exact but for the cost, which is that of the opposite execution now."""
        self._move_cost(-signed, price)
        self.count(signed, price, is_volume=True, sign=-1)

    def count(self, signed: int, price: int, is_volume: bool, sign: int = 1) -> None:
        """All but the cost, which alone depends on what came before and after; with ``sign`` -1 the execution is taken back."""
        if is_volume:
            if signed > 0:
                self.bought += sign * signed
            else:
                self.sold -= sign * signed
        self.quantity += sign * signed
        self.cash -= sign * signed * price

    def _move_cost(self, signed: int, price: int) -> None:
        held = self.quantity
        left = held + signed
        if held * signed >= 0:
            self.cost += signed * price * self.denominator
        elif left * held > 0:
            self._reduce(abs(left), abs(held))
        else:  # through zero: the rest is new, and nothing before it matters any more
            self.cost = left * price
            self.denominator = 1
            self.is_approximate = False

    def _reduce(self, left: int, held: int) -> None:
        cost, denominator = self.cost * left, self.denominator * held
        common = gcd(cost, denominator)
        cost //= common
        denominator //= common
        if denominator.bit_length() > COST_DENOMINATOR_BITS_MAX:
            cost = _divided(cost * _ROUNDED_DENOMINATOR, denominator)
            denominator = _ROUNDED_DENOMINATOR
        self.cost, self.denominator = cost, denominator

    def dump(self) -> list[Any]:
        """Builtins; numbers are text, since they may not fit 64 bits."""
        numbers = (self.quantity, self.cost, self.denominator, self.cash, self.bought, self.sold)
        return [*map(str, numbers), self.is_approximate]

    @classmethod
    def load(cls, dumped: list[Any]) -> _Sums:
        """The opposite of :meth:`dump`."""
        sums = cls()
        *numbers, sums.is_approximate = dumped
        sums.quantity, sums.cost, sums.denominator, sums.cash, sums.bought, sums.sold = map(int, numbers)
        return sums


def _divided(numerator: int, denominator: int) -> int:
    """The quotient, rounded half to even; ``denominator`` > 0."""
    whole, rest = divmod(numerator, denominator)
    twice = 2 * rest
    return whole + (twice > denominator or (twice == denominator and whole & 1))


class _Book:
    """The executions of one account (or of a trader in it) in one symbol, oldest first, in columns; and their sums.

    An adjustment is an execution without an id. ``checkpoints[i]`` are the sums before execution ``i * CHECKPOINT_EXECUTIONS``, so the first one is
    the base; those behind it are a cache, which a loaded book does not have yet. After a change of an old execution only the cost of ``sums`` is
    wrong, from ``changed`` on; it is recomputed when somebody asks, so that a hundred busts in a row cost one recomputation.
    """

    __slots__ = ("changed", "checkpoints", "ids", "prices", "signed", "sums", "updated_ns")

    def __init__(self) -> None:
        self.ids: list[str] = []
        self.signed: list[int] = []
        self.prices: list[int] = []
        self.sums = _Sums()
        self.checkpoints = [_Sums()]
        #: The first execution that has changed since the cost was computed.
        self.changed: int | None = None
        self.updated_ns = 0

    def append(self, exec_id: str, signed: int, price: int) -> None:
        """Takes an execution."""
        if len(self.ids) == EXECUTIONS_MAX:
            self._fold()
        if self.changed is not None:
            self.sums.count(signed, price, exec_id != "")
        else:
            if len(self.ids) == len(self.checkpoints) * CHECKPOINT_EXECUTIONS:
                self.checkpoints.append(self.sums.copy())
            self.sums.add(signed, price, exec_id != "")
        self.ids.append(exec_id)
        self.signed.append(signed)
        self.prices.append(price)

    def change(self, exec_id: str, old: tuple[int, int], new: tuple[int, int]) -> None:
        """Replaces an execution's signed quantity and price. ``old`` are those that it had.

        If the book does not have it like that (it is folded away, or its order's numbers were changed by a split of the shares), the base is
        corrected instead.
        """
        self.sums.count(*old, is_volume=True, sign=-1)
        self.sums.count(*new, is_volume=True)
        index = self.ids.index(exec_id) if exec_id in self.ids else -1
        if index >= 0 and (self.signed[index], self.prices[index]) == old:
            self.signed[index], self.prices[index] = new
        else:
            base, index = self.checkpoints[0], 0
            base.take_back(*old)
            base.add(*new, is_volume=True)
            base.is_approximate = base.quantity != 0
            del self.checkpoints[1:]
        self.changed = index if self.changed is None else min(index, self.changed)

    def settle(self) -> None:
        """Brings the cost up to date."""
        if self.changed is not None:
            self._recompute(self.changed)
            self.changed = None

    def _fold(self) -> None:
        self.settle()
        folded = FOLD_EXECUTIONS // CHECKPOINT_EXECUTIONS
        if len(self.checkpoints) <= folded:
            self._recompute(0)
        del self.checkpoints[:folded]
        del self.ids[:FOLD_EXECUTIONS], self.signed[:FOLD_EXECUTIONS], self.prices[:FOLD_EXECUTIONS]

    def _recompute(self, index: int) -> None:
        """Makes the sums anew from the last checkpoint that execution ``index`` is not in."""
        first = min(index // CHECKPOINT_EXECUTIONS, len(self.checkpoints) - 1)
        del self.checkpoints[first + 1 :]
        sums = self.checkpoints[first].copy()
        for at in range(first * CHECKPOINT_EXECUTIONS, len(self.ids)):
            if at == len(self.checkpoints) * CHECKPOINT_EXECUTIONS:
                self.checkpoints.append(sums.copy())
            sums.add(self.signed[at], self.prices[at], self.ids[at] != "")
        self.sums = sums

    def position(self, account: str, trader: str | None, symbol: str) -> Position:
        """How it stands."""
        self.settle()
        sums = self.sums
        cost = _divided(sums.cost, sums.denominator)
        held = sums.quantity
        return Position(
            account=account,
            trader=trader,
            symbol=symbol,
            quantity=held,
            average_price=Fraction(sums.cost, sums.denominator * held) if held else None,
            cost=cost,
            realised=sums.cash + cost,
            bought=sums.bought,
            sold=sums.sold,
            is_approximate=sums.is_approximate,
            updated_ns=self.updated_ns,
        )

    def dump(self) -> list[Any]:
        """Builtins: the columns, the sums before the first and after the last execution."""
        self.settle()
        columns = [list(self.ids), list(self.signed), list(self.prices)]
        return [*columns, self.checkpoints[0].dump(), self.sums.dump(), self.updated_ns]

    @classmethod
    def load(cls, dumped: list[Any]) -> _Book:
        """The opposite of :meth:`dump`."""
        book = cls()
        book.ids, book.signed, book.prices = (list(column) for column in dumped[:3])
        book.checkpoints = [_Sums.load(dumped[3])]
        book.sums = _Sums.load(dumped[4])
        book.updated_ns = dumped[5]
        return book


class Positions:
    """All books. ``apply_*`` take facts and never refuse; that an execution is not told twice is for :mod:`toucan.core.life_cycle`.

    Memory: one book for each account and symbol and one for each trader of it, so what the tables of accounts and instruments bound.
    """

    __slots__ = ("_accounts", "_traders")

    def __init__(self) -> None:
        self._accounts: dict[tuple[str, str], _Book] = {}
        self._traders: dict[tuple[str, str, str], _Book] = {}

    # ------------------------------------------------------------ facts

    def apply_trade(
        self,
        account: str,
        trader: str,
        symbol: str,
        side: Side,
        quantity: int,
        price: int,
        exec_id: str,
        at_ns: int,
    ) -> None:
        """An execution; ``exec_id`` is what a bust or correction will name, and not empty."""
        assert exec_id
        for book in self._books(account, trader, symbol, at_ns):
            book.append(exec_id, side.sign * quantity, price)

    def apply_bust(
        self,
        account: str,
        trader: str,
        symbol: str,
        side: Side,
        quantity: int,
        price: int,
        exec_id: str,
        at_ns: int,
    ) -> None:
        """The execution never was (FIX ExecType TRADE_CANCEL). ``quantity`` and ``price`` as it counted until now."""
        self._change(account, trader, symbol, exec_id, (side.sign * quantity, price), (0, price), at_ns)

    def apply_correct(
        self,
        account: str,
        trader: str,
        symbol: str,
        side: Side,
        old_quantity: int,
        old_price: int,
        quantity: int,
        price: int,
        exec_id: str,
        at_ns: int,
    ) -> None:
        """The execution was of another quantity or price (FIX ExecType TRADE_CORRECT); ``old_…`` as it counted until now."""
        old, new = (side.sign * old_quantity, old_price), (side.sign * quantity, price)
        self._change(account, trader, symbol, exec_id, old, new, at_ns)

    def apply_adjustment(
        self, account: str, trader: str, symbol: str, quantity: int, price: int, at_ns: int
    ) -> None:
        """By hand: a signed quantity comes at a price, as a trade would bring it, but is no volume and cannot be busted."""
        for book in self._books(account, trader, symbol, at_ns):
            book.append("", quantity, price)

    def _change(
        self,
        account: str,
        trader: str,
        symbol: str,
        exec_id: str,
        old: tuple[int, int],
        new: tuple[int, int],
        at_ns: int,
    ) -> None:
        assert exec_id
        for book in self._books(account, trader, symbol, at_ns):
            book.change(exec_id, old, new)

    def _books(self, account: str, trader: str, symbol: str, at_ns: int) -> tuple[_Book, _Book]:
        whole = self._accounts.get((account, symbol))
        if whole is None:
            whole = self._accounts[account, symbol] = _Book()
        own = self._traders.get((account, trader, symbol))
        if own is None:
            own = self._traders[account, trader, symbol] = _Book()
        whole.updated_ns = own.updated_ns = at_ns
        return whole, own

    # ------------------------------------------------------------ questions

    def quantity(self, account: str, symbol: str, trader: str | None = None) -> int:
        """What is held, signed."""
        book = self._book(account, symbol, trader)
        return book.sums.quantity if book is not None else 0

    def last_price(self, account: str, symbol: str) -> int:
        """Of the account's last execution or adjustment; 0 if there is none."""
        book = self._accounts.get((account, symbol))
        return book.prices[-1] if book is not None and book.prices else 0

    def position(self, account: str, symbol: str, trader: str | None = None) -> Position:
        """How an account (or one trader in it) stands in a symbol; all zeros if it never traded it."""
        book = self._book(account, symbol, trader)
        return (book or _Book()).position(account, trader, symbol)

    def __iter__(self) -> Iterator[Position]:
        """Every position there is or was: accounts', then traders', each sorted by name."""
        for account, symbol in sorted(self._accounts):
            yield self._accounts[account, symbol].position(account, None, symbol)
        for account, trader, symbol in sorted(self._traders):
            yield self._traders[account, trader, symbol].position(account, trader, symbol)

    def _book(self, account: str, symbol: str, trader: str | None) -> _Book | None:
        if trader is None:
            return self._accounts.get((account, symbol))
        return self._traders.get((account, trader, symbol))

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """All of it in builtins, sorted: equal histories give equal dumps."""
        return {
            "accounts": [[*key, self._accounts[key].dump()] for key in sorted(self._accounts)],
            "traders": [[*key, self._traders[key].dump()] for key in sorted(self._traders)],
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> Positions:
        """The opposite of :meth:`dump`."""
        positions = cls()
        for account, symbol, book in dumped["accounts"]:
            positions._accounts[account, symbol] = _Book.load(book)
        for account, trader, symbol, book in dumped["traders"]:
            positions._traders[account, trader, symbol] = _Book.load(book)
        return positions
