"""toucan: order entry for people and strategies; an engine that owns all order state, front ends that speak gRPC, clients, a command line.

Modules: :mod:`toucan.core` decides and knows no process; :mod:`toucan.journal` keeps what was decided; :mod:`toucan.engine`,
:mod:`toucan.server` and :mod:`toucan.exchange` are processes; :mod:`toucan.client` and :mod:`toucan.cli` are for people.
"""

from __future__ import annotations

__all__: list[str] = []
