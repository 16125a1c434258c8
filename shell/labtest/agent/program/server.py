"""The agent itself: one thread reads the connection and answers for being alive, each request has one of its own.

The main thread never does anything that can take long, so its signs of life say that requests are taken. When the connection ends everything that
was started here ends, and this process with it, at once; units go on, they belong to systemd.
"""

from __future__ import annotations

import json
import os
import platform
import select
import signal
import threading
import time
import traceback
from collections.abc import Callable
from typing import Any

from . import frames
from .actions import Host, boot_id
from .failures import Cancelled, Failed, failed_from
from .files import read_file
from .journal import follow_logs
from .limits import (
    BEAT_S,
    CHUNK_BYTES,
    CLIENT_SILENCE_S,
    FRAME_BYTES_MAX,
    PROBLEM_CHARACTERS_MAX,
    PROTOCOL_VERSION,
    REQUESTS_MAX,
    STACK_BYTES,
    STDIN_BYTES_MAX,
)
from .locks import hold
from .processes import Guard, Processes
from .requests import Request, encode

__all__ = ["Server"]

Operation = Callable[[Request], "dict[str, Any]"]


class Server:
    """Serves one connection."""

    def __init__(self, reader: int, writer: int, guard: Guard, options: dict[str, str]) -> None:
        self._reader = reader
        self._writer = writer
        self._write_lock = threading.Lock()
        self._guard = guard
        self._run_folder = options["run_folder"]
        self._processes = Processes(guard)
        self._host = Host(self._processes, options["state_folder"])
        self._requests: dict[int, Request] = {}
        self._requests_lock = threading.Lock()
        self._operations: dict[str, Operation] = {
            "observe": self._host.observe,
            "do": lambda request: {"said": self._host.do(request)},
            "run": self._run,
            "read-file": self._read_file,
            "units": self._units,
            "logs": self._logs,
            "lock": self._lock,
        }

    # ------------------------------------------------------------ the connection

    def serve(self, digest: str) -> None:
        """Serves until the connection ends, and does not return."""
        for number in (signal.SIGTERM, signal.SIGHUP, signal.SIGINT):
            signal.signal(number, lambda *_: self._exit())
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)
        threading.stack_size(STACK_BYTES)
        try:
            hello = {
                "protocol": PROTOCOL_VERSION,
                "digest": digest,
                "python": platform.python_version(),
                "user_id": os.geteuid(),
                "process_id": os.getpid(),
                "boot_id": boot_id(),
            }
            self._write(frames.MAGIC)
            self._send(frames.HELLO, 0, encode(hello))
            self._read_all()
        except (OSError, frames.FrameError):
            pass  # the connection is over, or carries what is none of ours: in both cases nobody can be told
        finally:
            self._exit()

    def _read_all(self) -> None:
        reader = frames.FrameReader()
        heard_at = time.monotonic()
        beat_at = heard_at + BEAT_S
        while True:
            ready = select.select([self._reader], [], [], max(0.0, beat_at - time.monotonic()))[0]
            now = time.monotonic()
            if ready:
                data = os.read(self._reader, CHUNK_BYTES)
                if not data:
                    return
                heard_at = now
                for frame in reader.feed(data):
                    self._take(frame)
            elif now - heard_at > CLIENT_SILENCE_S:
                return
            if now >= beat_at:
                beat_at = now + BEAT_S
                self._send(frames.BEAT, 0, b"")

    def _take(self, frame: frames.Frame) -> None:
        if frame.kind == frames.BEAT:
            return
        if frame.kind == frames.REQUEST:
            self._begin(frame)
            return
        with self._requests_lock:
            request = self._requests.get(frame.request)
        if request is None:
            return  # it has just been answered
        if frame.kind == frames.BLOB:
            request.blob(frame.payload)
        elif frame.kind == frames.CANCEL:
            request.cancel()
        elif frame.kind == frames.ACKNOWLEDGE:
            request.acknowledge()
        else:
            raise frames.FrameError(f"a frame of kind {frame.kind} is not for an agent")

    def _write(self, data: bytes) -> None:
        rest = memoryview(data)
        while rest:
            rest = rest[os.write(self._writer, rest) :]

    def _send(self, kind: int, number: int, payload: bytes) -> None:
        frame = frames.pack_frame(kind, number, payload)
        with self._write_lock:
            self._write(frame)

    def _exit(self) -> None:
        self._guard.kill_all()
        os._exit(0)

    # ------------------------------------------------------------ requests

    def _begin(self, frame: frames.Frame) -> None:
        try:
            arguments = json.loads(frame.payload)
            name = arguments["op"]
        except (ValueError, KeyError, TypeError) as error:
            raise frames.FrameError(f"a request that is none: {error}") from error
        request = Request(frame.request, arguments, self._send)
        with self._requests_lock:
            if frame.request in self._requests:
                raise frames.FrameError(f"a second request {frame.request}")
            is_too_many = len(self._requests) >= REQUESTS_MAX
            if not is_too_many:
                self._requests[frame.request] = request
        if is_too_many:
            self._send_error(request, Failed("io", f"more than {REQUESTS_MAX} requests at a time"))
            return
        threading.Thread(
            target=self._carry_out, args=(request, name), daemon=True, name=f"{name} {request.number}"
        ).start()

    def _carry_out(self, request: Request, name: str) -> None:
        try:
            self._answer(request, name)
        except (OSError, frames.FrameError):
            self._exit()  # the connection is over

    def _answer(self, request: Request, name: str) -> None:
        try:
            operation = self._operations.get(name)
            if operation is None:
                raise Failed("not-allowed", f"there is no operation {name!r}")
            answer = operation(request)
            payload = encode(answer)
            if len(payload) > FRAME_BYTES_MAX:
                raise Failed("too-large", f"the answer to {name} has {len(payload)} bytes")
        except Cancelled:
            self._end(request)
            self._send_error(request, Failed("cancelled", "it was not wanted any more"))
        except Failed as failure:
            self._end(request)
            self._send_error(request, failure)
        except OSError as error:
            self._end(request)
            self._send_error(request, failed_from(error))
        except Exception:  # a fault of ours: told where it was asked, not lost here
            self._end(request)
            self._send_error(request, Failed("io", f"the agent failed:\n{traceback.format_exc()}"))
        else:
            self._end(request)
            self._send(frames.RESULT, request.number, payload)

    def _end(self, request: Request) -> None:
        """Before the answer, so that whoever has it may ask again at once."""
        with self._requests_lock:
            self._requests.pop(request.number, None)

    def _send_error(self, request: Request, failure: Failed) -> None:
        error = {"code": failure.code, "problem": _bounded(failure.problem), **failure.details}
        self._send(frames.ERROR, request.number, encode(error))

    # ------------------------------------------------------------ operations

    def _run(self, request: Request) -> dict[str, Any]:
        arguments = request.arguments
        if arguments["stdin_bytes"] > STDIN_BYTES_MAX:
            raise Failed("too-large", f"standard input has more than {STDIN_BYTES_MAX} bytes")
        outcome = self._processes.run(
            request,
            arguments["argv"],
            stdin=b"".join(request.content("stdin", arguments["stdin_bytes"])),
            env=arguments["env"],
            folder=arguments["folder"],
            timeout_s=arguments["timeout_s"],
            output_bytes_max=arguments["output_bytes_max"],
        )
        for output in (outcome.stdout, outcome.stderr):
            for start in range(0, len(output), CHUNK_BYTES):
                request.send_blob(output[start : start + CHUNK_BYTES])
        return {
            "status": outcome.status,
            "stdout_bytes": len(outcome.stdout),
            "dropped_bytes": outcome.dropped_bytes,
        }

    def _read_file(self, request: Request) -> dict[str, Any]:
        read_file(request, request.arguments["path"], request.arguments["size_max"])
        return {}

    def _units(self, request: Request) -> dict[str, Any]:
        self._host.units.watch(request)
        return {}

    def _logs(self, request: Request) -> dict[str, Any]:
        follow_logs(request, self._processes)
        return {}

    def _lock(self, request: Request) -> dict[str, Any]:
        hold(request, self._run_folder, request.arguments["environment"], request.arguments["holder"])
        return {}


def _bounded(problem: str) -> str:
    if len(problem) <= PROBLEM_CHARACTERS_MAX:
        return problem
    half = PROBLEM_CHARACTERS_MAX // 2 - 1
    return f"{problem[:half]}…{problem[-half:]}"
