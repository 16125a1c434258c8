"""Who may connect changes while hosts are connected: with certificates, and with the cluster's key alone."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from pathlib import Path

import pytest
from tests.cashy.peer.certificates import Authority, secure_pair
from tests.cashy.peer.hosts import HOSTS, PATIENCE_S, Ask, MemoryService, pair, pattern, until

from cashy.peer.client import Peer
from cashy.peer.errors import PeerUnavailable
from cashy.peer.server import PeerServer


def connected(
    service: MemoryService, folder: Path, *, has_tls: bool
) -> AbstractAsyncContextManager[tuple[Peer, PeerServer]]:
    return secure_pair(service, Authority(folder)) if has_tls else pair(service)


@asynccontextmanager
async def in_time() -> AsyncIterator[None]:
    async with asyncio.timeout(3 * PATIENCE_S):
        yield


@pytest.mark.parametrize("has_tls", [False, True], ids=["key", "certificates"])
def test_a_host_that_is_not_in_the_list_any_more_loses_its_connection_and_gets_no_other(
    tmp_path: Path, has_tls: bool
) -> None:
    service = MemoryService()
    service.objects["k"] = data = pattern(1, 1000)

    async def scene() -> None:
        async with in_time(), connected(service, tmp_path, has_tls=has_tls) as (anna, server):
            assert await Ask(anna, "k", length=1000).data() == data
            server.let_in(frozenset(HOSTS) - {"anna"})
            await until(lambda: not anna.is_up and anna.last_error)
            assert server.counters()["connections"] == 0
            refused = server.counters()["refused_total"]
            await until(lambda: server.counters()["refused_total"] > refused)
            assert not anna.is_up
            assert isinstance(await Ask(anna, "k", length=1000).error(), PeerUnavailable)

    asyncio.run(scene())


@pytest.mark.parametrize("has_tls", [False, True], ids=["key", "certificates"])
def test_a_list_that_still_has_a_host_does_not_touch_its_connection(tmp_path: Path, has_tls: bool) -> None:
    service = MemoryService()
    service.objects["k"] = data = pattern(1, 1000)

    async def scene() -> None:
        async with in_time(), connected(service, tmp_path, has_tls=has_tls) as (anna, server):
            accepted = server.counters()["accepted_total"]
            server.let_in({*HOSTS, "dora"})
            assert await Ask(anna, "k", length=1000).data() == data
            assert server.counters()["accepted_total"] == accepted

    asyncio.run(scene())
