"""The limits file as text, and the tree that it describes.

Law: strict and pure. Whatever is not understood is a :class:`DocumentError` with the place in the document, since a misspelt limit that is silently
ignored is no limit; what reads files and knows line numbers is :mod:`toucan.risk_file`. The text itself goes into the journal, so a document
that was accepted once must be understood for ever: keys are added here, never removed or given another meaning.

::

    base_currency = "USD"
    [currency]                       # what one unit is worth in the base currency
    EUR = "1.08"
    [firm]
    max_open_notional = "50000000"
    [team.alpha]
    accounts = ["ACC1", "ACC2"]
    [account.ACC1]
    max_position = "50000"
    [account.ACC1.symbol.AAPL]       # takes the place of the account's own for one symbol
    max_position = "1000"
    [trader."ACC1/alice"]            # a trader in an account
    max_order_quantity = "100"
"""

from __future__ import annotations

import re
import tomllib
from typing import Any

from toucan.core.risk_limits import LIMITS, InvalidLimit, nearest, spec_of, value_from_toml
from toucan.core.risk_tree import FIRM, VALUES_MAX, LimitTree, is_name

__all__ = ["DocumentError", "tree_of"]

#: Names of keys that lead to a value: ``("account", "ACC1", "max_position")``.
_Path = tuple[str, ...]

_SECTIONS = ("base_currency", "currency", "firm", "team", "account", "trader")
#: Limits that only say how another one is meant.
_NEEDS = {
    "requests_window_s": ("max_requests",),
    "denials_window_s": ("max_denials",),
    "cooling_off_s": ("max_denials",),
    "collar_without_reference": ("price_collar_percent",),
    "collar_side": ("price_collar_percent",),
}


class DocumentError(ValueError):
    """Not a limits document. ``path`` leads to the key at fault; ``line`` is known only if it is not TOML at all."""

    def __init__(self, message: str, path: _Path = (), line: int | None = None) -> None:
        super().__init__(message)
        self.path = path
        self.line = line


def tree_of(document: str) -> LimitTree:
    """The tree that a document describes. Raises :class:`DocumentError`."""
    try:
        data = tomllib.loads(document)
    except (
        ValueError,
        RecursionError,
    ) as error:  # tomllib lets numbers of thousands of digits and deep nesting through to these
        found = re.search(r"at line (\d+)", str(error))
        line = int(found[1]) if found else document.count("\n") + 1
        raise DocumentError(f"not valid TOML: {error}", (), line) from None
    for key in data:
        if key not in _SECTIONS:
            raise DocumentError(f'unknown section "{key}"; {nearest(key, _SECTIONS)}', (key,))
    tree = _empty_tree(data)
    _take_rates(tree, data)
    _take_node(tree, FIRM, _table(data, (), "firm"), ("firm",))
    for team, table in _tables(data, "team"):
        limits = {key: value for key, value in table.items() if key != "accounts"}
        _take_node(tree, f"{FIRM}/{team}", limits, ("team", team))
    for account, table in _tables(data, "account"):
        _check_account(tree, account, ("account", account))
        _take_node(tree, tree.account_node(account), table, ("account", account))
    for name, table in _tables(data, "trader"):
        _take_node(tree, _trader_node(tree, name), table, ("trader", name))
    return tree


def _table(data: dict[str, Any], place: _Path, key: str) -> dict[str, Any]:
    """A table within another; empty if it is not there."""
    table = data.get(key, {})
    if not isinstance(table, dict):
        path = (*place, key)
        raise DocumentError(f"{'.'.join(path)}: expected a table; write [{'.'.join(path)}]", path)
    return table


def _tables(data: dict[str, Any], section: str) -> list[tuple[str, dict[str, Any]]]:
    """The tables of a section by their names."""
    outer = _table(data, (), section)
    return [(name, _table(outer, (section,), name)) for name in outer]


# ---------------------------------------------------------------- nodes


