"""``cashy get``: reads an object through the host's cache into a file or to standard output."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
import tempfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import BinaryIO

import click

__all__ = ["get_command"]


@click.command(name="get")
@click.argument("url")
@click.option(
    "-o",
    "--output",
    default="-",
    metavar="FILE",
    help="File to write, replaced only when all has arrived; - is standard output. [default: -]",
)
@click.option("--socket", "socket_path", metavar="PATH", help="The master's socket. [default: $CASHY_SOCKET]")
@click.option("--checksum", is_flag=True, help="Print a line `sha256  URL` on standard error at the end.")
@click.option(
    "--progress/--no-progress",
    default=None,
    help="Show a progress bar. [default: if standard error is a terminal]",
)
def get_command(
    url: str, output: str, socket_path: str | None, checksum: bool, progress: bool | None
) -> int:  # numbers of a transfer are bytes
    """Read the object URL (s3://BUCKET/KEY or file:///PATH) through the cache."""
    import cashy

    if output == "-" and sys.stdout.isatty():
        raise click.UsageError("standard output is a terminal; give -o FILE, or pipe the bytes on")
    digest = hashlib.sha256() if checksum else None
    with cashy.connect(socket_path) as cache, cache.open(url) as obj:
        show = sys.stderr.isatty() if progress is None else progress
        with _output(output) as sink, _progress(url, obj.size, show) as advance:
            for block in obj.blocks():
                sink.write(block)
                if digest is not None:
                    digest.update(block)
                advance(block.nbytes)
    if digest is not None:
        print(f"{digest.hexdigest()}  {url}", file=sys.stderr)
    return 0


@contextlib.contextmanager
def _output(output: str) -> Iterator[BinaryIO]:
    """Standard output, or a new file that takes its name only when it is complete; a pipe or device is written to as it is."""
    if output == "-":
        yield sys.stdout.buffer
        sys.stdout.buffer.flush()
        return
    target = Path(output)
    if target.is_dir():
        raise IsADirectoryError(f"{output} is a directory; name the file")
    if target.exists() and not target.is_file():  # a file in its place would end /dev/null for everybody
        with target.open("wb") as sink:
            yield sink
        return
    with tempfile.NamedTemporaryFile(
        dir=target.parent, prefix=f".{target.name[:100]}.", delete=False
    ) as partial:
        try:
            yield partial  # type: ignore[misc]
            partial.flush()
            os.fchmod(partial.fileno(), 0o666 & ~_umask())
            os.replace(partial.name, target)
        except BaseException:
            os.unlink(partial.name)
            raise


def _umask() -> int:
    """The process's mask, which can only be read by setting it."""
    mask = os.umask(0o077)
    os.umask(mask)
    return mask


@contextlib.contextmanager
def _progress(url: str, size_bytes: int, show: bool) -> Iterator[Callable[[int], None]]:
    """A bar on standard error; gives the function that is told how many bytes came."""
    if not show:
        yield lambda count: None
        return
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}", markup=False),
        BarColumn(),
        DownloadColumn(binary_units=True),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(stderr=True)) as bar:
        task = bar.add_task(url.rpartition("/")[2] or url, total=size_bytes)
        yield lambda count: bar.advance(task, count)
