"""Commands on the host: each in a group of its own, with a bound on time and output, and with nothing of it left when it is over.

The kernel does not end the children of a process that is killed. So a *guard* is forked before the first thread: it knows the groups that are
alive from a pipe, and ends them when that pipe ends, which is when the agent does, whatever ended it. A group is taken off the guard's list while
its leader is a zombie still, so its number cannot be somebody else's by then.
"""

from __future__ import annotations

import contextlib
import os
import selectors
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from .failures import Cancelled, Failed, failed_from
from .limits import CHUNK_BYTES, FAILURE_OUTPUT_BYTES, OUTPUT_BYTES_MAX, REAP_S, START_S, TERMINATE_S
from .requests import Request, Waker

__all__ = ["Guard", "Outcome", "Processes", "environment", "tail"]

#: What commands find programs in, besides what the agent was started with: ``sudo`` and ssh give little.
_FOLDERS = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


class Outcome(NamedTuple):
    """How a command ended; ``status`` is minus the signal that killed it."""

    status: int
    stdout: bytes
    stderr: bytes
    dropped_bytes: int


def tail(output: bytes | bytearray, bytes_max: int = FAILURE_OUTPUT_BYTES) -> str:
    """The end of an output, for an error's text."""
    text = output.strip()
    cut = text[-bytes_max:].decode("utf-8", "replace")
    return f"…{cut}" if len(text) > bytes_max else cut


def environment(more: Mapping[str, str] | None = None) -> dict[str, str]:
    """What commands see: little, the same on every host, and in English where messages are read by programs."""
    path = os.environ.get("PATH", "")
    kept = {
        "PATH": f"{path}:{_FOLDERS}" if path else _FOLDERS,
        "HOME": "/root",
        "LC_ALL": "C.UTF-8",
        "SYSTEMD_COLORS": "0",
    }
    kept["SYSTEMD_PAGER"] = ""
    kept.update(more or {})
    return kept


class Guard:
    """The process that outlives the agent by as long as it takes to end what the agent has left."""

    def __init__(self) -> None:
        reader, self._pipe = os.pipe()
        self._lock = threading.RLock()
        self._alive: set[int] = set()
        self._is_over = False
        self.process_id = os.fork()
        if self.process_id == 0:
            try:
                os.close(self._pipe)
                os.setsid()  # a signal to the agent's group is not for the guard
                _quiet()
                _guard(reader)
            finally:
                os._exit(0)
        os.close(reader)

    @contextlib.contextmanager
    def starting(self) -> Iterator[None]:
        """In here a command is started and added: the agent does not end in between, and leaves none behind. Raises :class:`Failed`."""
        with self._lock:
            if self._is_over:
                raise Failed("io", "the agent ends: nothing is started any more")
            yield

    def add(self, group: int) -> None:
        """This group ends with the agent."""
        with self._lock:
            self._alive.add(group)
            os.write(self._pipe, b"+%d\n" % group)

    def remove(self, group: int) -> None:
        """This group is over."""
        with self._lock:
            self._alive.discard(group)
            os.write(self._pipe, b"-%d\n" % group)

    def kill_all(self) -> None:
        """Ends all groups, and lets none begin. One that is just beginning is waited for, but not for ever: its program may lie on a dead mount."""
        is_alone = self._lock.acquire(timeout=START_S)
        self._is_over = True
        for group in [*self._alive]:
            _kill_group(group, signal.SIGKILL)
        if is_alone:
            self._lock.release()


def _quiet() -> None:
    """Lets go of the connection: it must end with the agent."""
    nothing = os.open(os.devnull, os.O_RDWR)
    for descriptor in range(3):
        os.dup2(nothing, descriptor)


def _guard(reader: int) -> None:
    for number in (signal.SIGHUP, signal.SIGINT, signal.SIGTERM):
        signal.signal(number, signal.SIG_IGN)
    alive: set[int] = set()
    for descriptor in os.listdir("/proc/self/fd"):
        if int(descriptor) not in (0, 1, 2, reader):
            try:
                os.close(int(descriptor))
            except OSError:
                pass  # that was the folder itself
    with os.fdopen(reader, "rb") as lines:
        for line in lines:
            group = int(line[1:])
            (alive.add if line[:1] == b"+" else alive.discard)(group)
    for group in alive:
        _kill_group(group, signal.SIGKILL)


def _kill_group(group: int, number: int) -> None:
    try:
        os.killpg(group, number)
    except (ProcessLookupError, PermissionError):
        pass  # it is over


