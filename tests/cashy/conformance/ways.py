"""The stores, the ways to them, and how a case is run along one of them.

Law. Every way runs the same calls and looks at every answer; only who is asked differs:

* ``direct``: the store itself. What it fails here it fails without us.
* ``cold``: prepared at the store, then everything through one host that has never seen the object.
* ``warm``: what was prepared is read first, and every read is done twice; where a case says that the repetition must come from the cache
  (:attr:`Call.is_cached`), the store must not have been sent a byte meanwhile.
* ``hosts``: two hosts; one takes what writes, the other, which has read before what was prepared, what reads.

Stores and hosts are started when the first case wants them, and end together.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterable, Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from functools import cache
from http.client import HTTPException
from itertools import count
from pathlib import Path
from types import TracebackType
from typing import Literal, Self
from unittest.mock import patch
from urllib.parse import quote

from tests.bench.peers import seaweedfs
from tests.cashy.conformance.case import Call, Case, Response, found_texts
from tests.cashy.conformance.counting_relay import CountingRelay
from tests.cashy.conformance.wire import Wire, filled, http_date
from tests.system.harness import KEY, SECRET, DevCluster, started_store

__all__ = ["STORES", "WAYS", "Grounds", "Outcome", "StoreName", "Way"]

StoreName = Literal["moto", "seaweedfs"]
Way = Literal["direct", "cold", "warm", "hosts"]
STORES: tuple[StoreName, ...] = ("moto", "seaweedfs")
WAYS: tuple[Way, ...] = ("direct", "cold", "warm", "hosts")

#: Nothing here is larger than 12 MiB, and a block of the least size makes small objects span several.
_MEMORY, _BLOCK = "64MiB", "64KiB"


@dataclass
class Outcome:
    """What came of one run: the answers to the case's calls, and what was wrong with the first wrong one ("": nothing)."""

    answers: list[tuple[int, str]] = field(default_factory=list)
    complaint: str = ""


@dataclass(frozen=True)
class _Endpoints:
    preparing: Wire
    writing: Wire
    reading: Wire
    relay: CountingRelay | None = None
    warms: bool = False

    def of(self, call: Call) -> Wire:
        return self.reading if call.is_read else self.writing


