"""The journal of the order-entry engine: an append-only log of what was decided, which is the truth that everything else is rebuilt from.

It carries payloads (bytes) and sequence numbers and knows nothing of orders. :mod:`toucan.journal.core` knows the bytes and decides what they mean,
the rest moves them:

* the engine: :class:`~toucan.journal.writer.Journal` (append, commit), :class:`~toucan.journal.snapshots.SnapshotStore` (bounds replay);
* everybody else: :class:`~toucan.journal.reader.Follower` and :func:`~toucan.journal.reader.read`;
* people: :func:`~toucan.journal.verify.verify`, :func:`~toucan.journal.repair.repair`, :class:`~toucan.journal.projection.Projection` (search).
"""

from __future__ import annotations

__all__: list[str] = []
