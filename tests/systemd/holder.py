"""A client that holds a view while the master is restarted under it: says what it sees before, and after a line has come on standard input.

Run inside a host by the Python of the release, as somebody of the group ``cashy``.
"""

from __future__ import annotations

import hashlib
import json
import sys

import cashy


def main(url: str) -> None:
    with cashy.connect() as cache, cache.open(url) as first:
        view = first.view()
        before = hashlib.sha256(view).hexdigest()
        print(json.dumps({"before": before}), flush=True)
        sys.stdin.readline()
        after = hashlib.sha256(view).hexdigest()
        with cache.open(url) as second:
            again = hashlib.sha256(second.view()).hexdigest()
        print(json.dumps({"after": after, "again": again}), flush=True)


if __name__ == "__main__":
    main(sys.argv[1])
