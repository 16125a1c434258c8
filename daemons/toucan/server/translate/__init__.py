"""The edge between the public API (``aviary.toucan.v1``) and :mod:`toucan.core`: nothing else in toucan knows both.

* :mod:`~toucan.server.translate.from_wire`: requests in, each field checked and named where it is wrong;
* :mod:`~toucan.server.translate.to_wire`: values out;
* :mod:`~toucan.server.translate.statuses`: errors and the engine's refusals as gRPC statuses with details;
* :mod:`~toucan.server.translate.pieces`: messages of streams, put together from parts that were encoded once for all watchers.

Fields that a message has and this version does not know are ignored, as protobuf and gRPC mean it: a newer client talks to an older front end.
A value of an enum that this version does not know is refused, since it would change what is done.
"""

from __future__ import annotations

__all__: list[str] = []
