"""What operators ask of a host, carried out here and on the others: evict, pin, unpin, what is pinned, and traced reads.

Law: who may ask is checked where a client asks; another host of the cluster has done so. Each host does its own part, and is asked by the one that
the operator speaks to and by no other; one that does not answer is named in the answer, with the reason, and the rest is done all the same. So an
answer always says, host by host, what is known to have been done.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, TypeVar

from aviary.cashy.v1.operate_pb2 import (
    Evict,
    EvictReport,
    HostAnswer,
    HostEvict,
    HostEvicted,
    HostPins,
    HostRequest,
    HostTrace,
    ListPins,
    NameFailed,
    ObjectVersion,
    Pin,
    PinReport,
    Trace,
    TraceReport,
    Unpin,
)
from cashy.core.names import ObjectName, parse_name
from cashy.core.trace import TraceMemory
from cashy.errors import CashyError, InternalError, InvalidName, InvalidRequest, TooLarge
from cashy.limits import PEER_CHANGED_BYTES
from cashy.master.evicting import Evictor
from cashy.master.limits import EVICT_NAMES_MAX, PEER_OPERATE_TIMEOUT_S, PIN_NAMES_MAX
from cashy.master.pinboard import Pinboard
from cashy.master.traced_read import told, traced_read

if TYPE_CHECKING:
    from cashy.master.host import Host
    from cashy.peer.client import Peer

__all__ = ["Operating"]

_T = TypeVar("_T", HostEvicted, HostPins)


class Operating:
    """One host's part. ``traces``: of reads that other hosts trace."""

    def __init__(self, host: Host, evictor: Evictor, pinboard: Pinboard, traces: TraceMemory) -> None:
        self._host = host
        self._evictor = evictor
        self._pinboard = pinboard
        self._traces = traces

    # --- of a client ---

    async def evict(self, request: Evict) -> EvictReport:
        """Evicts here, and on the other hosts if so asked."""
        if bool(request.names) == request.everything:
            raise InvalidRequest("an Evict has either names, or everything set")
        _check_count(request.names, EVICT_NAMES_MAX)
        report = EvictReport()
        if request.everything:
            versions: list[ObjectVersion] = []
            report.hosts.append(await self._evictor.evict_everything())
        else:
            names, versions = await self._found(request.names, report)
            if not names:
                return report
            request = Evict(names=[name.url for name in names], cluster=request.cluster)
            report.hosts.append(await self._evictor.evict(names, versions))
        report.hosts[0].host = self._host.name
        if request.cluster:
            asked = [HostRequest(evict=part) for part in _in_parts(request, versions)]
            report.hosts.extend(
                await self._of_others(asked, HostEvicted, lambda answer: answer.evicted, _added)
            )
        return report

    async def _found(
        self, urls: Sequence[str], report: EvictReport
    ) -> tuple[list[ObjectName], list[ObjectVersion]]:
        """The names of which something is known, with their versions; the others are in the report."""
        names: list[ObjectName] = []
        versions: list[ObjectVersion] = []
        for url in dict.fromkeys(urls):
            try:
                name = parse_name(url)
                versions.append(await self._evictor.version(name))
            except CashyError as error:
                report.failed.append(NameFailed(name=url, code=error.code, message=error.message))
            else:
                names.append(name)
        return names, versions

    async def pin(self, request: Pin) -> PinReport:
        """Pins: all blocks here, or on every host of the cluster those whose home it is."""
        _check_count(request.names, PIN_NAMES_MAX)
        names = [parse_name(name) for name in request.names]
        if not 0 <= request.for_s < 1e9:
            raise InvalidRequest("a pin lasts for 0 (no end) to 1e9 seconds")
        changed = await self._pinboard.pin(names, request.for_s, homes_only=request.cluster)
        return await self._pins(request.names, changed, HostRequest(pin=request), in_cluster=request.cluster)

    async def unpin(self, request: Unpin) -> PinReport:
        """Lets go."""
        if bool(request.names) == request.everything:
            raise InvalidRequest("an Unpin has either names, or everything set")
        _check_count(request.names, PIN_NAMES_MAX)
        changed = await self._pinboard.unpin(_named(request))
        return await self._pins(
            request.names, changed, HostRequest(unpin=request), in_cluster=request.cluster
        )

    async def list_pins(self, request: ListPins) -> PinReport:
        """What is pinned."""
        return await self._pins(request.names, 0, HostRequest(list_pins=request), in_cluster=request.cluster)

    async def _pins(
        self, names: Iterable[str], changed: int, request: HostRequest, *, in_cluster: bool
    ) -> PinReport:
        report = PinReport()
        report.hosts.append(self._pinboard.report(self._host.name, names, changed))
        if in_cluster:
            others = await self._of_others(
                [request], HostPins, lambda answer: answer.pins, lambda _, part: part
            )
            report.hosts.extend(others)
        return report

    async def trace(self, request: Trace) -> TraceReport:
        """Reads, and tells what happened."""
        return await traced_read(self._host, request)

    # --- of another host ---

    async def for_peer(self, request: HostRequest) -> HostAnswer:
        """This host's part of what an operator asked elsewhere. Raises a ``CashyError``."""
        kind = request.WhichOneof("body")
        if kind == "evict":
            return HostAnswer(evicted=await self._evict_here(request.evict))
        if kind == "pin":
            names = [parse_name(name) for name in request.pin.names]
            changed = await self._pinboard.pin(names, request.pin.for_s, homes_only=True)
            return HostAnswer(pins=self._pinboard.report(self._host.name, request.pin.names, changed))
        if kind == "unpin":
            changed = await self._pinboard.unpin(_named(request.unpin))
            return HostAnswer(pins=self._pinboard.report(self._host.name, request.unpin.names, changed))
        if kind == "list_pins":
            return HostAnswer(pins=self._pinboard.report(self._host.name, request.list_pins.names))
        if kind == "take_trace":
            trace = self._traces.take(request.take_trace.trace_id)
            if trace is None:
                return HostAnswer(trace=HostTrace(host=self._host.name))
            return HostAnswer(trace=told(self._host.name, trace))
        raise InvalidRequest(
            "this is asked by a newer version of aviary: bring all hosts of the cluster to one"
        )

    async def _evict_here(self, request: HostEvict) -> HostEvicted:
        if request.request.everything:
            return await self._evictor.evict_everything()
        names: list[ObjectName] = []
        for url in request.request.names:
            try:
                names.append(parse_name(url))
            except InvalidName:  # of another version of this program: nothing here has that name
                continue
        return await self._evictor.evict(names, request.versions)

    # --- the others ---

    async def _of_others(
        self,
        requests: Sequence[HostRequest],
        kind: type[_T],
        part_of: Callable[[HostAnswer], _T],
        add: Callable[[_T, _T], _T],
    ) -> list[_T]:
        """Asks every other host, one request after the other each; by name."""
        if self._host.cluster is None:
            return []
        peers = self._host.cluster.peers

        async def ask(peer: Peer) -> _T:
            whole = kind(host=peer.name)
            for request in requests:
                try:
                    answer = await peer.operate(request, PEER_OPERATE_TIMEOUT_S)
                    whole = add(whole, part_of(answer))
                except CashyError as error:
                    whole.error = _why(peer, error)
                    break
                except Exception as error:  # one host's answer must not cost the others theirs
                    whole.error = InternalError(f"{type(error).__name__}: {error}").message
                    break
            whole.host = peer.name
            return whole

        return list(await asyncio.gather(*(ask(peers[name]) for name in sorted(peers))))


