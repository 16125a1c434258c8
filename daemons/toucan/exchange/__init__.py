"""The embedded exchange: a venue of our own, with a price-time-priority book for each instrument.

:mod:`toucan.exchange.core` decides and knows no process; the modules beside it are the process that ``python -m toucan.exchange`` runs.
"""

from __future__ import annotations

__all__: list[str] = []
