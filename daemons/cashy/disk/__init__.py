"""The SSD tier of one host: blocks in files, found by an index in memory, read and written by threads.

``DiskTier`` is what the master sees. Layers, from below: :mod:`~cashy.disk.layout` (what a file and a record of the journal look like),
:mod:`~cashy.disk.journal` (the index on the disk), :mod:`~cashy.disk.files` (the calls that may block, for threads),
:mod:`~cashy.disk.disk` (one disk: threads, health, room), :mod:`~cashy.disk.tier` (several).
"""

from cashy.disk.errors import DiskCorrupt, DiskError, DiskTimeout, DiskTorn
from cashy.disk.tier import DiskBlock, DiskOptions, DiskRead, DiskTier

__all__ = [
    "DiskBlock",
    "DiskCorrupt",
    "DiskError",
    "DiskOptions",
    "DiskRead",
    "DiskTier",
    "DiskTimeout",
    "DiskTorn",
]
