"""The operator's channel: a unix socket that takes one command on each line, as JSON, and answers each with one line.

::

    {"action": "halt", "symbol": "BTC-USD", "cancels_orders": false}
    {"ok": true, "told": [["firm", {"message": "Report", …}], …]}
    {"action": "resume", "symbol": "BTC-USD"}
    {"ok": false, "error": "trading in BTC-USD is not halted"}

``told`` is what firms were told because of the command. All commands are in :data:`Command`; their effects are described in
:mod:`toucan.exchange.core.operator`. Prices and quantities are integers in the instrument's units. Unknown keys are errors.
"""

from __future__ import annotations

import asyncio

import msgspec

from toucan.core.venue_messages import NewOrder
from toucan.exchange.core.operator import Operator, OperatorError
from toucan.exchange.core.scribe import Addressed
from toucan.exchange.limits import OPERATOR_CONNECTIONS_MAX, OPERATOR_LINE_BYTES_MAX
from toucan.exchange.server import ExchangeServer

__all__ = [
    "Advance",
    "Bust",
    "Cancel",
    "Command",
    "Correct",
    "DoneForDay",
    "Enter",
    "Halt",
    "OperatorChannel",
    "Restate",
    "ResumeTrading",
    "Status",
]

_NS = 1_000_000_000
#: Further than this nobody's calendar goes.
_ADVANCE_S_MAX = 10 * 366 * 86_400.0


class _Command(msgspec.Struct, frozen=True, forbid_unknown_fields=True, tag_field="action"):
    """Named by its action."""


class Halt(_Command, frozen=True, tag="halt"):
    """Halts an instrument; see :meth:`Operator.halt`."""

    symbol: str
    cancels_orders: bool = False


class ResumeTrading(_Command, frozen=True, tag="resume"):
    """Ends a halt."""

    symbol: str


class DoneForDay(_Command, frozen=True, tag="done_for_day"):
    """Ends an instrument's day before its time."""

    symbol: str


class Bust(_Command, frozen=True, tag="bust"):
    """Cancels a trade."""

    exec_id: str
    is_reinstated: bool = False


class Correct(_Command, frozen=True, tag="correct"):
    """Corrects a trade."""

    exec_id: str
    quantity: int | None = None
    price: int | None = None
    is_reinstated: bool = False


class Cancel(_Command, frozen=True, tag="cancel"):
    """Cancels an order that its firm did not ask to cancel."""

    firm: str
    cl_ord_id: str
    reason: str = "operator"
    text: str = ""


class Restate(_Command, frozen=True, tag="restate"):
    """Changes an order that its firm did not ask to change."""

    firm: str
    cl_ord_id: str
    quantity: int | None = None
    price: int | None = None


class Enter(_Command, frozen=True, tag="enter"):
    """Enters an order for a firm."""

    firm: str
    order: NewOrder


class Advance(_Command, frozen=True, tag="advance"):
    """Puts the exchange's clock forward; it stays so much ahead."""

    by_s: float


class Status(_Command, frozen=True, tag="status"):
    """Asks how things are: ``told`` is empty, ``status`` has figures by name."""


Command = Halt | ResumeTrading | DoneForDay | Bust | Correct | Cancel | Restate | Enter | Advance | Status

_decoder = msgspec.json.Decoder(Command)
_encoder = msgspec.json.Encoder()


class OperatorChannel:
    """Carries out commands on a server's exchange. :meth:`serve` is for asyncio's ``start_unix_server``."""

    def __init__(self, server: ExchangeServer) -> None:
        self._server = server
        self._operator = Operator(server.exchange)
        self._tasks: set[asyncio.Task[None]] = set()

    async def serve(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        """Answers one connection's lines until it ends or sends one that is too long."""
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        try:
            if len(self._tasks) > OPERATOR_CONNECTIONS_MAX:
                writer.write(_failure(f"{OPERATOR_CONNECTIONS_MAX} operators are connected already"))
                return
            while line := await reader.readline():
                writer.write(self.answer(line))
                await writer.drain()
        except ValueError:
            writer.write(_failure(f"a command has at most {OPERATOR_LINE_BYTES_MAX} bytes"))
        except (ConnectionError, asyncio.CancelledError):
            pass
        finally:
            self._tasks.discard(task)
            writer.close()

    async def close(self) -> None:
        """Ends all connections."""
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    def answer(self, line: bytes) -> bytes:
        """Carries out the command of one line; gives the line that answers it."""
        try:
            command = _decoder.decode(line)
            if isinstance(command, Status):
                return _line({"ok": True, "told": [], "status": self._status()})
            told = self._do(command)
        except (msgspec.DecodeError, UnicodeDecodeError, OperatorError) as error:
            return _failure(str(error))
        self._server.deliver(told)
        self._server.settle()
        return _line({"ok": True, "told": told})

    def _do(self, command: Command) -> list[Addressed]:
        if isinstance(command, Advance):
            if not 0 <= command.by_s <= _ADVANCE_S_MAX:
                raise OperatorError(f"by_s must be 0 to {_ADVANCE_S_MAX:.0f}: the clock goes forward only")
            return self._server.advance_clock(int(command.by_s * _NS))
        return _carry_out(self._operator, command, self._server.now_ns())

    def _status(self) -> dict[str, object]:
        exchange, flow = self._server.exchange, self._server.flow
        return {
            "life": exchange.life,
            "now_ns": self._server.now_ns(),
            "connections": len(self._server.connections),
            "firms": {
                name: {"open_orders": len(firm.open_orders), "venue_seq": firm.log.newest_seq}
                for name, firm in exchange.scribe.firms.items()
            },
            "markets": {symbol: exchange.quote(symbol) for symbol in exchange.markets},
            "replay": None if flow is None else flow.counts,
        }


def _carry_out(operator: Operator, command: Command, now_ns: int) -> list[Addressed]:
    match command:
        case Halt():
            return operator.halt(command.symbol, now_ns, cancels_orders=command.cancels_orders)
        case ResumeTrading():
            return operator.resume(command.symbol, now_ns)
        case DoneForDay():
            return operator.done_for_day(command.symbol, now_ns)
        case Bust():
            return operator.bust(command.exec_id, now_ns, is_reinstated=command.is_reinstated)
        case Correct():
            return operator.correct(
                command.exec_id,
                now_ns,
                quantity=command.quantity,
                price=command.price,
                is_reinstated=command.is_reinstated,
            )
        case Cancel():
            return operator.cancel(
                command.firm, command.cl_ord_id, now_ns, reason=command.reason, text=command.text
            )
        case Restate():
            return operator.restate(
                command.firm, command.cl_ord_id, now_ns, quantity=command.quantity, price=command.price
            )
        case Enter():
            return operator.enter(command.firm, command.order, now_ns)
        case _:
            raise OperatorError(f"{type(command).__name__} is no command for a market")


def _failure(message: str) -> bytes:
    return _line({"ok": False, "error": message})


def _line(answer: dict[str, object]) -> bytes:
    return _encoder.encode(answer) + b"\n"
