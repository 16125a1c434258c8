"""No secret is where people and programs look: logs, metrics, process lists, what commands print, what a daemon says when it dies."""

from __future__ import annotations

import base64
import contextlib
import io
import os
import signal
import urllib.error
import urllib.request
from collections.abc import Iterator
from contextlib import redirect_stderr, redirect_stdout
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from cashy.cli import main

from .harness import KEY, SECRET, DevCluster, s3_client, started_store, wait_until
from .reading import wait_until_joined

pytestmark = pytest.mark.system

#: Each as nothing else is written; the origin's and the session's stand in the environment, since they were given there.
CLUSTER_KEY = "marked-cluster-key-3f9c1a7e5b"
OTHER_SECRET = "marked-s3-secret-of-another-key-81d2"
STORE_SECRET = "marked-secret-at-the-store-6b7d0e"
ORIGIN_SECRET = "marked-origin-secret-5e0c44"
SESSION_TOKEN = "marked-session-token-c2a99f"


def of_key(text: str) -> list[str]:
    """The lines of a private key, and its bytes in hexadecimal as a dump may show them."""
    lines = [line for line in text.splitlines() if line and not line.startswith("-----")]
    return [*lines, base64.b64decode("".join(lines))[-60:-20].hex()]


class Found:
    """Everything that was said, by where."""

    def __init__(self) -> None:
        self.texts: dict[str, str] = {}

    def add(self, where: str, text: str | bytes) -> None:
        self.texts[where] = text.decode(errors="replace") if isinstance(text, bytes) else text

    def with_any(self, secrets: list[str]) -> list[str]:
        return [
            f"{where}: {secret[:30]}"
            for where, text in self.texts.items()
            for secret in secrets
            if secret in text
        ]


def daemons(cluster: DevCluster) -> list[int]:
    pid = cluster.process.pid
    children = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return [pid, *map(int, children)]


def run(*arguments: object) -> str:
    """All that a command prints; none of these becomes a daemon."""
    said = io.StringIO()
    with redirect_stdout(said), redirect_stderr(said), pytest.raises(SystemExit):
        main([str(argument) for argument in arguments])
    return said.getvalue()


def get(url: str) -> bytes:
    try:
        with urllib.request.urlopen(url, timeout=20) as answer:
            return bytes(answer.read()) + str(answer.headers).encode()
    except urllib.error.HTTPError as error:
        return bytes(error.read()) + str(error.headers).encode()


@pytest.fixture
def cluster(tmp_path: Path) -> Iterator[DevCluster]:
    (tmp_path / "cluster.key").write_text(CLUSTER_KEY)
    (tmp_path / "cluster.key").chmod(0o600)
    config = f'[cluster]\nkey_file = "{tmp_path / "cluster.key"}"\n[log]\nlevel = "debug"\n'
    more = (
        f'[key.OTHER]\nsecret = "{OTHER_SECRET}"\nbuckets = ["*"]\nrights = "read-write"\nstore_key = "THERE"\n'
        f'store_secret = "{STORE_SECRET}"\n'
    )
    with started_store() as store, contextlib.closing(s3_client(store)) as direct:
        direct.create_bucket(Bucket="bucket")
        direct.put_object(Bucket="bucket", Key="key", Body=bytes(3_000_000))
        given = {
            "AWS_SECRET_ACCESS_KEY": ORIGIN_SECRET, "AWS_SESSION_TOKEN": SESSION_TOKEN, "PYTHONFAULTHANDLER": "1",
        }  # fmt: skip
        with DevCluster(
            2, tmp_path, f"s3={store}", block="1MiB", config=config, more_keys=more, variables=given
        ) as running:
            wait_until_joined(running)
            yield running


def use_it(cluster: DevCluster, found: Found) -> None:
    """Reads and writes, allowed and not, and every error that carries what somebody sent."""
    one, two = cluster.hosts
    other: Any = one.s3(key="OTHER", secret=OTHER_SECRET)
    other.put_object(Bucket="bucket", Key="new", Body=b"new")
    presigned = other.generate_presigned_url("get_object", {"Bucket": "bucket", "Key": "key"}, ExpiresIn=60)
    found.add("a signed URL's answer", get(presigned)[-2000:])
    found.add("a URL with a wrong signature", get(presigned[:-3] + "abc"))
    for host in (one, two):
        host.s3().get_object(Bucket="bucket", Key="key")["Body"].read()
    wrong = two.s3(key="OTHER", secret="not the secret")
    with pytest.raises(ClientError) as refused:
        wrong.get_object(Bucket="bucket", Key="key")
    found.add("a refusal", repr(refused.value.response))