def _why(peer: Peer, error: CashyError) -> str:
    """The reason without the host's name, which stands before it already."""
    if not peer.is_up and peer.last_error:
        return f"down: {peer.last_error}"
    return error.message.removeprefix(f"host {peer.name!r}").removeprefix(":").lstrip()


def _check_count(names: Sequence[str], names_max: int) -> None:
    if len(names) > names_max:
        raise TooLarge(
            f"{len(names):,} names in one request, at most {names_max:,} are allowed: ask in parts"
        )


def _named(request: Unpin) -> list[ObjectName] | None:
    return None if request.everything else [parse_name(name) for name in request.names]


def _in_parts(request: Evict, versions: Sequence[ObjectVersion]) -> Iterable[HostEvict]:
    """What another host is asked: requests that fit its frames."""
    if request.everything:
        yield HostEvict(request=request)
        return
    part = HostEvict()
    for url, version in zip(request.names, versions, strict=True):
        if part.request.names and part.ByteSize() + len(url.encode()) > PEER_CHANGED_BYTES:
            yield part
            part = HostEvict()
        part.request.names.append(url)
        part.versions.append(version)
    yield part


def _added(whole: HostEvicted, part: HostEvicted) -> HostEvicted:
    """The figures of two answers of one host."""
    for field, value in part.ListFields():
        if isinstance(value, int):
            setattr(whole, field.name, getattr(whole, field.name) + value)
    return whole
