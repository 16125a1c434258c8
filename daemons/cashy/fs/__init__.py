"""``cashy://`` for fsspec, and so for pandas, pyarrow, dask, zarr and whatever else opens files by URL with it.

::

    fsspec.open("cashy://bucket/prices.csv")        # the object s3://bucket/prices.csv
    pandas.read_parquet("cashy:///mnt/data/p.pq")   # the file file:///mnt/data/p.pq

Law: a thin layer over the client library, which decides nothing about reads. fsspec is imported here and nowhere else in this distribution
(the extra ``fsspec``): ``import cashy`` loads neither this package nor fsspec. In reading order: :mod:`~cashy.fs.paths` (what a path means),
:mod:`~cashy.fs.file` (an open file), :mod:`~cashy.fs.filesystem`.

Not asynchronous in fsspec's sense (``AsyncFileSystem``): a read that hits is a look into shared memory, some 10 us without a message, and would
pay for a hop to fsspec's loop thread and back each time. Ranges asked for together (``cat_ranges``) are under way together all the same.
"""

from __future__ import annotations

from cashy.fs.file import CashyFile
from cashy.fs.filesystem import CashyFileSystem

__all__ = ["CashyFile", "CashyFileSystem"]