class Processes:
    """Starts commands and sees them through."""

    def __init__(self, guard: Guard) -> None:
        self._guard = guard

    def start(
        self,
        argv: Sequence[str],
        *,
        env: Mapping[str, str] | None = None,
        folder: str = "/",
        stdin: int = subprocess.DEVNULL,
        stderr: int = subprocess.PIPE,
    ) -> subprocess.Popen[bytes]:
        """Starts a command whose output is a pipe; give it to :meth:`end` whatever happens. Raises :class:`Failed`."""
        with self._guard.starting():
            process = self._started(argv, env, folder, stdin, stderr)
            try:
                self._guard.add(process.pid)
            except OSError as error:
                _kill_group(process.pid, signal.SIGKILL)
                process.wait()
                raise Failed(
                    "io", "the agent's guard is gone: nothing is started that might be left behind"
                ) from error
            return process

    def _started(
        self, argv: Sequence[str], env: Mapping[str, str] | None, folder: str, stdin: int, stderr: int
    ) -> subprocess.Popen[bytes]:
        try:
            return subprocess.Popen(
                list(argv),
                stdin=stdin,
                stdout=subprocess.PIPE,
                stderr=stderr,
                env=environment(env),
                cwd=folder,
                start_new_session=True,
                bufsize=0,
            )
        except OSError as error:
            raise failed_from(error, f"starting {argv[0]}") from error
        except ValueError as error:  # a zero byte
            raise Failed("io", f"starting {argv[0]!r}: {error}") from error

    def end(self, process: subprocess.Popen[bytes], *, terminate_s: float = 0.0) -> int:
        """Ends a command with all its group, politely first if ``terminate_s`` is not 0, and gives its status."""
        if terminate_s and not _is_over(process.pid):
            _kill_group(process.pid, signal.SIGTERM)
            deadline = time.monotonic() + terminate_s
            while not _is_over(process.pid) and time.monotonic() < deadline:
                time.sleep(REAP_S)
        _kill_group(process.pid, signal.SIGKILL)
        os.waitid(os.P_PID, process.pid, os.WEXITED | os.WNOWAIT)
        self._guard.remove(process.pid)
        status = process.wait()
        for pipe in (process.stdin, process.stdout, process.stderr):
            if pipe is not None:
                pipe.close()
        return status

    def run(
        self,
        request: Request | None,
        argv: Sequence[str],
        *,
        stdin: bytes = b"",
        env: Mapping[str, str] | None = None,
        folder: str = "/",
        timeout_s: float,
        output_bytes_max: int = OUTPUT_BYTES_MAX,
    ) -> Outcome:
        """Runs a command to its end; what is left of its group then is ended too. Raises :class:`Failed` (``timeout``, ``not-found``, …)."""
        process = self.start(argv, env=env, folder=folder, stdin=subprocess.PIPE)
        waker = Waker()
        try:
            if request is not None:
                request.wake_with(waker.wake)
            pump = _Pump(process, stdin, min(output_bytes_max, OUTPUT_BYTES_MAX), waker)
            pump.until_over(request, time.monotonic() + timeout_s)
        except Cancelled:
            self.end(process, terminate_s=TERMINATE_S)
            raise
        except Failed as failure:
            self.end(process, terminate_s=TERMINATE_S)
            said = tail(pump.stderr or pump.stdout)
            more = f"; it had said:\n{said}" if said else ""
            raise Failed(failure.code, f"{argv[0]} did not end within {timeout_s:g} s{more}") from failure
        except BaseException:
            self.end(process)
            raise
        finally:
            waker.close()
        status = self.end(process)
        return Outcome(status, bytes(pump.stdout), bytes(pump.stderr), pump.dropped_bytes)


def _is_over(process_id: int) -> bool:
    """Whether a child has ended; it stays a zombie."""
    return os.waitid(os.P_PID, process_id, os.WEXITED | os.WNOHANG | os.WNOWAIT) is not None


class _Pump:
    """Standard input out, both outputs in, until the command is over."""

    def __init__(
        self, process: subprocess.Popen[bytes], stdin: bytes, output_bytes_max: int, waker: Waker
    ) -> None:
        assert process.stdin is not None
        assert process.stdout is not None
        assert process.stderr is not None
        self._process = process
        self._stdin = memoryview(stdin)
        self._room = output_bytes_max
        self._waker = waker
        self.stdout = bytearray()
        self.stderr = bytearray()
        self.dropped_bytes = 0
        self._selector = selectors.DefaultSelector()
        self._selector.register(waker, selectors.EVENT_READ, None)
        self._selector.register(process.stdout, selectors.EVENT_READ, self.stdout)
        self._selector.register(process.stderr, selectors.EVENT_READ, self.stderr)
        self._open = 2
        for pipe in (process.stdin, process.stdout, process.stderr):
            os.set_blocking(pipe.fileno(), False)
        if stdin:
            self._selector.register(process.stdin, selectors.EVENT_WRITE, None)
        else:
            process.stdin.close()

    def until_over(self, request: Request | None, deadline: float) -> None:
        """Pumps. Raises :class:`Cancelled`, or :class:`Failed` with ``timeout``."""
        try:
            while not (self._open == 0 and _is_over(self._process.pid)):
                left = deadline - time.monotonic()
                if left <= 0:
                    raise Failed("timeout", "")
                # A grandchild may hold the outputs open for ever, so the command itself is looked at from time to time.
                wait = min(left, REAP_S if self._open == 0 else 10 * REAP_S)
                events = self._selector.select(wait)
                if request is not None:
                    request.check()
                for key, _ in events:
                    self._serve(key)
                if not events and self._open and _is_over(self._process.pid):
                    return
        finally:
            self._selector.close()

    def _serve(self, key: selectors.SelectorKey) -> None:
        if key.fileobj is self._waker:
            self._waker.drain()
        elif key.fileobj is self._process.stdin:
            self._write()
        else:
            self._read(key)

    def _write(self) -> None:
        pipe = self._process.stdin
        assert pipe is not None
        try:
            self._stdin = self._stdin[os.write(pipe.fileno(), self._stdin[:CHUNK_BYTES]) :]
        except BlockingIOError:
            return
        except BrokenPipeError:
            self._stdin = self._stdin[:0]  # it does not want the rest
        if not self._stdin:
            self._selector.unregister(pipe)
            pipe.close()

    def _read(self, key: selectors.SelectorKey) -> None:
        pipe = key.fileobj
        assert not isinstance(pipe, int)
        try:
            data = os.read(key.fd, CHUNK_BYTES)
        except BlockingIOError:
            return
        if not data:
            self._selector.unregister(pipe)
            self._open -= 1
            return
        kept = data[: self._room]
        self._room -= len(kept)
        self.dropped_bytes += len(data) - len(kept)
        key.data.extend(kept)