class Grounds:
    """All that runs; a context manager."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._stack = ExitStack()
        self._numbers = count(1)
        # Each of these once, when it is first asked for.
        self._store = cache(self._start_store)
        self._one_host = cache(self._start_one_host)
        self._endpoints = cache(self._make_endpoints)
        self._bucket = cache(self._make_bucket)
        self._prepared: dict[tuple[object, ...], dict[str, str]] = {}
        self._outcomes: dict[tuple[StoreName, Way, str], Outcome] = {}

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        self._stack.close()

    # ------------------------------------------------------------ what is started

    def _start_store(self, store: StoreName) -> str:
        if store == "moto":
            return self._stack.enter_context(started_store())
        return self._stack.enter_context(_seaweedfs(self._folder / "seaweedfs"))

    def _start_hosts(self, name: str, url: str, host_count: int) -> DevCluster:
        folder = self._folder / name
        folder.mkdir()
        cluster = DevCluster(host_count, folder, f"s3={url}", memory=_MEMORY, block=_BLOCK)
        return self._stack.enter_context(cluster)

    def _start_one_host(self, store: StoreName) -> tuple[str, CountingRelay]:
        relay = self._stack.enter_context(CountingRelay(self._store(store)))
        return self._start_hosts(f"{store}-one", relay.url, 1).hosts[0].url, relay

    def _make_endpoints(self, store: StoreName, way: Way) -> _Endpoints:
        if way == "direct":
            wire = self._store_wire(store)
            return _Endpoints(wire, wire, wire)
        if way == "hosts":
            cluster = self._start_hosts(f"{store}-two", self._store(store), 2)
            writing, reading = (self._wire(host.url) for host in cluster.hosts)
            return _Endpoints(writing, writing, reading, warms=True)
        url, relay = self._one_host(store)
        wire = self._wire(url)
        return _Endpoints(self._store_wire(store), wire, wire, relay, warms=way == "warm")

    def _store_wire(self, store: StoreName) -> Wire:
        return self._stack.enter_context(Wire(self._store(store), forgives=True))

    def _wire(self, url: str) -> Wire:
        return self._stack.enter_context(Wire(url))

    def _make_bucket(self, store: StoreName, name: str) -> str:
        wire = self._endpoints(store, "direct").preparing
        _prepare(wire, Call("PUT", f"/{name}"), {"access_key": KEY, "secret": SECRET})
        return name

    # ------------------------------------------------------------ one run

    def run(self, store: StoreName, way: Way, case: Case) -> Outcome:
        """What comes of a case, which is run once however often it is asked for."""
        known = self._outcomes.get((store, way, case.name))
        if known is None:
            known = self._outcomes[store, way, case.name] = self._run(store, way, case)
        return known

    def _run(self, store: StoreName, way: Way, case: Case) -> Outcome:
        values = {**self._preparation(store, way, case), "new_bucket": f"new-{next(self._numbers)}"}
        return _outcome(self._endpoints(store, way), case.calls, values, twice=way == "warm")

    def _preparation(self, store: StoreName, way: Way, case: Case) -> dict[str, str]:
        """Makes what a case begins with, and gives the placeholders' values.

        Cases that only read share theirs, but for the cold way: there nobody may have read it.
        """
        if not case.read_only and (
            way == "cold" or case.own_bucket or not all(call.is_harmless for call in case.calls)
        ):
            return self._prepare(store, way, case)
        shared = (store, way, case.read_only, repr(case.prepared))
        if shared not in self._prepared:
            self._prepared[shared] = self._prepare(store, way, case)
        return self._prepared[shared]

    def _prepare(self, store: StoreName, way: Way, case: Case) -> dict[str, str]:
        number, group = next(self._numbers), case.name.partition("/")[0]
        is_alone = case.own_bucket or case.read_only
        values = {
            "access_key": KEY,
            "secret": SECRET,
            "bucket": self._bucket(store, f"{group}-{number}" if is_alone else f"{group}-shared"),
            "key": f"{number}-{case.name.replace('/', '-')}",
            "past": http_date(86_400),
            "future": http_date(-86_400),
        }
        endpoints = self._endpoints(store, way)
        for call in case.prepared:
            _prepare(endpoints.preparing, call, values)
        if endpoints.warms:
            for target in dict.fromkeys(call.target for call in case.prepared if _is_upload(call)):
                endpoints.reading.exchange(Call("GET", target), values)
        return values


@contextmanager
def _seaweedfs(folder: Path) -> Iterator[str]:
    """SeaweedFS with room for many buckets: each has volumes of its own, by default seven."""
    options = ("-volume.max=5000", "-master.volumeSizeLimitMB=64", "-volume.preStopSeconds=0")
    with (
        patch.dict(os.environ, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
        seaweedfs(folder, options=options) as peer,
    ):
        yield peer.url


def _is_upload(call: Call) -> bool:
    return call.method == "PUT" and "?" not in call.target and call.target.count("/") > 1


def _prepare(wire: Wire, call: Call, values: dict[str, str]) -> None:
    response = wire.exchange(call, values)
    assert response.status < 300, f"cannot prepare {call.method} {call.target}: {response}"
    _save(call, response, values)


def _outcome(endpoints: _Endpoints, calls: Iterable[Call], values: dict[str, str], *, twice: bool) -> Outcome:
    outcome = Outcome()
    for number, call in enumerate(calls, 1):
        where = f"call {number}, {call.method} {filled(call.target, values)[:200]}"
        for is_again in (False, True) if twice and call.is_read else (False,):
            asked_bytes = endpoints.relay.asked_bytes if endpoints.relay is not None else 0
            try:
                response = endpoints.of(call).exchange(call, values)
            except (OSError, HTTPException) as error:
                outcome.complaint = f"{where}: {error!r}"
                outcome.answers.append((0, type(error).__name__))
                return outcome
            complaint = complaint_about(call, response, values)
            if is_again and call.is_cached and endpoints.relay is not None:
                more = endpoints.relay.asked_bytes - asked_bytes
                complaint = complaint or (f"the store was asked again, {more} bytes" if more else "")
            if not is_again:
                outcome.answers.append(response.summary)
            if complaint:
                again = ", again" if is_again else ""
                outcome.complaint = f"{where}{again}: {complaint}"
                return outcome
        _save(call, response, values)
    return outcome


def _save(call: Call, response: Response, values: dict[str, str]) -> None:
    for name, place in call.saves.items():
        kind, _, path = place.partition(":")
        if kind == "header":
            values[name] = response.headers.get(path.lower(), "")
        else:
            text = next(iter(found_texts(response, path)), "")
            values[name] = quote(text, safe="") if kind == "query" else text


def complaint_about(call: Call, response: Response, values: Mapping[str, str]) -> str:
    """What is wrong with an answer, or ""."""
    expected = call.expected
    statuses = expected.status if isinstance(expected.status, tuple) else (expected.status,)
    shown = f"{response.status} {response.code} {response.body[:300]!r}"
    if response.status not in statuses:
        return f"{shown}, not {expected.status}"
    codes = expected.code if isinstance(expected.code, tuple) else (expected.code,)
    if expected.code and call.method != "HEAD" and response.code not in codes:
        return f"{shown}, not {expected.code}"
    for name, wanted in expected.headers.items():
        found = response.headers.get(name.lower())
        if not _fits(found, wanted, values):
            return f"{response.status} with {name} {found!r}, not {wanted!r}"
    if expected.body is not None and response.body != expected.body:
        return f"{response.status} with {len(response.body)} bytes {response.body[:80]!r}, not {len(expected.body)}"
    return next((said for check in expected.checks if (said := check(response))), "")


def _fits(found: str | None, wanted: str | re.Pattern[str] | None, values: Mapping[str, str]) -> bool:
    if found is None or wanted is None:
        return found is wanted
    if isinstance(wanted, re.Pattern):
        return wanted.fullmatch(found) is not None
    return found == filled(wanted, values)
