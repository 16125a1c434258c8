"""Reading with credentials that end: from a real program and a real container service, against a store that verifies key and token."""

from __future__ import annotations

import asyncio
import datetime
import json
import sys
import threading
from collections.abc import Iterator
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path

import pytest

from cashy.errors import AccessDenied
from cashy.origin.credentials import default_credentials
from cashy.origin.s3 import S3Origin

from .conformance import fails_with, reads
from .region_store import Key, RegionStore, region_store

# Gives the key "K<n>" with the token "T<n>" for as many seconds as the file "lifetime" says, and fails while there is none.
PROGRAM = """
import datetime, json, pathlib, sys
folder = pathlib.Path(sys.argv[1])
count = folder / "count"
number = int(count.read_text()) + 1 if count.exists() else 0
lifetime_s = float((folder / "lifetime").read_text())
count.write_text(str(number))
ends = datetime.datetime.now(datetime.timezone.utc) + datetime.timedelta(seconds=lifetime_s)
print(json.dumps({"Version": 1, "AccessKeyId": f"K{number}", "SecretAccessKey": f"S{number}", "SessionToken": f"T{number}",
                  "Expiration": ends.isoformat()}))
"""


@pytest.fixture(autouse=True)
def no_other_credentials(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


@pytest.fixture
def store() -> Iterator[RegionStore]:
    with region_store(bucket="us-east-1") as store:
        store.objects["bucket", "key"] = b"data"
        store.keys = {f"K{number}": Key(f"S{number}", f"T{number}") for number in range(9)}
        yield store


@pytest.fixture
def program(tmp_path: Path) -> Path:
    """The folder in which a configured ``credential_process`` keeps its state."""
    script = tmp_path / "give credentials.py"
    script.write_text(PROGRAM)
    config = f'[default]\ncredential_process = "{sys.executable}" "{script}" "{tmp_path}"\n'
    (tmp_path / "config").write_text(config)
    (tmp_path / "lifetime").write_text("3600")
    return tmp_path


async def origin_at(store: RegionStore) -> S3Origin:
    return S3Origin("store", store.url(), credentials=await default_credentials())


def forget_pauses(origin: S3Origin) -> None:
    """As if the time between two tries had passed."""
    origin._keys._retry_at = origin._keys._refused_until = 0.0


def test_program_gives_credentials_once_while_they_last(program: Path, store: RegionStore) -> None:
    async def main() -> None:
        origin = await origin_at(store)
        for _ in range(3):
            assert await reads(origin, "bucket", "key") == b"data"
        assert {seen.access_key for seen in store.seen} == {"K0"}
        assert {seen.status for seen in store.seen} == {206}
        await origin.close()

    asyncio.run(main())


def test_program_is_asked_again_before_they_end(program: Path, store: RegionStore) -> None:
    (program / "lifetime").write_text("300")  # less than the 15 min at which a refresh is advised

    async def main() -> None:
        origin = await origin_at(store)
        assert await reads(origin, "bucket", "key") == b"data"
        before = store.seen[-1].access_key
        forget_pauses(origin)
        assert await reads(origin, "bucket", "key") == b"data"  # does not wait for the program
        while origin.counters()["credential_refreshes_total"] < 2:
            await asyncio.sleep(0.01)
        assert await reads(origin, "bucket", "key") == b"data"
        assert store.seen[-1].access_key != before
        assert [seen.status for seen in store.seen] == [206] * 3
        await origin.close()

    asyncio.run(main())


def test_old_credentials_serve_until_they_end(program: Path, store: RegionStore) -> None:
    (program / "lifetime").write_text("4")  # within the margin of 60 s: each is used for want of better ones

    async def main() -> None:
        origin = await origin_at(store)
        assert await reads(origin, "bucket", "key") == b"data"
        (program / "lifetime").unlink()
        forget_pauses(origin)
        assert await reads(origin, "bucket", "key") == b"data"
        assert origin.counters()["credential_failures_total"] == 1
        while not origin._keys._has_ended():
            await asyncio.sleep(0.05)
        forget_pauses(origin)
        error = await fails_with(AccessDenied, origin, "bucket", "key")
        assert "AWS chain" in str(error)
        assert "credential process" in str(error).lower() or "custom-process" in str(error)
        for _ in range(20):  # told at once, without starting the program each time
            await fails_with(AccessDenied, origin, "bucket", "key")
        assert origin.counters()["credential_failures_total"] <= 4
        (program / "lifetime").write_text("3600")
        forget_pauses(origin)
        assert await reads(origin, "bucket", "key") == b"data"
        await origin.close()

    asyncio.run(main())


@pytest.fixture
def container_service(monkeypatch: pytest.MonkeyPatch) -> Iterator[list[str]]:
    """Where a container asks for its role: each answer is another key. Gives the authorizations that it saw."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def log_message(self, format: str, *args: object) -> None:
            """Says nothing."""

        def do_GET(self) -> None:
            number = len(asked)
            asked.append(self.headers.get("authorization", ""))
            ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=120)
            said = {"AccessKeyId": f"K{number}", "SecretAccessKey": f"S{number}", "Token": f"T{number}"}
            body = json.dumps(said | {"Expiration": ends.isoformat()}).encode()
            self.send_response(200)
            self.send_header("content-length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as server:
        thread = threading.Thread(target=server.serve_forever, kwargs={"poll_interval": 0.01})
        thread.start()
        monkeypatch.setenv(
            "AWS_CONTAINER_CREDENTIALS_FULL_URI", f"http://127.0.0.1:{server.server_address[1]}/role"
        )
        monkeypatch.setenv("AWS_CONTAINER_AUTHORIZATION_TOKEN", "letmein")
        try:
            yield asked
        finally:
            server.shutdown()
            thread.join()


def test_container_service_gives_short_lived_ones(container_service: list[str], store: RegionStore) -> None:
    async def main() -> None:
        origin = await origin_at(store)
        for _ in range(4):
            assert await reads(origin, "bucket", "key") == b"data"
            forget_pauses(origin)
            refreshes = origin.counters()["credential_refreshes_total"]
            assert await reads(origin, "bucket", "key") == b"data"
            while origin.counters()["credential_refreshes_total"] == refreshes:
                await asyncio.sleep(0.005)
        assert set(container_service) == {"letmein"}
        assert len({seen.access_key for seen in store.seen}) >= 4
        assert {seen.status for seen in store.seen} == {206}
        await origin.close()

    asyncio.run(main())


def test_store_refuses_a_token_that_is_not_the_keys(program: Path, store: RegionStore) -> None:
    """What makes the tests above mean something."""
    store.keys["K0"] = Key("S0", "another token")

    async def main() -> None:
        origin = await origin_at(store)
        await fails_with(AccessDenied, origin, "bucket", "key")
        await origin.close()

    asyncio.run(main())
