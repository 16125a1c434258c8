"""Types of parameters. Each has a name by which the prompt knows what to suggest."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import click

if TYPE_CHECKING:
    from toucan.client.values import RequestKey

__all__ = [
    "ACCOUNT",
    "KEY",
    "NODE",
    "ORDER_ID",
    "ORDER_WORDS",
    "STAGED_ID",
    "SYMBOL",
    "WATCH_WORDS",
    "KeyType",
    "Named",
    "OrderIdType",
    "StagedIdType",
]


class Named(click.ParamType[Any]):
    """Text of a kind."""

    def __init__(self, name: str) -> None:
        self.name = name

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> str:
        """As it is."""
        return str(value)


class OrderIdType(click.ParamType[Any]):
    """An order's number."""

    name = "order id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A whole number from 1 on; "#17" is 17."""
        text = str(value).removeprefix("#")
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) < 2**63:
            self.fail(f"{value!r} is no order's number; `toucan orders` lists them", param, ctx)
        return int(text)


class StagedIdType(click.ParamType[Any]):
    """A staged order's number."""

    name = "staged id"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> int:
        """A whole number from 1 on; "#7" is 7."""
        text = str(value).removeprefix("#")
        if not (text.isascii() and text.isdigit()) or not 0 < int(text[:20]) < 2**63:
            self.fail(f"{value!r} is no staged order's number; `toucan staged` lists them", param, ctx)
        return int(text)


class KeyType:
    """A request's key as ``--again`` takes it."""

    def read(self, text: str | None) -> RequestKey | None:
        """SESSION/NUMBER; raises click.BadParameter."""
        if text is None:
            return None
        session, _, number = text.rpartition("/")
        if not session or not (number.isascii() and number.isdigit()) or not 0 < int(number[:20]) < 2**63:
            raise click.BadParameter(
                f"{text[:80]!r} is no key; it is SESSION/NUMBER as the error message said it",
                param_hint="--again",
            )
        from toucan.client.values import RequestKey

        return RequestKey(session, int(number))


SYMBOL = Named("symbol")
WATCH_WORDS = Named("watch words")
ACCOUNT = Named("account")
NODE = Named("node")
ORDER_WORDS = Named("order words")
ORDER_ID = OrderIdType()
STAGED_ID = StagedIdType()
KEY = KeyType()
