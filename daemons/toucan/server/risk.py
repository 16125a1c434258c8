"""RiskService: limits and trading levels. The engine decides; here is who may, and what the tree looks like."""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1 import types_pb2 as tp
from toucan.core.order import Client
from toucan.core.outcomes import Done, MassCanceled, Refusal
from toucan.core.risk import Risk
from toucan.core.risk_rules import money_text
from toucan.core.risk_tree import FIRM
from toucan.core.values import TradingLevel
from toucan.server.asking import Asking
from toucan.server.calls import Call
from toucan.server.errors import NotEntitled, NotFound
from toucan.server.limits import NODE_CHARACTERS_MAX, SNAPSHOT_ORDERS_PER_TURN
from toucan.server.translate import fields, from_wire

__all__ = ["RiskCalls"]


class RiskCalls:
    """The methods of RiskService."""

    def __init__(self, asking: Asking) -> None:
        self._asking = asking
        self._port = asking.port

    async def set_trading_state(
        self, call: Call, request: pb.SetTradingStateRequest
    ) -> pb.SetTradingStateResponse:
        """SetTradingState."""
        key, body = from_wire.key(request), from_wire.set_level(request)
        call.facts.update(node=body.node, level=body.level.name, reason=body.reason)
        client = self._client(call, key, "kill", body.node)
        done, seq = await self._asking.ask_for(MassCanceled, client, key.number, body, call.timeout_s)
        return pb.SetTradingStateResponse(order_ids=done.order_ids, seq=seq, staged_ids=done.staged_ids)

    async def set_limit(self, call: Call, request: pb.SetLimitRequest) -> pb.SetLimitResponse:
        """SetLimit."""
        key, body = from_wire.key(request), from_wire.set_limit(request)
        call.facts.update(node=body.node, limit=body.limit, value=body.value, reason=body.reason)
        client = self._client(call, key, "limits", body.node)
        _, seq = await self._asking.ask_for(Done, client, key.number, body, call.timeout_s)
        return pb.SetLimitResponse(seq=seq)

    def _client(self, call: Call, key: from_wire.Key, action: str, node: str) -> Client:
        client = call.client(key)
        call.user.require(action)
        if not call.user.has_node(node, self._port.state.risk.tree.teams):
            raise NotEntitled(f"{call.user.name} is not entitled to all accounts below node {node!r}")
        return client

    async def adjust_position(
        self, call: Call, request: pb.AdjustPositionRequest
    ) -> pb.AdjustPositionResponse:
        """AdjustPosition."""
        key, body = from_wire.key(request), from_wire.adjust_position(request)
        client = call.client(key)
        call.facts.update(account=body.account, symbol=body.symbol, reason=body.reason)
        call.user.require("adjust")
        call.user.require_account(body.account)
        _, seq = await self._asking.ask_for(Done, client, key.number, body, call.timeout_s)
        return pb.AdjustPositionResponse(seq=seq)

    async def list_limits(self, call: Call, request: pb.ListLimitsRequest) -> pb.ListLimitsResponse:
        """ListLimits: nodes below which there are accounts of the user alone, and all that anybody has used or set."""
        call.user.require("view")
        root = fields.printable(request.node, NODE_CHARACTERS_MAX, "node")
        risk = self._port.state.risk
        nodes = [
            node
            for node in _nodes(risk)
            if (not root or node == root or node.startswith(root + "/"))
            and call.user.has_node(node, risk.tree.teams)
        ]
        if root and not nodes:
            raise NotFound(f"there is no node {root!r}", code=Refusal.UNKNOWN_NODE)
        limits: dict[str, list[tp.Limit]] = {}
        for node, name, value in risk.tree:
            limits.setdefault(node, []).append(tp.Limit(node=node, name=name, value=value))
        answer = pb.ListLimitsResponse(base_currency=risk.tree.base_currency, seq=self._port.state.seq)
        for index, node in enumerate(nodes, 1):
            answer.nodes.append(_risk_node(risk, node, limits.get(node, ())))
            if index % SNAPSHOT_ORDERS_PER_TURN == 0:
                await asyncio.sleep(0)
        return answer


def _nodes(risk: Risk) -> list[str]:
    """Every node of the file, and of traders those that have limits, levels or orders; parents before children."""
    found = {FIRM}
    for team, accounts in risk.tree.teams.items():
        found.add(f"{FIRM}/{team}")
        found.update(f"{FIRM}/{team}/{account}" for account in accounts)
    found.update(node for node, _, _ in risk.tree)
    found.update(node for node, _ in risk.controls)
    found.update(node for node, usage in risk.exposure.nodes() if usage.open_orders or usage.symbols)
    return sorted(found, key=lambda node: node.split("/"))


def _risk_node(risk: Risk, node: str, limits: Iterable[tp.Limit]) -> tp.RiskNode:
    control, usage = risk.controls.control(node), risk.exposure.node(node)
    names = node.split("/")
    path = tuple("/".join(names[:count]) for count in range(len(names), 0, -1))
    return tp.RiskNode(
        node=node,
        level=int(control.level),  # type: ignore[arg-type]
        effective_level=int(max(risk.controls.level(path), TradingLevel.NORMAL)),  # type: ignore[arg-type]
        blocked_until_ns=control.blocked_until_ns,
        limits=limits,
        open_orders=usage.open_orders,
        open_notional=money_text(usage.open_notional),
    )
