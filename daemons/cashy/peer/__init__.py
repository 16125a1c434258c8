"""One host's view of the others: reading blocks from them (:mod:`~cashy.peer.client`) and serving them (:mod:`~cashy.peer.server`)."""

__all__: list[str] = []
