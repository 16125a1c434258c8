"""The decisions of cashy, as pure code.

Law. A module in here takes values and gives values: it knows no socket, file, event loop, thread, clock or source of randomness, and
nothing of the packages that pump it (``cashy.master``, ``cashy.s3``, ``cashy.client``, ``cashy.origin``). So every decision can be
tested by example and by property, at full speed, and no test of one needs to wait. Import the modules; the package exports nothing.
"""

from __future__ import annotations

__all__: list[str] = []
