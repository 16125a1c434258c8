"""What the log says of other hosts: which, and why; once, however often it happens."""

from __future__ import annotations

import asyncio
from collections.abc import MutableMapping
from dataclasses import replace
from typing import Any

import pytest
from structlog.testing import capture_logs

from cashy.core.peer_frames import Kind, checksum
from cashy.origin.base import ObjectMeta
from cashy.peer import server as server_module
from cashy.peer import serving
from cashy.peer.messages import block_payload
from cashy.peer.reports import PAUSE_S, Reports

from .hosts import (
    ANNA,
    BERT,
    Ask,
    MemoryService,
    Raw,
    on_both_loops,
    peer_at,
    raw_client,
    raw_server,
    until,
)
from .hosts import serving as serving_host

Lines = list[MutableMapping[str, Any]]


def of(lines: Lines, event: str) -> Lines:
    return [line for line in lines if line["event"] == event]


def test_each_event_of_each_host_is_told_once_in_a_while_and_the_rest_counted() -> None:
    now = [100.0]
    reports = Reports(lambda: now[0])
    with capture_logs() as lines:
        for _ in range(4):
            reports.warning("peer_lost", "bert", "it fell silent")
        reports.warning("peer_lost", "carl", "it fell silent")
        reports.warning("peer_refused", "bert", "wrong key", refusal="KEY")
        reports.info("peer_up", "bert", address="10.0.0.2:7400")
        now[0] += PAUSE_S - 0.1
        reports.warning("peer_lost", "bert", "it fell silent")
        now[0] += 0.1
        reports.warning("peer_lost", "bert", "the connection broke")
        reports.warning("stranger_broke_protocol", "", "no frame", address="10.0.0.9:1")
    assert lines == [
        {"event": "peer_lost", "log_level": "warning", "peer": "bert", "reason": "it fell silent"},
        {"event": "peer_lost", "log_level": "warning", "peer": "carl", "reason": "it fell silent"},
        {"event": "peer_refused", "log_level": "warning", "peer": "bert", "reason": "wrong key", "refusal": "KEY"},
        {"event": "peer_up", "log_level": "info", "peer": "bert", "address": "10.0.0.2:7400"},
        {
            "event": "peer_lost",
            "log_level": "warning",
            "peer": "bert",
            "reason": "the connection broke",
            "not_logged": 4,
        },
        {"event": "stranger_broke_protocol", "log_level": "warning", "reason": "no frame", "address": "10.0.0.9:1"},
    ]  # fmt: skip


@on_both_loops
async def test_a_link_that_comes_and_goes() -> None:
    with capture_logs() as lines:
        async with serving_host(MemoryService()) as server, peer_at(server.address) as peer:
            await until(lambda: peer.is_up)
            await server.close()
            await until(lambda: not peer.is_up)
            await until(lambda: of(lines, "peer_unreachable"))
    (up,), (lost,), (unreachable,) = (
        of(lines, event) for event in ("peer_up", "peer_lost", "peer_unreachable")
    )
    assert (up["peer"], up["address"]) == ("bert", "127.0.0.1:{1}".format(*peer.address))
    assert (lost["peer"], lost["reason"]) == ("bert", "the other side closed the connection")
    assert unreachable["peer"] == "bert"
    assert "Errno 111" in unreachable["reason"]
    assert lost["log_level"] == unreachable["log_level"] == "warning"
    assert [line["event"] for line in lines] == ["peer_up", "peer_lost", "peer_unreachable"]


@on_both_loops
async def test_wrong_keys_on_both_sides() -> None:
    with capture_logs() as lines:
        async with (
            serving_host(MemoryService(), replace(BERT, key=b"another key entirely")) as server,
            peer_at(server.address) as peer,
        ):
            await until(lambda: peer.counters()["refused_total"] >= 3)
    (refused,), (not_let_in,) = of(lines, "peer_refused"), of(lines, "peer_not_let_in")
    assert (refused["peer"], refused["refusal"]) == ("bert", "KEY")
    assert "does not have this cluster's key" in refused["reason"]
    assert not_let_in["refusal"] == "KEY"
    assert not_let_in["address"].startswith("127.0.0.1:")
    assert "host 'anna'" in not_let_in["reason"]


@on_both_loops
async def test_strangers_and_hosts_that_break_the_protocol() -> None:
    async with serving_host(MemoryService()) as server:
        with capture_logs() as lines:
            for number in range(1, 4):
                async with raw_client(server) as raw:
                    await raw.send(b"GET / HTTP/1.1\r\nHost: cashy\r\n\r\n" * 2)
                    await until(lambda number=number: server.counters()["protocol_errors_total"] == number)  # type: ignore[misc]
            async with raw_client(server) as raw:
                assert (await raw.greet_as_client()).kind is Kind.WELCOME
                await raw.control(Kind.HELLO)
                assert await raw.is_closed_by_the_other()
    (stranger,), (known,) = of(lines, "stranger_broke_protocol"), of(lines, "peer_broke_protocol")
    assert "no frame of the peer protocol" in stranger["reason"]
    assert "peer" not in stranger
    assert (known["peer"], known["reason"]) == ("anna", "HELLO has no place in state SERVING")
    assert known["address"].startswith("127.0.0.1:")


def test_too_many_strangers_and_hosts_that_do_not_read_or_speak(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(server_module, "GREETINGS_MAX", 1)
    monkeypatch.setattr(serving, "CLIENT_SILENT_S_MAX", 0.1)

    async def run() -> Lines:
        async with serving_host(MemoryService()) as server, raw_client(server) as silent:
            await until(lambda: server.counters()["greetings_under_way"] == 1)
            with capture_logs() as lines:
                async with raw_client(server) as more:
                    assert await more.take(1) == b""
                assert (await silent.greet_as_client()).kind is Kind.WELCOME
                await until(lambda: server.counters()["silent_clients_total"] == 1)
            return lines

    lines = asyncio.run(run())
    (turned_away,), (cut_off,) = of(lines, "stranger_turned_away"), of(lines, "peer_cut_off")
    assert "have not shown yet" in turned_away["reason"]
    assert (cut_off["peer"], cut_off["reason"]) == ("anna", "it has sent nothing for 0.1 s")


@on_both_loops
async def test_a_server_that_sends_damaged_bytes_and_then_nonsense() -> None:
    meta = ObjectMeta('"v1"', 4, 0.0)

    async def talk(raw: Raw) -> None:
        await raw.greet_as_server()
        read = await raw.frame()
        await raw.control(Kind.BLOCK, read.request_id, block_payload(meta, 4, 0.0))
        await raw.send(raw.writer.data_header(read.request_id, 0, 4, checksum(b"data") ^ 1) + b"data")
        await raw.frame()
        await raw.send(b"nonsense" * 9)
        await raw.is_closed_by_the_other()

    async with raw_server(talk) as address:
        with capture_logs() as lines:
            async with peer_at(address, ANNA) as peer:
                await until(lambda: peer.is_up)
                ask = Ask(peer, "o", 0, 100)
                await ask.error()
                Ask(peer, "o")
                await until(lambda: peer.counters()["protocol_errors_total"] == 1)
    (corrupt,), (broke,) = of(lines, "peer_sent_corrupt_bytes"), of(lines, "peer_broke_protocol")
    assert (corrupt["peer"], broke["peer"]) == ("bert", "bert")
    assert "checksum is wrong" in corrupt["reason"]
    assert "no frame of the peer protocol" in broke["reason"]
    assert of(lines, "peer_lost") == []
