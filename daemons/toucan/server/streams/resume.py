"""Where a stream goes on."""

from __future__ import annotations

from aviary.toucan.v1 import staged_pb2 as sp
from aviary.toucan.v1 import toucan_pb2 as pb
from toucan.engine.port import EnginePort
from toucan.server.limits import AHEAD_WAIT_S
from toucan.server.translate import fields

__all__ = ["resume_point"]


async def resume_point(
    port: EnginePort,
    request: pb.WatchOrdersRequest | pb.DropCopyRequest | pb.OpenSession | sp.WatchStagedOrdersRequest,
) -> int | None:
    """The event after which a client wants to go on. If he has heard more, from another front end, than this one knows, it is waited for.

    A front end without an engine waits as long as it has none: what is missing will come, and a snapshot from before it would take the client back
    in time. One that follows an engine and still knows less has another history than the client (its journal was replaced), who gets a snapshot.
    """
    if not request.HasField("after_seq"):
        return None
    after_seq = fields.event_number(request.after_seq, "after_seq")
    while after_seq > port.state.seq and not await port.wait_for(after_seq, AHEAD_WAIT_S):
        if not port.is_stale:
            break
    return after_seq
