"""The gRPC front end (``toucan server``): who asks, what he may, his words turned into the engine's and back, and his streams.

A front end decides nothing about orders. It has a copy of the engine's state to read from and a way to ask (:mod:`toucan.engine.port`); whatever it
keeps beside that can be lost at any instruction. Several may run, and clients may change from one to another at any time.

* :mod:`toucan.server.translate` is the one edge between the public API and :mod:`toucan.core`;
* :mod:`toucan.server.users` and :mod:`toucan.server.entitlements` say who may what;
* :mod:`toucan.server.streams` sends what happens to whoever watches;
* :mod:`toucan.server.main` puts it together and runs it.
"""

from __future__ import annotations

__all__: list[str] = []
