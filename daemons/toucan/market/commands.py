"""``toucan record`` and ``toucan replay``."""

from __future__ import annotations

import asyncio
import contextlib
import datetime
import json
import os
import signal
import socket
import sys
import threading
from collections import Counter
from pathlib import Path

import click

from hostkit.heartbeat import Heartbeat
from hostkit.log import configure_logging
from hostkit.notify import notify
from toucan.market.address import feed_address
from toucan.market.core.messages import FeedWelcome
from toucan.market.core.pace import Pace
from toucan.market.core.recording import Ending
from toucan.market.limits import (
    FLUSH_S,
    ROTATE_BYTES,
    ROTATE_BYTES_MIN,
    STEP_LINE_CHARACTERS_MAX,
    STEP_RECORDS_MAX,
    SYNC_S,
)
from toucan.market.listening import unix_listener
from toucan.market.recorder import Recorder
from toucan.market.recording_files import UnusableRecording, read_recording
from toucan.market.replay import Replay

__all__ = ["record_command", "replay_command"]

_FILE = click.Path(path_type=Path, dir_okay=False)
_MIB = 1 << 20
_BACKLOG = 64


@click.command(name="record")
@click.option(
    "--feed",
    required=True,
    envvar="TOUCAN_FEED",
    metavar="PATH|HOST:PORT",
    help="The venue's feed of market data. [env: TOUCAN_FEED]",
)
@click.option(
    "--out",
    type=_FILE,
    required=True,
    help="File to write. What is there already is kept under FILE.000001 and so on.",
)
@click.option(
    "--rotate-mib",
    type=click.FloatRange(min=ROTATE_BYTES_MIN / _MIB),
    default=ROTATE_BYTES / _MIB,
    show_default=True,
    help="From this size on another file is begun.",
)
def record_command(feed: str, out: Path, rotate_mib: float) -> None:
    """Write a venue's market data (top of book, depth, trades) to a file, until SIGTERM or SIGINT.

    Prints one line of JSON when it writes, and one with what was recorded in the end.
    """
    configure_logging("info", "console")
    recorder = Recorder(feed_address(feed), out, rotate_bytes=int(rotate_mib * _MIB))
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, lambda *_: recorder.stop())
    heartbeat = Heartbeat(lambda: f"recording to {out}; {recorder.counts.records:,} records")
    is_ready = False

    def heard() -> None:
        nonlocal is_ready
        if not is_ready:
            is_ready = True
            notify(READY="1")
            _say({"ready": True, "out": str(out), "pid": os.getpid()})
        heartbeat.beat()

    recorder.on_heard = heard
    recorder.run()
    counts = recorder.counts
    _say(
        {
            "recorded": True, "out": str(out), "records": counts.records, "bytes": counts.written_bytes, "files": counts.files,
            "lines_missed": counts.lines_missed, "feed_losses": counts.losses,
        }
    )  # fmt: skip


assert record_command.help is not None
record_command.help += f"\n\nA kill loses at most the last {FLUSH_S:g} s, a power cut {SYNC_S:g} s; what a file lacks is told when it is played."


@click.command(name="replay")
@click.argument("file", type=_FILE)
@click.option(
    "--listen",
    type=_FILE,
    help="Unix socket where the recording is served as a feed; only this user can open it.",
)
@click.option(
    "--speed",
    type=click.FloatRange(min=0, min_open=True),
    default=1.0,
    show_default=True,
    help="2 plays it in half the time.",
)
@click.option(
    "--from",
    "from_text",
    metavar="TIME",
    help="Begin there: 2026-01-31T14:30:00 (UTC unless it says otherwise), or +90: seconds after the beginning.",
)
@click.option("--repeat", is_flag=True, help="Begin again when it is over.")
@click.option(
    "--step",
    is_flag=True,
    help="Play by hand: each line on standard input plays one record, a number so many, `go` all, `hold` none. It says how many were played.",
)
@click.option(
    "--check",
    is_flag=True,
    help="Play nothing: read all of it, and tell what is in it. Exit code 1 if a file is not whole.",
)
@click.option("--ready", is_flag=True, help="Print one line of JSON when it serves.")
def replay_command(
    file: Path,
    listen: Path | None,
    speed: float,
    from_text: str | None,
    repeat: bool,
    step: bool,
    check: bool,
    ready: bool,
) -> None:
    """Play recorded market data as a venue's feed, until SIGTERM or SIGINT.

    Front ends follow it if it is their venue's `market_data` in toucan.toml; `toucan dev --replay-market FILE` has all of that. When it is over it
    is served on, as data that are stale. FILE.000001 and so on are played before FILE.
    """
    configure_logging("info", "console")
    if check:
        sys.exit(_check(file))
    if listen is None:
        raise click.UsageError("say where it is served: --listen PATH (or --check to only read it)")
    if speed == float("inf"):
        raise click.UsageError("a speed is a number; 1000 is as fast as most recordings can be read")
    from_ns = None if from_text is None else _point_in_time(from_text, file)
    replay = Replay(file, Pace(speed, is_held=step), from_ns=from_ns, repeats=repeat)
    with unix_listener(listen) as listener:
        asyncio.run(_serve(replay, listener, str(listen), is_stepped=step, announces_ready=ready))


