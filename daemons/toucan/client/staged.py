"""What a client says about staged orders, as methods of :class:`toucan.client.Toucan`."""

from __future__ import annotations

from typing import Unpack

from toucan.client import staged_calls
from toucan.client.calls import ReplaceOptions
from toucan.client.connection import Connection
from toucan.client.exact import Number
from toucan.client.limits import ORDERS_PAGE_MAX
from toucan.client.staged_calls import StagedBatch, StagedFilter, StagedStream
from toucan.client.staged_values import Staged, StagedOrder, StagedUpdate
from toucan.client.terms import OrderOptions
from toucan.client.values import Accepted, Done, RequestKey
from toucan.client.watch import Watch
from toucan.core.values import Side

__all__ = ["StagedMethods"]


class StagedMethods:
    """Semi-automated trading: a program proposes, a person decides. A part of :class:`toucan.client.Toucan`."""

    _connection: Connection

    def stage(
        self,
        side: Side | str,
        symbol: str,
        quantity: Number,
        *,
        why: str,
        time_to_live_s: float | None = None,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **options: Unpack[OrderOptions],
    ) -> Staged:
        """Proposes an order: ``stage("buy", "AAPL", 100, price="189.50", why="below its mean of 20 days")``.

        Nothing leaves for a venue before somebody releases it. ``why`` is for who decides, at most 400 characters. ``time_to_live_s``: from 1 s to
        24 h, by default 15 minutes; it is over with the session of its instrument in any case. Options are those of
        :class:`~toucan.client.terms.OrderOptions`. Returns when the proposal is durable, with what would be denied now.
        """
        account = self._connection.account(options.get("account"))
        request = self._connection.with_table(
            lambda table: staged_calls.stage_message(
                table, account, side, symbol, quantity, options, why=why, time_to_live_s=time_to_live_s
            )
        )
        return self._connection.ask(staged_calls.stage(request), timeout_s=timeout_s, key=key)

    def release_staged(
        self,
        seen: StagedOrder,
        *,
        why: str = "",
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **amended: Unpack[ReplaceOptions],
    ) -> Accepted:
        """Sends a staged order as it was ``seen``, with another ``quantity``, ``price`` or ``stop_price`` where one is given.

        If it was amended since, it is refused (STAGED_ORDER_CHANGED); if somebody else has decided, too (STAGED_ORDER_DECIDED, which says who).
        Limits are checked now, as for a new order: :class:`~toucan.client.errors.Denied`. ``is_confirmed`` as with
        :meth:`~toucan.client.Toucan.submit`.
        """
        instrument = self._connection.with_table(lambda table: table.find(seen.symbol))
        call = staged_calls.release(instrument, seen, amended, why=why, is_confirmed=is_confirmed)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    def amend_staged(
        self,
        seen: StagedOrder,
        *,
        why: str,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **amended: Unpack[ReplaceOptions],
    ) -> Staged:
        """Changes ``quantity``, ``price`` or ``stop_price`` of a staged order as it was ``seen``; what it was before stays in its history."""
        instrument = self._connection.with_table(lambda table: table.find(seen.symbol))
        call = staged_calls.amend(instrument, seen, amended, why=why)
        return self._connection.ask(call, timeout_s=timeout_s, key=key)

    def reject_staged(
        self, staged_id: int, why: str, *, key: RequestKey | None = None, timeout_s: float | None = None
    ) -> Done:
        """Ends a staged order, so that it is never sent; one's own: takes it back."""
        return self._connection.ask(staged_calls.reject(staged_id, why), timeout_s=timeout_s, key=key)

    def staged_order(self, staged_id: int) -> StagedOrder:
        """One staged order as it stands."""
        return self._connection.ask(staged_calls.get(staged_id))

    def staged_orders(self, *, limit: int | None = None, **wanted: Unpack[StagedFilter]) -> list[StagedOrder]:
        """Staged orders that match everything given, the newest first; at most ``limit``."""
        found: list[StagedOrder] = []
        token = ""
        while limit is None or len(found) < limit:
            size = ORDERS_PAGE_MAX if limit is None else limit - len(found)
            page = self._connection.ask(staged_calls.page(wanted, size, token))
            found += page.staged
            token = page.next_token
            if not token:
                break
        return found[:limit]

    def watch_staged(
        self,
        *,
        after_seq: int | None = None,
        snapshot: bool = True,
        timeout_s: float | None = None,
        patience_s: float | None = None,
        **wanted: Unpack[StagedFilter],
    ) -> Watch[StagedBatch, StagedUpdate]:
        """How the staged orders stand that match, and then every change, without a gap or a repeat; as
        :meth:`~toucan.client.Toucan.watch_orders`."""
        stream = StagedStream(
            staged_calls.filter_to_wire(wanted), after_seq=after_seq, with_snapshot=snapshot
        )
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)
