"""A worker on its own loop in a thread, and clients of it."""

from __future__ import annotations

import asyncio
import socket
import ssl
import threading
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future
from typing import Any, TypeVar

import boto3
import botocore.config
import pytest
import uvloop
from tests.cashy.s3.memory_session import MemorySession

from cashy.s3.credentials import Credentials, Key
from cashy.s3.main import open_listener, serve
from cashy.s3.stores import Stores
from cashy.s3.tls import ServerTls
from cashy.s3.worker import Worker, WorkerOptions
from cashy.s3.writing import Writing
from cashy.settings import OriginSettings

KEY = Key("AKIDEXAMPLE", "wJalrXUtnFEMI/K7MDENG+bPxRfiCYEXAMPLEKEY")
NARROW_KEY = Key("AKIDNARROW", "narrow-secret", ("data-*",))
WRITER_KEY = Key("AKIDWRITER", "writer-secret", rights=frozenset(("read", "write")))
#: Another one at the store.
NARROW_WRITER_KEY = Key(
    "AKIDNARROWWRITER",
    "narrow-writer-secret",
    ("data-*",),
    frozenset(("read", "write")),
    "AKIDMAPPED",
    "mapped-secret",
)

T = TypeVar("T")


class Running:
    """A worker that serves."""

    def __init__(
        self,
        session: MemorySession,
        options: WorkerOptions,
        *,
        anonymous: bool,
        origins: Sequence[OriginSettings] = (),
        writing: Writing | None = None,
        tls: ssl.SSLContext | None = None,
        serving: ServerTls | None = None,
    ) -> None:
        self.session = session
        self.worker: Worker | None = None
        self._clients: list[Any] = []
        self._credentials = Credentials([KEY, NARROW_KEY, WRITER_KEY, NARROW_WRITER_KEY], anonymous=anonymous)
        self._origins = origins
        self._writing = writing
        self._tls = tls
        self._serving = serving
        self._options = options
        self._address: Future[str] = Future()
        self._loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._stop = asyncio.Event()

    def start(self) -> None:
        self._thread.start()
        self.host, _, port = self._address.result(20).rpartition(":")
        self.port = int(port)
        self.url = f"{'https' if self._serving else 'http'}://{self.host}:{self.port}"

    def _run(self) -> None:
        try:
            self._loop.run_until_complete(self._serve())
        except BaseException as error:
            if not self._address.done():
                self._address.set_exception(error)
            raise
        finally:
            self._loop.close()

    async def _serve(self) -> None:
        listener = open_listener("127.0.0.1", 0)
        stores = Stores(self._origins, tls=self._tls)
        self.worker = Worker(
            self.session, self._credentials, self._options, stores=stores, writing=self._writing
        )
        await serve(
            self.worker,
            [listener],
            ready=self._address.set_result,
            stop=self._stop,
            grace_s=2,
            tls=self._serving,
        )
        await stores.close()

    @property
    def counters(self) -> Counter[str]:
        """The worker's counters as they are now."""
        assert self.worker is not None
        return self.on_loop(self.worker.counters.copy)

    def on_loop(self, call: Callable[..., T], *args: Any) -> T:
        """Runs a function on the worker's thread."""

        async def do() -> T:
            return call(*args)

        return asyncio.run_coroutine_threadsafe(do(), self._loop).result(20)

    def stop(self) -> None:
        for client in self._clients:
            client.close()
        if self._thread.is_alive():
            self._loop.call_soon_threadsafe(self._stop.set)
        self._thread.join(20)
        assert not self._thread.is_alive()

    def client(self, key: Key = KEY, **config: Any) -> Any:
        """boto3, without retries: an error is to be seen. Closed when this stops."""
        client = boto3.client(
            "s3", endpoint_url=self.url, region_name="eu-west-3",
            aws_access_key_id=key.key_id, aws_secret_access_key=key.secret,
            config=botocore.config.Config(
                retries={"max_attempts": 0, "mode": "standard"}, s3={"addressing_style": "path"}, **config
            ),
        )  # fmt: skip
        self._clients.append(client)
        return client

    def connect(self, *, receive_buffer_bytes: int = 0) -> socket.socket:
        raw = socket.socket()
        if receive_buffer_bytes:
            raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, receive_buffer_bytes)
        raw.settimeout(20)
        try:
            raw.connect((self.host, self.port))
        except OSError:
            raw.close()
            raise
        return raw

    def exchange(self, data: bytes) -> bytes:
        """Sends bytes and gives everything that comes until the worker closes."""
        with self.connect() as raw:
            try:
                raw.sendall(data)
            except (ConnectionResetError, BrokenPipeError):
                pass  # it had enough; its answer is still to be read
            return receive_all(raw)


def receive_all(raw: socket.socket) -> bytes:
    received = bytearray()
    while chunk := raw.recv(1 << 20):
        received += chunk
    return bytes(received)


def receive_answer(raw: socket.socket, *, has_body: bool = True) -> tuple[int, dict[str, str], bytes]:
    """One HTTP answer with a Content-Length."""
    data = bytearray()
    while b"\r\n\r\n" not in data:
        chunk = raw.recv(65536)
        assert chunk, f"closed within a head: {bytes(data)!r}"
        data += chunk
    head, _, body = bytes(data).partition(b"\r\n\r\n")
    lines = head.decode("latin-1").split("\r\n")
    headers = {name.lower(): value for name, _, value in (line.partition(": ") for line in lines[1:])}
    rest = bytearray(body)
    while has_body and len(rest) < int(headers["content-length"]):
        chunk = raw.recv(1 << 20)
        assert chunk, "closed within a body"
        rest += chunk
    return int(lines[0].split()[1]), headers, bytes(rest)


Start = Callable[..., Running]


@pytest.fixture
def start() -> Iterator[Start]:
    """Starts workers: ``start(session, anonymous=True, idle_timeout_s=…)``."""
    started: list[Running] = []

    def do(
        session: MemorySession,
        *,
        anonymous: bool = True,
        origins: Sequence[OriginSettings] = (),
        writing: Writing | None = None,
        tls: ssl.SSLContext | None = None,
        serving: ServerTls | None = None,
        **options: Any,
    ) -> Running:
        options.setdefault("last_request_s", 0.0)  # a stop is nobody's subject here
        running = Running(
            session,
            WorkerOptions(**options),
            anonymous=anonymous,
            origins=origins,
            writing=writing,
            tls=tls,
            serving=serving,
        )
        started.append(running)
        running.start()
        return running

    yield do
    for running in started:
        running.stop()
        worker = running.worker
        assert worker is not None
        assert not worker.connections
        assert running.session.open_fetches == 0, "a fetch was never left"
        assert running.session.pinned == 0, "a pin was never released"