async def _serve(
    replay: Replay, listener: socket.socket, listen: str, *, is_stepped: bool, announces_ready: bool
) -> None:
    """Until a signal, or until it cannot be played."""
    loop, stop = asyncio.get_running_loop(), asyncio.Event()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    serving = await loop.create_unix_server(replay.publisher.accept, sock=listener, backlog=_BACKLOG)
    replay.publisher.start()
    heartbeat = Heartbeat(lambda: f"playing; {replay.played:,} records")
    playing, stopping = loop.create_task(replay.run()), loop.create_task(stop.wait())
    beating = loop.create_task(heartbeat.run())
    if is_stepped:
        replay.on_held = lambda: _say({"played": replay.played, "at_ns": replay.at_ns})
        threading.Thread(target=_read_steps, args=(loop, replay), name="steps", daemon=True).start()
    notify(READY="1")
    if announces_ready:
        _say({"ready": True, "listen": listen, "pid": os.getpid()})
    try:
        await asyncio.wait({playing, stopping}, return_when=asyncio.FIRST_COMPLETED)
        if playing.done() and playing.exception() is None:
            await stopping
        elif playing.done():
            playing.result()
    finally:
        notify(STOPPING="1")
        for task in (playing, stopping, beating):
            task.cancel()
        await asyncio.gather(playing, stopping, beating, return_exceptions=True)
        serving.close()
        await replay.publisher.close()


def _read_steps(loop: asyncio.AbstractEventLoop, replay: Replay) -> None:
    """A thread: lines of standard input, until it ends."""
    while line := sys.stdin.readline(STEP_LINE_CHARACTERS_MAX):
        with contextlib.suppress(RuntimeError):  # the loop has ended
            loop.call_soon_threadsafe(_heed, replay, line.strip())


def _heed(replay: Replay, word: str) -> None:
    if word == "go":
        replay.pace.go_on()
    elif word == "hold":
        replay.pace.hold()
    elif word == "" or (word.isascii() and word.isdigit() and 0 < int(word) <= STEP_RECORDS_MAX):
        replay.pace.step(int(word or 1))
    else:
        _say({"error": f"{word!r} is no step: an empty line, a number up to {STEP_RECORDS_MAX}, go or hold"})
    replay.poke()


def _point_in_time(text: str, file: Path) -> int:
    """In ns since the epoch."""
    if text.startswith("+"):
        try:
            after_ns = int(float(text[1:]) * 1e9)
        except (ValueError, OverflowError):
            raise click.BadParameter(f"{text!r}: write +SECONDS, such as +90", param_hint="--from") from None
        first = next(read_recording(file, lambda _file, _ending: None), None)
        if first is None:
            raise UnusableRecording(f"{file} has nothing to play")
        return first.at_ns + after_ns
    try:
        point = datetime.datetime.fromisoformat(text)
    except ValueError:
        raise click.BadParameter(
            f"{text!r}: write a time such as 2026-01-31T14:30:00, or +SECONDS", param_hint="--from"
        ) from None
    if point.tzinfo is None:
        point = point.replace(tzinfo=datetime.UTC)
    return int(point.timestamp() * 1e9)


def _check(file: Path) -> int:
    endings: list[dict[str, object]] = []

    def tell(path: Path, ending: Ending) -> None:
        endings.append(
            {
                "file": str(path),
                "read_bytes": ending.read_bytes,
                "unread_bytes": ending.unread_bytes,
                "why": "damaged" if ending.is_damage else "cut off",
            }
        )

    kinds: Counter[str] = Counter()
    times: list[int] = []
    symbols: set[str] = set()
    for record in read_recording(file, tell):
        kinds[type(record.message).__name__] += 1
        times[1:] = [record.at_ns]
        if isinstance(record.message, FeedWelcome):
            symbols.update(one.symbol for one in record.message.instruments)
    _say(
        {
            "records": sum(kinds.values()), "messages": dict(kinds), "symbols": sorted(symbols),
            "first_at_ns": times[0] if times else None, "last_at_ns": times[-1] if times else None,
            "not_whole": endings,
        }
    )  # fmt: skip
    return 1 if endings else 0


def _say(line: dict[str, object]) -> None:
    print(json.dumps(line), flush=True)
