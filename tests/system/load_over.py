"""Readers that go on reading while something is done to the hosts they read through, and compare every byte."""

from __future__ import annotations

import http.client
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator, Mapping
from contextlib import ExitStack, contextmanager, suppress
from typing import Any
from urllib.parse import urlsplit

import cashy

from .harness import RunningHost, wait_until
from .lone import LoneMaster

__all__ = ["Readers"]

#: Long enough for any restart, so that only a lost request fails.
PATIENCE_S = 60.0

#: Between two reads of one reader: they are to be there all the time, and to leave the processes that start some of the machine.
_PAUSE_S = 0.005


class Readers:
    """Threads that read ``objects`` (by ``bucket/key``), each in its own way, until the end; ``failures`` is what went wrong."""

    def __init__(self, objects: Mapping[str, bytes]) -> None:
        self._objects = objects
        self._over = threading.Event()
        self._threads: list[threading.Thread] = []
        self.reads: Counter[str] = Counter()
        self.failures: list[str] = []

    def client(self, host: RunningHost | LoneMaster) -> None:
        """The client library: each read asks for the version anew now and then, and so needs the master."""

        def read_all() -> Iterator[tuple[str, bytes]]:
            with host.connect(timeout_s=PATIENCE_S) as cache:
                for number, key in enumerate(self._keys()):
                    with cache.open(f"s3://{key}") as handle:
                        yield key, bytes(handle.view())
                    if number % 16 == 0:
                        cache.stat(f"s3://{key}", revalidate=True)

        self._start(f"client of {host.name}", read_all)

    def kept(self, url: str) -> None:
        """S3 over a connection that is kept."""

        def read_all() -> Iterator[tuple[str, bytes]]:
            with ExitStack() as stack:
                connection = self._connection(url)
                stack.callback(connection.close)
                for key in self._keys():
                    yield key, _get(connection, key)

        self._start("kept connection", read_all)

    def fresh(self, url: str) -> None:
        """S3 over a new connection for each request."""

        def read_all() -> Iterator[tuple[str, bytes]]:
            for key in self._keys():
                connection = self._connection(url)
                try:
                    yield key, _get(connection, key)
                finally:
                    connection.close()

        self._start("fresh connections", read_all)

    def signed(self, host: RunningHost) -> None:
        """boto3, which retries nothing."""
        client = host.s3()

        def read_all() -> Iterator[tuple[str, bytes]]:
            for path in self._keys():
                bucket, key = path.split("/", 1)
                with client.get_object(Bucket=bucket, Key=key)["Body"] as body:
                    yield path, body.read()

        self._start("boto3", read_all)

    def _connection(self, url: str) -> http.client.HTTPConnection:
        return http.client.HTTPConnection(urlsplit(url).netloc, timeout=PATIENCE_S)

    def _keys(self) -> Iterator[str]:
        while True:
            yield from self._objects

    def _start(self, way: str, read_all: Callable[[], Iterator[tuple[str, bytes]]]) -> None:
        def run() -> None:
            while not self._over.is_set():
                try:
                    for key, data in read_all():
                        if data != self._objects[key]:
                            self.failures.append(f"{way}: wrong bytes of {key}")
                        self.reads[way] += 1
                        time.sleep(_PAUSE_S)
                        if self._over.is_set():
                            return
                except Exception as error:
                    self.failures.append(f"{way}: {type(error).__name__}: {error}")
                    time.sleep(0.01)

        thread = threading.Thread(target=run, name=way)
        thread.start()
        self._threads.append(thread)

    def wait_for_more(self, count: int = 20) -> None:
        """Until each of them has read so often once more."""
        before = self.reads.copy()
        names = [thread.name for thread in self._threads]
        wait_until(
            lambda: bool(self.failures) or all(self.reads[name] >= before[name] + count for name in names),
            PATIENCE_S,
            "reads",
        )

    @contextmanager
    def reading(self) -> Iterator[None]:
        """Ends them all at the end, and fails if any read failed."""
        try:
            self.wait_for_more()
            yield
            self.wait_for_more()
        finally:
            self._over.set()
            for thread in self._threads:
                thread.join(PATIENCE_S)
        assert not self.failures, f"{len(self.failures)} of {self.reads.total()} reads: {self.failures[:5]}"


def _get(connection: http.client.HTTPConnection, key: str) -> bytes:
    connection.request("GET", f"/{key}")
    answer: Any = connection.getresponse()
    data: bytes = answer.read()
    if answer.status != 200:
        raise AssertionError(f"{answer.status} {data[:200]!r}")
    return data


def is_connected(host: RunningHost) -> bool:
    """Whether a master answers."""
    with suppress(cashy.CashyError), host.connect(timeout_s=1):
        return True
    return False
