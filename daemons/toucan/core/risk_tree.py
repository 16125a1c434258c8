"""The limits in a tree: firm > team > account > trader, each node with its own values, the path of an order from its trader up to the firm.

Law: the tree says what the limits are, never how much of them is used (:mod:`toucan.core.exposure`) or what follows (:mod:`toucan.core.risk_checks`).
Every node on an order's path counts with its own values; no node inherits another's, since the one above is checked anyway. A node's name is its
path: ``firm``, ``firm/alpha``, ``firm/alpha/ACC1``, ``firm/alpha/ACC1/alice``. Teams and accounts are fixed when the tree is made; every trader
has a node in every account, so a limit can be set for one that has not come yet.

Also here: what each currency is worth in the base currency, as limits on money are in that. Money is counted in micro-units of it, as integers.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from math import gcd
from typing import Any

from toucan.core.instruments import Instrument
from toucan.core.risk_limits import (
    DECIMALS_MAX,
    DIGITS_MAX,
    LIMITS,
    InvalidLimit,
    LimitValue,
    nearest,
    scaled,
    spec_of,
    value_from_text,
    value_text,
)

__all__ = [
    "FIRM",
    "MICROS_DECIMALS",
    "NAME_CHARACTERS_MAX",
    "PATHS_KEPT_MAX",
    "VALUES_MAX",
    "LimitTree",
    "UnknownNode",
    "is_name",
]

#: The root's name.
FIRM = "firm"
#: Money is counted in units of 10^-6 of the base currency.
MICROS_DECIMALS = 6
#: Of a team, an account or a trader.
NAME_CHARACTERS_MAX = 64
#: Values of all nodes together: each may come from a command, and all are looked through when the tree is listed.
VALUES_MAX = 100_000
#: Paths that are kept ready; beyond that they are made again.
PATHS_KEPT_MAX = 100_000

#: Where accounts count that are in no team: orders entered elsewhere may name any.
_NO_TEAM = ""
_NAME = re.compile(rf"[^\s/\x00-\x1f\x7f]{{1,{NAME_CHARACTERS_MAX}}}")
_CURRENCY = re.compile(r"[A-Z][A-Z0-9]{1,11}", re.ASCII)
_CURRENCY_PREFIX = "currency."
_RATE = re.compile(rf"\d{{1,{DIGITS_MAX}}}(\.\d{{1,{DECIMALS_MAX}}})?", re.ASCII)


class UnknownNode(ValueError):
    """The tree has no such node. The message says which there are."""


def is_name(text: str) -> bool:
    """Whether a team, account or trader can have this name: no blanks and no ``/``, which separates names in a path."""
    return _NAME.fullmatch(text) is not None


class LimitTree:
    """Nodes and their values. ``teams`` gives each team's accounts; an account is in one team. Raises ValueError for names that cannot be."""

    def __init__(self, base_currency: str, teams: Mapping[str, Iterable[str]]) -> None:
        if not _CURRENCY.fullmatch(base_currency):
            raise ValueError(f'"{base_currency[:40]}" is no currency; write its code, such as "USD"')
        self.base_currency = base_currency
        #: Changes with every change of a value: what was derived from the values is then derived anew.
        self.version = 0
        self._rates: dict[str, str] = {}
        self._team_of: dict[str, str] = {}
        self._teams: dict[str, list[str]] = {}
        self._values: dict[str, dict[str, LimitValue]] = {}
        self._count = 0
        self._paths: dict[tuple[str, str], tuple[str, ...]] = {}
        for team, accounts in teams.items():
            self.add_team(team, accounts)

    def add_team(self, team: str, accounts: Iterable[str]) -> None:
        """Adds a team while the tree is being made. Raises ValueError for names that cannot be, and for an account that another team has."""
        if not is_name(team):
            raise ValueError(f'"{team[:40]}" cannot be the name of a team; use no blanks and no "/"')
        self._teams[team] = []
        for account in accounts:
            if not is_name(account):
                raise ValueError(
                    f'"{account[:40]}" cannot be the name of an account; use no blanks and no "/"'
                )
            if self._team_of.setdefault(account, team) != team:
                raise ValueError(
                    f'the account "{account}" is in two teams, "{self._team_of[account]}" and "{team}"; an account has one'
                )
            self._teams[team].append(account)

    # ------------------------------------------------------------ nodes

    @property
    def teams(self) -> Mapping[str, list[str]]:
        """The accounts of each team."""
        return self._teams

    def knows_account(self, account: str) -> bool:
        """Whether some team has it."""
        return account in self._team_of

    def path(self, account: str, trader: str) -> tuple[str, ...]:
        """The nodes that an order counts for, nearest first: trader, account, team, firm. An unknown account counts for itself and the firm."""
        path = self._paths.get((account, trader))
        if path is None:
            if len(self._paths) >= PATHS_KEPT_MAX:
                self._paths.clear()
            path = self._paths[account, trader] = self._make_path(account, trader)
        return path

    def _make_path(self, account: str, trader: str) -> tuple[str, ...]:
        team = self._team_of.get(account, _NO_TEAM)
        own = self.account_node(account)
        return (
            (f"{own}/{trader}", own, FIRM)
            if team == _NO_TEAM
            else (f"{own}/{trader}", own, f"{FIRM}/{team}", FIRM)
        )

    def account_node(self, account: str) -> str:
        """The name of an account's node."""
        return f"{FIRM}/{self._team_of.get(account, _NO_TEAM)}/{account}"

    def check_node(self, node: str) -> None:
        """Raises :class:`UnknownNode` if there is no such node, or cannot be one."""
        names = node.split("/")
        if names[0] != FIRM or len(names) > 4:
            raise UnknownNode(
                f'"{node[:200]}" is no node; write firm, firm/TEAM, firm/TEAM/ACCOUNT or firm/TEAM/ACCOUNT/TRADER'
            )
        if len(names) > 1 and names[1] not in self._teams:
            raise UnknownNode(f'there is no team "{names[1][:64]}"; {nearest(names[1], self._teams)}')
        if len(names) > 2 and self._team_of.get(names[2]) != names[1]:
            accounts = self._teams[names[1]]
            raise UnknownNode(
                f'the team "{names[1]}" has no account "{names[2][:64]}"; {nearest(names[2], accounts)}'
            )
        if len(names) > 3 and not is_name(names[3]):
            raise UnknownNode(f'"{names[3][:64]}" cannot be the name of a trader; use no blanks and no "/"')

    # ------------------------------------------------------------ values

    def check(self, node: str, limit: str, value: str | None) -> None:
        """Raises :class:`UnknownNode` or :class:`~toucan.core.risk_limits.InvalidLimit` where :meth:`set` would."""
        self._parsed(node, limit, value)

    def set(self, node: str, limit: str, value: str | None) -> None:
        """Sets a value as a command gives it; None: there is none any more.

        ``limit`` is a name of :data:`~toucan.core.risk_limits.LIMITS`, or one for a symbol (``symbol.AAPL.max_position``); at the firm also what a
        currency is worth (``currency.EUR``). Raises :class:`UnknownNode`, :class:`~toucan.core.risk_limits.InvalidLimit`.
        """
        parsed = self._parsed(node, limit, value)
        if limit.startswith(_CURRENCY_PREFIX):
            self._set_rate(limit.removeprefix(_CURRENCY_PREFIX), value)
        else:
            self.put(node, limit, parsed)

    def _parsed(self, node: str, limit: str, value: str | None) -> LimitValue | None:
        self.check_node(node)
        if limit.startswith(_CURRENCY_PREFIX):
            if node != FIRM:
                raise InvalidLimit(f"a currency's worth is set at {FIRM}, for all nodes")
            self.check_rate(limit.removeprefix(_CURRENCY_PREFIX), value)
            return value
        spec = spec_of(limit)
        if value is None:
            return None
        if self._count >= VALUES_MAX and limit not in self._values.get(node, ()):
            raise InvalidLimit(f"there are {VALUES_MAX:,} limits set already; remove some")
        return value_from_text(spec, value)

    def put(self, node: str, limit: str, value: LimitValue | None) -> None:
        """Sets a value that was checked; None: there is none any more."""
        values = self._values.setdefault(node, {})
        self._count -= limit in values
        if value is None:
            values.pop(limit, None)
        else:
            values[limit] = value
            self._count += 1
        if not values:
            del self._values[node]
        self.version += 1

    def value(self, node: str, limit: str, symbol: str = "") -> LimitValue | None:
        """What holds at a node: for ``symbol`` its own value, if there is one, else the node's."""
        values = self._values.get(node)
        if values is None:
            return None
        own = values.get(f"symbol.{symbol}.{limit}") if symbol else None
        return values.get(limit) if own is None else own

    def number(self, node: str, limit: str, decimals: int, symbol: str = "") -> int | None:
        """A value times 10^``decimals``, rounded down; the table's default where a limit has one; None where nothing holds."""
        value = self.value(node, limit, symbol)
        if value is None:
            value = LIMITS[limit].default
        return scaled(str(value), decimals) if value != "" else None

    @property
    def size(self) -> int:
        """How many values are set."""
        return self._count

    def __iter__(self) -> Iterator[tuple[str, str, str]]:
        """Every value that is set, as (node, limit, text), sorted; then what currencies are worth, as limits of the firm."""
        for node in sorted(self._values):
            for limit, value in sorted(self._values[node].items()):
                yield node, limit, value_text(value)
        for currency, rate in sorted(self._rates.items()):
            yield FIRM, _CURRENCY_PREFIX + currency, rate

    # ------------------------------------------------------------ money

    def check_rate(self, currency: str, rate: str | None) -> None:
        """Raises :class:`~toucan.core.risk_limits.InvalidLimit` for no currency, the base currency, or a rate that is no positive decimal."""
        if not _CURRENCY.fullmatch(currency):
            raise InvalidLimit(f'"{currency[:40]}" is no currency; write its code, such as "EUR"')
        if currency == self.base_currency:
            raise InvalidLimit(f"{currency} is the base currency; it is worth 1")
        if rate is not None and not (_RATE.fullmatch(rate) and scaled(rate, DECIMALS_MAX)):
            raise InvalidLimit(
                f'expected a decimal number of {self.base_currency} above 0, such as "1.08", not {rate[:40]!r}'
            )

    def _set_rate(self, currency: str, rate: str | None) -> None:
        if rate is None:
            self._rates.pop(currency, None)
        else:
            self._rates[currency] = rate
        self.version += 1

    def scale(self, instrument: Instrument) -> tuple[int, int] | None:
        """Price times quantity times the first, divided by the second, is money in micro-units of the base currency; None: no rate is known."""
        rate = "1" if instrument.currency == self.base_currency else self._rates.get(instrument.currency)
        if rate is None:
            return None
        factor = scaled(rate, DECIMALS_MAX) * instrument.multiplier * 10**MICROS_DECIMALS
        divisor: int = 10 ** (instrument.price_decimals + instrument.quantity_decimals + DECIMALS_MAX)
        common = gcd(factor, divisor)
        return factor // common, divisor // common

    def missing_rates(self, instruments: Iterable[Instrument]) -> list[str]:
        """Currencies of the table that are worth nothing known: their orders are denied wherever there is a limit on money."""
        currencies = {instrument.currency for instrument in instruments}
        return sorted(currencies - {self.base_currency} - self._rates.keys())

    # ------------------------------------------------------------ snapshots

    def dump(self) -> dict[str, Any]:
        """All of it in builtins; sorted but for the teams, whose order is the file's."""
        return {
            "base_currency": self.base_currency,
            "teams": {team: list(accounts) for team, accounts in self._teams.items()},
            "values": [list(row) for row in self],
        }

    @classmethod
    def load(cls, dumped: dict[str, Any]) -> LimitTree:
        """The opposite of :meth:`dump`."""
        tree = cls(dumped["base_currency"], dumped["teams"])
        for node, limit, value in dumped["values"]:
            tree.set(node, limit, value)
        return tree
