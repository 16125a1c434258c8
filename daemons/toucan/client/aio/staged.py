"""What a client says about staged orders: the methods of :class:`toucan.client.staged.StagedMethods`, as coroutines."""

from __future__ import annotations

from typing import Unpack

from toucan.client import staged_calls
from toucan.client.aio.connection import Connection
from toucan.client.aio.watch import Watch
from toucan.client.calls import ReplaceOptions
from toucan.client.exact import Number
from toucan.client.limits import ORDERS_PAGE_MAX
from toucan.client.staged_calls import StagedBatch, StagedFilter, StagedStream
from toucan.client.staged_values import Staged, StagedOrder, StagedUpdate
from toucan.client.terms import OrderOptions
from toucan.client.values import Accepted, Done, RequestKey
from toucan.core.values import Side

__all__ = ["StagedMethods"]


class StagedMethods:
    """Semi-automated trading: a program proposes, a person decides. A part of :class:`toucan.client.aio.Toucan`."""

    _connection: Connection

    async def stage(
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
        """As :meth:`toucan.client.Toucan.stage`."""
        account = await self._connection.account(options.get("account"))
        request = await self._connection.with_table(
            lambda table: staged_calls.stage_message(
                table, account, side, symbol, quantity, options, why=why, time_to_live_s=time_to_live_s
            )
        )
        return await self._connection.ask(staged_calls.stage(request), timeout_s=timeout_s, key=key)

    async def release_staged(
        self,
        seen: StagedOrder,
        *,
        why: str = "",
        is_confirmed: bool = False,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **amended: Unpack[ReplaceOptions],
    ) -> Accepted:
        """As :meth:`toucan.client.Toucan.release_staged`."""
        instrument = await self._connection.with_table(lambda table: table.find(seen.symbol))
        call = staged_calls.release(instrument, seen, amended, why=why, is_confirmed=is_confirmed)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    async def amend_staged(
        self,
        seen: StagedOrder,
        *,
        why: str,
        key: RequestKey | None = None,
        timeout_s: float | None = None,
        **amended: Unpack[ReplaceOptions],
    ) -> Staged:
        """As :meth:`toucan.client.Toucan.amend_staged`."""
        instrument = await self._connection.with_table(lambda table: table.find(seen.symbol))
        call = staged_calls.amend(instrument, seen, amended, why=why)
        return await self._connection.ask(call, timeout_s=timeout_s, key=key)

    async def reject_staged(
        self, staged_id: int, why: str, *, key: RequestKey | None = None, timeout_s: float | None = None
    ) -> Done:
        """As :meth:`toucan.client.Toucan.reject_staged`."""
        return await self._connection.ask(staged_calls.reject(staged_id, why), timeout_s=timeout_s, key=key)

    async def staged_order(self, staged_id: int) -> StagedOrder:
        """As :meth:`toucan.client.Toucan.staged_order`."""
        return await self._connection.ask(staged_calls.get(staged_id))

    async def staged_orders(
        self, *, limit: int | None = None, **wanted: Unpack[StagedFilter]
    ) -> list[StagedOrder]:
        """As :meth:`toucan.client.Toucan.staged_orders`."""
        found: list[StagedOrder] = []
        token = ""
        while limit is None or len(found) < limit:
            size = ORDERS_PAGE_MAX if limit is None else limit - len(found)
            page = await self._connection.ask(staged_calls.page(wanted, size, token))
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
        """As :meth:`toucan.client.Toucan.watch_staged`."""
        stream = StagedStream(
            staged_calls.filter_to_wire(wanted), after_seq=after_seq, with_snapshot=snapshot
        )
        return Watch(self._connection, stream, timeout_s=timeout_s, patience_s=patience_s)
