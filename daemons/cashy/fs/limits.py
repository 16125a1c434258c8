"""Named limits of the file system, each with its reason."""

from __future__ import annotations

__all__ = ["RANGES_UNDER_WAY_MAX"]

#: Ranges of one ``cat_ranges`` asked of the daemon at a time: enough to keep an origin busy, and well below what one client may have open there
#: (``limits.client_requests_max``). Their blocks are pinned until they are copied, so this bounds those too.
RANGES_UNDER_WAY_MAX = 16