def listen_to(cluster: DevCluster, found: Found, tmp_path: Path) -> None:
    """All that can be asked or overheard."""
    socket = cluster.hosts[0].socket
    for host in cluster.hosts:
        for url in (host.metrics["master"], *host.metrics["s3"]):
            found.add(url, get(url))
    found.add("top", run("top", "--json", "--once", "--interval", "0.2", "--socket", socket))
    found.add("stat", run("stat", "s3://bucket/key", "--socket", socket))
    found.add("stat of nothing", run("stat", "s3://bucket/nothing", "--socket", socket))
    # Settings that are wrong beside ones that are secret, and a file of keys named where settings are wanted.
    files = {"config": "cashy.toml", "credentials": "credentials.toml"}
    (tmp_path / "wrong.toml").write_text((tmp_path / files["config"]).read_text() + "[s3]\nwrong = 1\n")
    found.add("wrong settings", run("master", "--config", tmp_path / "wrong.toml"))
    found.add("keys as settings", run("master", "--config", tmp_path / files["credentials"]))
    found.add("a key as settings", run("master", "--config", tmp_path / "cluster.key"))
    found.add("a key as certificate", run("ca", "show", tmp_path / "cluster.key"))
    found.add(
        "a file of keys with a mistake",
        run("s3", "--config", os.devnull, "--credentials", broken_keys(tmp_path), "--socket", socket),
    )


def broken_keys(tmp_path: Path) -> Path:
    path = tmp_path / "broken-keys.toml"
    path.write_text(f'[key.A]\nsecret = "{OTHER_SECRET}"\nsecrets = "{STORE_SECRET}"\n')
    path.chmod(0o600)
    return path


def test_secrets_are_where_they_were_put_and_nowhere_else(cluster: DevCluster, tmp_path: Path) -> None:
    found = Found()
    hosts_folders = {
        Path(argument).parent
        for pid in daemons(cluster)
        for argument in Path(f"/proc/{pid}/cmdline").read_text().split("\0")
        if argument.endswith("/hosts/host1.pem")
    }
    (made,) = hosts_folders
    keys = [of_key(path.read_text()) for path in made.glob("*.key")]
    assert len(keys) == 2
    assert not (made.parent / "ca-key.pem").exists(), (
        "the authority's key is forgotten once the hosts have theirs"
    )
    secrets = [CLUSTER_KEY, OTHER_SECRET, STORE_SECRET, SECRET, *(line for key in keys for line in key)]
    given = [ORIGIN_SECRET, SESSION_TOKEN]

    use_it(cluster, found)
    listen_to(cluster, found, tmp_path)
    environments = Found()
    for pid in daemons(cluster):
        found.add(f"command line of {pid}", Path(f"/proc/{pid}/cmdline").read_bytes())
        environments.add(f"environment of {pid}", Path(f"/proc/{pid}/environ").read_bytes())
    os.kill(cluster.hosts[0].master_pid(), signal.SIGHUP)
    pid = cluster.hosts[1].master_pid()
    os.kill(pid, signal.SIGABRT)  # with the stacks of its threads, as the watchdog has it
    cluster.hosts[1].wait_for_other_master(pid)
    wait_until(lambda: "Fatal Python error: Aborted" in cluster.log(), what="the stacks in the log")
    found.add("the log", cluster.log())
    assert found.with_any(secrets + given) == []
    assert environments.with_any(secrets) == []
    # And the search would have found them.
    assert KEY in found.texts["the log"] or "peer_up" in found.texts["the log"]
    assert "cashy_blocks_total" in found.texts[cluster.hosts[0].metrics["master"]]
    assert environments.with_any(given) != []
    assert Path(tmp_path / "cluster.key").read_text() == CLUSTER_KEY
    assert "unknown key" in found.texts["wrong settings"]
