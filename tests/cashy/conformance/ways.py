"""The stores, the ways to them, and how all cases are run along them.

Law. Every way runs the same calls and looks at every answer; only who is asked differs:

* ``direct``: the store itself. What it fails here it fails without us.
* ``cold``: prepared at the store, then everything through one host that has never seen the object.
* ``warm``: what was prepared is read first, and every read is done twice; where a case says that the repetition must come from the cache
  (:attr:`Call.is_cached`), the store must not have been sent a byte meanwhile.
* ``hosts``: two hosts; one takes what writes, the other, which has read before what was prepared, what reads.

Each way has hosts of its own and runs its cases one after the other, in a thread: what takes time is in other processes, so the ways run beside
each other from the first question on.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from contextlib import ExitStack
from dataclasses import dataclass, field
from http.client import HTTPException
from itertools import count
from pathlib import Path
from threading import Lock
from types import TracebackType
from typing import Literal, Self
from urllib.parse import quote

from tests.cashy.conformance.case import Call, Case, Response, found_texts
from tests.cashy.conformance.counting_relay import CountingRelay
from tests.cashy.conformance.wire import Wire, filled, http_date, signed_as_of_then
from tests.system.harness import KEY, SECRET, DevCluster

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
    """All cases on all ways, begun at once; a context manager. ``stores`` are the URLs of the running stores."""

    def __init__(self, folder: Path, stores: Mapping[StoreName, str], cases: Sequence[Case]) -> None:
        self._cases = cases
        self._tracks = [
            _Track(folder / f"{name}-{way}", url, way) for name, url in stores.items() for way in WAYS
        ]
        self._names: list[tuple[StoreName, Way]] = [(name, way) for name in stores for way in WAYS]
        self._stack = ExitStack()
        self._runs: dict[tuple[StoreName, Way], Future[dict[str, Outcome]]] = {}

    def __enter__(self) -> Self:
        self._stack.enter_context(signed_as_of_then())
        threads = self._stack.enter_context(ThreadPoolExecutor(len(self._tracks)))
        for name, track in zip(self._names, self._tracks, strict=True):
            self._runs[name] = threads.submit(track.run_all, self._cases)
        return self

    def __exit__(self, *_: type[BaseException] | BaseException | TracebackType | None) -> None:
        for run in self._runs.values():
            run.cancel()
        self._stack.close()

    def outcomes(self, store: StoreName, way: Way) -> dict[str, Outcome]:
        """What came of each case, by its name; waits for the last one."""
        return self._runs[store, way].result()


#: For names of buckets and keys, which differ between all ways.
_numbers = count(1)
_buckets: set[tuple[str, str]] = set()
_making_buckets = Lock()


class _Track:
    """One way to one store."""

    def __init__(self, folder: Path, url: str, way: Way) -> None:
        self._folder, self._url, self._way = folder, url, way
        self._stack = ExitStack()
        self._prepared: dict[tuple[object, ...], dict[str, str]] = {}

    def run_all(self, cases: Sequence[Case]) -> dict[str, Outcome]:
        with self._stack:
            self._store = self._stack.enter_context(Wire(self._url, forgives=True))
            self._endpoints = self._make_endpoints()
            return {case.name: self._run(case) for case in cases}

    # ------------------------------------------------------------ what is started

    def _make_endpoints(self) -> _Endpoints:
        if self._way == "direct":
            return _Endpoints(self._store, self._store, self._store)
        if self._way == "hosts":
            writing, reading = self._hosts(self._url, 2)
            return _Endpoints(writing, writing, reading, warms=True)
        relay = self._stack.enter_context(CountingRelay(self._url))
        (wire,) = self._hosts(relay.url, 1)
        return _Endpoints(self._store, wire, wire, relay, warms=self._way == "warm")

    def _hosts(self, url: str, host_count: int) -> list[Wire]:
        self._folder.mkdir()
        cluster = DevCluster(host_count, self._folder, f"s3={url}", memory=_MEMORY, block=_BLOCK)
        self._stack.enter_context(cluster)
        return [self._stack.enter_context(Wire(host.url)) for host in cluster.hosts]

    def _bucket(self, name: str) -> str:
        with _making_buckets:
            if (self._url, name) not in _buckets:
                _prepare(self._store, Call("PUT", f"/{name}"), {"access_key": KEY, "secret": SECRET})
                _buckets.add((self._url, name))
        return name

    # ------------------------------------------------------------ one case

    def _run(self, case: Case) -> Outcome:
        try:
            values = {**self._preparation(case), "new_bucket": f"new-{next(_numbers)}"}
        except AssertionError as error:
            return Outcome(complaint=str(error))
        return _outcome(self._endpoints, case.calls, values, twice=self._way == "warm")

    def _preparation(self, case: Case) -> dict[str, str]:
        """Makes what a case begins with, and gives the placeholders' values.

        Cases that only read share theirs, but for the cold way: there nobody may have read it.
        """
        if not case.read_only and (
            self._way == "cold" or case.own_bucket or not all(call.is_harmless for call in case.calls)
        ):
            return self._prepare(case)
        shared = (case.read_only, repr(case.prepared))
        if shared not in self._prepared:
            self._prepared[shared] = self._prepare(case)
        return self._prepared[shared]

    def _prepare(self, case: Case) -> dict[str, str]:
        number, group = next(_numbers), case.name.partition("/")[0]
        is_alone = case.own_bucket or case.read_only
        values = {
            "access_key": KEY,
            "secret": SECRET,
            "bucket": self._bucket(f"{group}-{number}" if is_alone else f"{group}-shared"),
            "key": f"{number}-{case.name.replace('/', '-')}",
            "past": http_date(86_400),
            "future": http_date(-86_400),
        }
        for call in case.prepared:
            _prepare(self._endpoints.preparing, call, values)
        if self._endpoints.warms:
            for target in dict.fromkeys(call.target for call in case.prepared if _is_upload(call)):
                self._endpoints.reading.exchange(Call("GET", target), values)
        return values


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
