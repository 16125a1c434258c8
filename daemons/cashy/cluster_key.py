"""The secret that the hosts of a cluster share, from a file.

The file's whole content is the key, but for blanks and newlines around it, so that an editor's last newline makes no
other key of it. It is held to the rules of the S3 side's credentials: whoever may read it may join the cluster
and read all that is cached, so a file that everyone may open is refused, and no message shows what is in it.
"""

from __future__ import annotations

import os
import stat
from pathlib import Path

from cashy.errors import ConfigError

__all__ = ["CLUSTER_KEY_BYTES_MAX", "CLUSTER_KEY_BYTES_MIN", "load_cluster_key"]

#: 128 bits cannot be guessed; fewer could be, from one recorded greeting.
CLUSTER_KEY_BYTES_MIN = 16
#: A larger file is something else, named by mistake.
CLUSTER_KEY_BYTES_MAX = 4096

_ADVICE = "write one with  (umask 077; head -c 32 /dev/urandom | base64 >{path})"


def load_cluster_key(path: Path) -> bytes:
    """Reads the key, 16 to 4096 bytes. Raises :class:`~cashy.errors.ConfigError` naming the file and what to do."""
    try:
        # Not blocking: a pipe named by mistake must not hang the start.
        with open(path, "rb", opener=lambda name, flags: os.open(name, flags | os.O_NONBLOCK)) as file:
            _check_status(path, os.fstat(file.fileno()))
            key = file.read(CLUSTER_KEY_BYTES_MAX + 1)
    except OSError as error:
        raise ConfigError(f"cannot read the cluster key {path}: {error.strerror}") from None
    if len(key) > CLUSTER_KEY_BYTES_MAX:
        raise ConfigError(
            f"the cluster key {path} is larger than {CLUSTER_KEY_BYTES_MAX} bytes: it must be another file"
        )
    key = key.strip()
    if len(key) < CLUSTER_KEY_BYTES_MIN:
        size = f"has {len(key)} bytes" if key else "is empty"
        raise ConfigError(
            f"the cluster key {path} {size}; it needs {CLUSTER_KEY_BYTES_MIN} or more: {_ADVICE.format(path=path)}"
        )
    return key


def _check_status(path: Path, status: os.stat_result) -> None:
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"the cluster key {path} is no regular file")
    if status.st_mode & stat.S_IRWXO:
        raise ConfigError(
            f"{path} holds the cluster's secret and everyone on this host may open it "
            f"(mode {status.st_mode & 0o777:o}): run  chmod 600 {path}"
        )
