"""A read that is traced: carried out as any client's, and told in events, those of the other hosts that had a part in it among them.

The master reads for itself, by the same job that serves a client's Fetch, and lets go of the blocks afterwards: what differs from a client's read is
that nobody pins and nobody copies. What the other hosts noted is asked of them when the read is over; a host that does not tell is there with the
reason.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Iterable
from typing import TYPE_CHECKING

from aviary.cashy.v1.control_pb2 import Fetch, ObjectInfo, Tier
from aviary.cashy.v1.operate_pb2 import HostRequest, HostTrace, TakeTrace, TraceEvent, TraceReport
from aviary.cashy.v1.operate_pb2 import Trace as TraceRequest
from cashy.core.names import parse_name
from cashy.core.trace import METADATA, TRACE_ID_BYTES, Trace
from cashy.errors import CashyError, InvalidRequest
from cashy.master.catalog import Known
from cashy.master.limits import (
    PEER_TRACE_TIMEOUT_S,
    TRACE_BLOCKS_DEFAULT,
    TRACE_BLOCKS_MAX,
    TRACE_REPORT_BYTES,
)
from cashy.master.tracing import followed

if TYPE_CHECKING:
    from cashy.master.host import Host

__all__ = ["traced_read", "told"]


class _NobodyReads:
    """Takes the answers of a fetch whose blocks nobody wants."""

    def send_object(self, request_id: int, info: ObjectInfo) -> None:
        """Nothing to do."""

    def send_block(
        self, request_id: int, block: int, slot: int, generation: int, length: int, tier: Tier, *, filling: bool
    ) -> None:  # fmt: skip
        """Nothing to do."""

    def send_file(self, request_id: int, block: int, length: int, tier: Tier, descriptor: int) -> None:
        """Nobody maps it."""
        os.close(descriptor)

    def send_progress(self, request_id: int, block: int, watermark: int, *, complete: bool) -> None:
        """Nothing to do."""


async def traced_read(host: Host, request: TraceRequest) -> TraceReport:
    """Reads, and tells. Raises ``InvalidRequest`` and ``InvalidName``; any other failure of the read is part of the report."""
    blocks = _blocks_of(request, host.fills.block_bytes)
    name = parse_name(request.name)
    host.counters.add("reads_traced")
    trace = Trace(os.urandom(TRACE_ID_BYTES), time.monotonic_ns())
    report = TraceReport(trace_id=trace.trace_id, first_block=blocks.start)
    fetch = Fetch(name=name.url, first_block=blocks.start, block_count=len(blocks))
    with followed(trace):
        if host.catalog.cached(name) is not None:
            trace.note(time.monotonic_ns(), METADATA, "known")
        job = host.new_fetch(0, fetch, _NobodyReads())
        try:
            await job.run(lambda known: _learnt(trace, report, known, blocks))
        except CashyError as error:
            report.failure_code, report.failure = error.code, error.message
        finally:
            job.release()
    report.took_us = (time.monotonic_ns() - trace.began_ns) // 1000
    report.hosts.append(told(host.name, trace))
    report.hosts.extend(await _told_by_others(host, trace))
    _make_fit(report)
    return report


def _blocks_of(request: TraceRequest, block_bytes: int) -> range:
    """The blocks in which the range lies."""
    first = request.offset // block_bytes
    if not request.length:
        return range(first, first + TRACE_BLOCKS_DEFAULT)
    blocks = range(first, (request.offset + request.length - 1) // block_bytes + 1)
    if len(blocks) > TRACE_BLOCKS_MAX:
        raise InvalidRequest(
            f"a trace is of at most {TRACE_BLOCKS_MAX} blocks of {block_bytes:,} bytes, this range has {len(blocks):,}: give a shorter one"
        )
    return blocks


def _learnt(trace: Trace, report: TraceReport, known: Known, blocks: range) -> None:
    trace.note(time.monotonic_ns(), METADATA, "learnt")
    report.size = known.content.size_bytes
    report.block_bytes = known.content.block_bytes
    report.object_blocks = known.content.block_count
    report.block_count = max(0, min(blocks.stop, known.content.block_count) - blocks.start)
    report.version = known.content.meta.version


def told(host: str, trace: Trace) -> HostTrace:
    """A trace as it is sent."""
    events = [TraceEvent(**event._asdict()) for event in trace.events]
    return HostTrace(host=host, events=events, is_cut=trace.is_cut)


async def _told_by_others(host: Host, trace: Trace) -> Iterable[HostTrace]:
    if host.cluster is None:
        return ()
    peers = {
        event.where: host.cluster.peers.get(event.where) for event in trace.events if event.what == "asked"
    }
    request = HostRequest(take_trace=TakeTrace(trace_id=trace.trace_id))

    async def ask(name: str) -> HostTrace:
        peer = peers[name]
        assert peer is not None
        try:
            answer = await peer.operate(request, PEER_TRACE_TIMEOUT_S)
        except CashyError as error:
            return HostTrace(host=name, error=error.message)
        return HostTrace(host=name, events=answer.trace.events, is_cut=answer.trace.is_cut)

    return await asyncio.gather(*(ask(name) for name, peer in peers.items() if peer is not None))


def _make_fit(report: TraceReport) -> None:
    """Leaves out what other hosts noted, the longest first, until the report fits a frame."""
    for other in sorted(report.hosts[1:], key=lambda told: -len(told.events)):
        if report.ByteSize() <= TRACE_REPORT_BYTES:
            return
        del other.events[:]
        other.is_cut = True
