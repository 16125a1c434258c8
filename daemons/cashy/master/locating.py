"""Where the blocks of an object lie: in this host's memory, on its SSD, or the same at their homes, which are asked.

Law: nothing is read or brought here, and nothing of it is believed longer than the answer: blocks come and go. Each home is asked once for all of its
blocks that are not here (in pieces, if they are very many), all homes at the same time, and one that has not said so within
:data:`~cashy.limits.PEER_STATUS_TIMEOUT_S`, or has another version, leaves its blocks unknown.
"""

from __future__ import annotations

import asyncio

from aviary.cashy.v1.control_pb2 import LocateReport, Tier
from cashy.core.names import block_digest
from cashy.errors import CashyError, TooLarge
from cashy.limits import LOCATE_BLOCKS_MAX, LOCATE_BLOCKS_PER_QUESTION, PEER_STATUS_TIMEOUT_S
from cashy.master.cluster import Cluster
from cashy.master.fills import Content, FillTable, source_key
from cashy.master.known import Known

__all__ = ["locate", "tiers_here"]

#: Blocks that are looked for before the loop gets its turn again: to find one, or its home, takes some 10 us.
_LOOKED_FOR_PER_TURN = 256

#: As other hosts' answers have them.
_SAYABLE = (Tier.TIER_UNSPECIFIED, Tier.TIER_LOCAL_MEMORY, Tier.TIER_LOCAL_SSD)


async def tiers_here(fills: FillTable, content: Content, blocks: range) -> bytes:
    """Where this host has blocks: for each a ``Tier``, UNSPECIFIED for what it does not have."""
    tiers = bytearray()
    for index in blocks:
        tiers.append(_tier_here(fills, content, index))
        if not len(tiers) % _LOOKED_FOR_PER_TURN or fills.store.turn_is_over():
            await asyncio.sleep(0)
    return bytes(tiers)


def _tier_here(fills: FillTable, content: Content, index: int) -> Tier:
    digest = block_digest(content.content_id, index)
    if fills.store.find(digest) >= 0:
        return Tier.TIER_LOCAL_MEMORY
    if fills.disk is not None and fills.disk.find(digest) is not None:
        return Tier.TIER_LOCAL_SSD
    return Tier.TIER_UNSPECIFIED


async def locate(fills: FillTable, cluster: Cluster | None, known: Known) -> LocateReport:
    """Where each block of an object lies. Raises ``TooLarge``."""
    count = known.content.block_count
    if count > LOCATE_BLOCKS_MAX:
        raise TooLarge(f"{known.name.url} has {count:,} blocks, at most {LOCATE_BLOCKS_MAX:,} are reported")
    tiers = await tiers_here(fills, known.content, range(count))
    report = LocateReport(object=known.info, tiers=[Tier.Name(tier) for tier in tiers])
    if cluster is not None:
        await _add_homes(cluster, known, report)
    return report


async def _add_homes(cluster: Cluster, known: Known, report: LocateReport) -> None:
    place = known.content.place
    key = source_key(place)
    report.host = cluster.own_name
    numbers: dict[str, int] = {}
    elsewhere: dict[str, list[int]] = {}
    for index, tier in enumerate(report.tiers):
        name = cluster.home_of(place.origin, key, index)
        report.homes.append(numbers.setdefault(name, len(numbers)))
        if tier == Tier.TIER_UNSPECIFIED and name != cluster.own_name:
            elsewhere.setdefault(name, []).append(index)
        if not index % _LOOKED_FOR_PER_TURN:
            await asyncio.sleep(0)
    report.hosts.extend(numbers)
    at_home: list[int] = [Tier.TIER_UNSPECIFIED] * len(report.tiers)
    await asyncio.gather(
        *(_ask(cluster, name, known, indices, at_home) for name, indices in elsewhere.items())
    )
    report.MergeFrom(LocateReport(at_home=[Tier.Name(tier) for tier in at_home]))


async def _ask(cluster: Cluster, name: str, known: Known, indices: list[int], at_home: list[int]) -> None:
    for index in indices:
        at_home[index] = Tier.TIER_UNKNOWN
    wanted = set(indices)
    try:
        async with asyncio.timeout(PEER_STATUS_TIMEOUT_S):
            for first in range(indices[0], indices[-1] + 1, LOCATE_BLOCKS_PER_QUESTION):
                blocks = range(first, min(first + LOCATE_BLOCKS_PER_QUESTION, indices[-1] + 1))
                for index, tier in zip(blocks, await _answer(cluster, name, known, blocks), strict=False):
                    if index in wanted and tier in _SAYABLE:
                        at_home[index] = tier
    except (CashyError, TimeoutError):
        return


async def _answer(cluster: Cluster, name: str, known: Known, blocks: range) -> bytes:
    """What a host says; nothing if it knows another version, or is not in the list any more."""
    place, peer = known.content.place, cluster.peers.get(name)
    if peer is None:
        return b""
    answer = await peer.head(
        place.origin, known.name.url, place.bucket, place.key, revalidate=False, deadline_s=PEER_STATUS_TIMEOUT_S, blocks=blocks
    )  # fmt: skip
    is_same = (answer.meta.version, answer.meta.size_bytes) == (
        known.content.meta.version,
        known.content.size_bytes,
    )
    return answer.tiers if is_same else b""
