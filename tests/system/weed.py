"""SeaweedFS for tests: one for a whole session, since it takes six seconds to start. It verifies every signature."""

from __future__ import annotations

import json
import os
import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from unittest.mock import patch

from tests.bench.peers import Peer, seaweedfs

__all__ = ["AT_STORE", "SECRET_AT_STORE", "Weed", "started_weed"]

#: The second identity's key at the store.
AT_STORE, SECRET_AT_STORE = "other-at-store", "other-secret-at-store"


class Weed:
    """A running SeaweedFS, and what its second identity may do, of which it is told by its file and SIGHUP."""

    def __init__(self, peer: Peer, folder: Path) -> None:
        self.url = peer.url
        self._pid = peer.pid
        self._file = folder / "s3.json"
        self._first = json.loads(self._file.read_text())["identities"]

    def allow(self, *actions: str) -> None:
        """The second identity may do this from now on; it is not known at first."""
        credentials = [{"accessKey": AT_STORE, "secretKey": SECRET_AT_STORE}]
        other = {"name": "other", "credentials": credentials, "actions": list(actions)}
        self._file.write_text(json.dumps({"identities": [*self._first, other]}))
        os.kill(self._pid, signal.SIGHUP)


@contextmanager
def started_weed(folder: Path) -> Iterator[Weed]:
    """With room for many buckets: each has volumes of its own, by default seven. Also reached as ``<bucket>.s3.localhost``."""
    options = ("-volume.max=5000", "-master.volumeSizeLimitMB=64", "-s3.domainName=s3.localhost")
    with (
        patch.dict(os.environ, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
        seaweedfs(folder, core=None, options=options) as peer,
    ):
        yield Weed(peer, folder)
