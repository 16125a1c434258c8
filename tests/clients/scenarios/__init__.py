"""What a user of each S3 client would do, as programs that run with that client's own Python.

Each is called with where to write (URL), where to read (URL), a bucket that is there and empty, and a folder of its own; it prints what it saw as one
JSON object, in which nothing depends on where the bytes came from.
"""

from __future__ import annotations

__all__: list[str] = []