def _empty_tree(data: dict[str, Any]) -> LimitTree:
    base = data.get("base_currency")
    if not isinstance(base, str):
        raise DocumentError(
            'base_currency: expected the code of a currency, such as "USD"', ("base_currency",)
        )
    try:
        tree = LimitTree(base, {})
    except ValueError as error:
        raise DocumentError(str(error), ("base_currency",)) from None
    for team, table in _tables(data, "team"):
        accounts = table.get("accounts", [])
        path = ("team", team, "accounts")
        if not isinstance(accounts, list) or not all(isinstance(account, str) for account in accounts):
            raise DocumentError(f'{".".join(path)}: expected a list of accounts, such as ["ACC1"]', path)
        try:
            tree.add_team(team, accounts)
        except ValueError as error:
            raise DocumentError(str(error), path) from None
    return tree


def _check_account(tree: LimitTree, account: str, path: _Path) -> None:
    if tree.knows_account(account):
        return
    known = [one for accounts in tree.teams.values() for one in accounts]
    hint = nearest(account, known) if known else "there are none"
    raise DocumentError(f'no team has the account "{account}"; add it to the accounts of one ({hint})', path)


def _trader_node(tree: LimitTree, name: str) -> str:
    path = ("trader", name)
    account, separator, trader = name.partition("/")
    if not separator or not is_name(trader):
        raise DocumentError(
            f'trader."{name}": write the account and the trader, such as [trader."ACC1/alice"]', path
        )
    _check_account(tree, account, path)
    return f"{tree.account_node(account)}/{trader}"


# ---------------------------------------------------------------- values


def _take_rates(tree: LimitTree, data: dict[str, Any]) -> None:
    for currency, rate in _table(data, (), "currency").items():
        if not isinstance(rate, str):
            raise DocumentError(
                f'currency.{currency}: expected a decimal number in quotes, such as "1.08"',
                ("currency", currency),
            )
        try:
            tree.set(FIRM, f"currency.{currency}", rate)
        except InvalidLimit as error:
            raise DocumentError(f"currency.{currency}: {error}", ("currency", currency)) from None


def _take_node(tree: LimitTree, node: str, table: dict[str, Any], place: _Path) -> None:
    for symbol, limits in _table(table, place, "symbol").items():
        within = (*place, "symbol", symbol)
        if not isinstance(limits, dict):
            raise DocumentError(f"{'.'.join(within)}: expected a table; write [{'.'.join(within)}]", within)
        for limit, value in limits.items():
            _take(tree, node, f"symbol.{symbol}.{limit}", value, (*within, limit))
    limits = {key: value for key, value in table.items() if key != "symbol"}
    for limit, value in limits.items():
        _take(tree, node, limit, value, (*place, limit))
    _check_needs(limits, _table(table, place, "symbol"), place)


def _take(tree: LimitTree, node: str, limit: str, value: object, path: _Path) -> None:
    key = path[-1]
    if key not in LIMITS:
        known = [*LIMITS, "symbol", *(["accounts"] if path[0] == "team" and len(path) == 3 else [])]
        raise DocumentError(f'unknown key "{key}" in [{".".join(path[:-1])}]; {nearest(key, known)}', path)
    try:
        parsed = value_from_toml(spec_of(limit), value)
    except InvalidLimit as error:
        raise DocumentError(f"{'.'.join(path)}: {error}", path) from None
    tree.put(node, limit, parsed)
    if tree.size > VALUES_MAX:
        raise DocumentError(f"more than {VALUES_MAX:,} limits are set; that is too many", path)


def _check_needs(limits: dict[str, Any], symbols: dict[str, Any], place: _Path) -> None:
    for limit, needed in _NEEDS.items():
        there = {*limits, *(key for table in symbols.values() for key in table)}
        if limit in limits and not there.intersection(needed):
            path = (*place, limit)
            raise DocumentError(f"{'.'.join(path)}: it says nothing without {needed[0]} beside it", path)
