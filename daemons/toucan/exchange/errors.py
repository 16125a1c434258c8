"""Errors of the exchange's process, typed by whose move it is.

* The one who starts it: :class:`ExchangeConfigError`, :class:`ExchangeCannotListen`.
* Whoever connects: :class:`toucan.exchange.core.wire.WireError`, :class:`toucan.exchange.core.exchange.FirmRefused`; the connection is closed.
* The operator: :class:`toucan.exchange.core.operator.OperatorError`; the answer says what was wrong.
"""

from __future__ import annotations

from toucan.errors import CannotListen, InvalidSettings

__all__ = ["ExchangeCannotListen", "ExchangeConfigError"]


class ExchangeConfigError(InvalidSettings):
    """The exchange cannot start as it is asked to; the message says which setting to change."""


class ExchangeCannotListen(ExchangeConfigError, CannotListen):
    """An address that cannot be had, or is taken."""
