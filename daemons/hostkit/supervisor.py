"""Keeps a few child processes running: waits until they are ready, restarts the fallen, takes all down at the end.

A child cannot outlive its supervisor, even one that is killed outright: the kernel sends it SIGTERM when
its parent dies (PR_SET_PDEATHSIG). A child that falls before it was ever ready is a failure of the start
and is not tried again, since its message (wrong setting, port taken) would only repeat; one that served
before is restarted with growing pauses, and given up when it falls too often.
"""

from __future__ import annotations

import ctypes
import fcntl
import os
import selectors
import signal
import socket
import subprocess
import time
from collections import deque
from collections.abc import Callable, Iterable, Mapping, Sequence
from types import FrameType, TracebackType
from typing import Any

from hostkit.notify import LISTEN_DESCRIPTORS_START, NotifyReceiver

__all__ = ["Child", "ChildFailed", "Supervisor"]

#: Allocating and zeroing an arena of tens of GiB is the longest part of a start.
START_TIMEOUT_S = 120.0
#: Children that start at the same time share the cores: each takes a second or two of one.
START_TIMEOUT_PER_CHILD_S = 5.0
#: An orderly stop closes sockets and removes shared memory; what takes longer hangs, and is killed.
STOP_TIMEOUT_S = 10.0
#: The pause before a restart doubles from the first to the second value.
RESTART_PAUSE_MIN_S, RESTART_PAUSE_MAX_S = 0.1, 5.0
#: More falls than this within the window mean that restarting does not help.
RESTARTS_MAX, RESTARTS_WINDOW_S = 5, 60.0

_PR_SET_PDEATHSIG = 1  # linux/prctl.h


class ChildFailed(Exception):
    """A child process did not start, or fell too often."""


class Child:
    """One supervised program and its present process; in the end it is stopped before the one it ``leans_on``.

    ``listeners`` are the supervisor's, which keeps them open: they are passed to each of the processes (sd_listen_fds(3)), so that what waits in them
    while there is none is served by the next, and not refused.
    """

    def __init__(
        self,
        name: str,
        arguments: list[str],
        environment: Mapping[str, str],
        *,
        leans_on: Child | None = None,
        listeners: Sequence[socket.socket] = (),
    ) -> None:
        self.name = name
        self.listeners = listeners
        self.leans_on = leans_on
        self.arguments = arguments
        self.environment = dict(environment)
        self.process: subprocess.Popen[bytes] | None = None
        self.ready = False
        self.was_ready = False
        self.notified: dict[str, str] = {}  # all that it said, the last value of each name
        self.falls: deque[float] = deque()
        self.restart_at: float | None = None

    def start(self) -> None:
        """Starts the process, in a group of its own: a terminal's Ctrl-C is for the supervisor to pass on."""
        self.ready = False
        self.restart_at = None
        self.process = subprocess.Popen(
            self.arguments,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=2,  # the supervisor's standard output is for its own one line
            process_group=0,
            preexec_fn=self._in_child(os.getpid()),
        )

    def _in_child(self, parent_pid: int) -> Callable[[], None]:
        die_with = _die_with(parent_pid)
        if not self.listeners:
            return die_with

        def in_child() -> None:
            die_with()
            self._execute_with_listeners()

        return in_child

    def _execute_with_listeners(self) -> None:
        """In the child: it is the only one who knows its own process id, which the variables must name, before the program begins."""
        start = LISTEN_DESCRIPTORS_START
        beyond = start + len(self.listeners)
        copies = [fcntl.fcntl(one.fileno(), fcntl.F_DUPFD_CLOEXEC, beyond) for one in self.listeners]
        for place, copy in enumerate(copies, start):
            os.dup2(copy, place)
        own = {"LISTEN_PID": str(os.getpid()), "LISTEN_FDS": str(len(copies))}
        os.execve(self.arguments[0], self.arguments, self.environment | own)  # noqa: S606 - a shell is what is not wanted

    def signal(self, number: int) -> None:
        """Sends a signal if the process runs."""
        if self.process is not None and self.process.poll() is None:
            self.process.send_signal(number)


def _die_with(parent_pid: int) -> Callable[[], None]:
    prctl = ctypes.CDLL(None, use_errno=True).prctl

    def in_child() -> None:
        prctl(_PR_SET_PDEATHSIG, signal.SIGTERM, 0, 0, 0)
        if os.getppid() != parent_pid:  # it died before the line above
            os._exit(1)

    return in_child


class Supervisor:
    """Runs children on one thread; use as a context manager, which stops them all in the end.

    SIGTERM and SIGINT end :meth:`wait_ready` and :meth:`run` with ``stopping`` set. ``log`` is a structlog
    logger.
    """

    def __init__(self, receiver: NotifyReceiver, log: Any) -> None:
        self.stopping = False
        self._receiver = receiver
        self._log = log
        self._children: list[Child] = []
        self._selector = selectors.DefaultSelector()
        # Signals wake the selector through a socket pair; a handler alone would be retried over (PEP 475).
        self._wake_reader, self._wake_writer = socket.socketpair()
        for end in (self._wake_reader, self._wake_writer):
            end.setblocking(False)
        self._selector.register(self._wake_reader, selectors.EVENT_READ)
        self._selector.register(receiver, selectors.EVENT_READ)
        self._old_handlers: dict[int, Any] = {}
        self._old_wakeup = -1

    def __enter__(self) -> Supervisor:
        self._old_wakeup = signal.set_wakeup_fd(self._wake_writer.fileno(), warn_on_full_buffer=False)
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            self._old_handlers[number] = signal.signal(number, self._on_stop_signal)
        self._old_handlers[signal.SIGCHLD] = signal.signal(signal.SIGCHLD, lambda *_: None)
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.stop_all()
        signal.set_wakeup_fd(self._old_wakeup)
        for number, handler in self._old_handlers.items():
            signal.signal(number, handler)
        self._selector.close()
        self._wake_reader.close()
        self._wake_writer.close()

    def _on_stop_signal(self, number: int, frame: FrameType | None) -> None:
        self.stopping = True

    def start(self, child: Child) -> None:
        """Starts a child and keeps it running from now on."""
        self._children.append(child)
        child.start()

    def wait_ready(self, children: Iterable[Child], timeout_s: float | None = None) -> bool:
        """Waits until all serve; False if a stop was asked for meanwhile. Raises ChildFailed.

        ``timeout_s`` is a time that even slow starts take, unless given.
        """
        waiting = list(children)
        timeout_s = timeout_s or START_TIMEOUT_S + START_TIMEOUT_PER_CHILD_S * len(waiting)
        deadline = time.monotonic() + timeout_s
        while not self.stopping and not all(child.ready for child in waiting):
            remaining = deadline - time.monotonic()
            if remaining <= 0:
                names = ", ".join(child.name for child in waiting if not child.ready)
                raise ChildFailed(
                    f"{names} did not become ready within {timeout_s:.0f} s; the log above may say why"
                )
            self._step(remaining)
        return not self.stopping

    def run(self) -> None:
        """Keeps the children running until a stop signal. Raises ChildFailed when one falls too often."""
        while not self.stopping:
            self._step(None)

    def stop_all(self) -> None:
        """Stops the children, those last that others lean on, and kills what does not stop in time."""
        self.stopping = True
        leaning = [child for child in self._children if child.leans_on is not None]
        for group in (leaning, [child for child in self._children if child.leans_on is None]):
            for child in group:
                child.signal(signal.SIGTERM)
            deadline = time.monotonic() + STOP_TIMEOUT_S
            for child in group:
                self._await_end(child, deadline)

    def _await_end(self, child: Child, deadline: float) -> None:
        if child.process is None:
            return
        try:
            child.process.wait(max(0.0, deadline - time.monotonic()))
        except subprocess.TimeoutExpired:
            self._log.warning("child does not stop, killing it", child=child.name, pid=child.process.pid)
            child.process.kill()
            child.process.wait()

    def _step(self, timeout_s: float | None) -> None:
        """Waits for one event (a notification, a fall, a restart that is due, a signal) and handles it."""
        now = time.monotonic()
        due = [child.restart_at - now for child in self._children if child.restart_at is not None]
        limits = [*due, *([] if timeout_s is None else [timeout_s])]
        self._selector.select(max(0.0, min(limits)) if limits else None)
        self._drain_wake_ups()
        self._take_notifications()
        if self.stopping:
            return
        for child in self._children:
            if child.restart_at is not None and child.restart_at <= time.monotonic():
                child.start()
            elif child.process is not None and child.restart_at is None and child.process.poll() is not None:
                self._on_fall(child, child.process)

    def _drain_wake_ups(self) -> None:
        try:
            while self._wake_reader.recv(4096):
                pass
        except BlockingIOError:
            pass

    def _take_notifications(self) -> None:
        for notification in self._receiver.receive():
            for child in self._children:
                if child.process is not None and child.process.pid == notification.pid:
                    child.notified.update(notification.fields)
                    if notification.fields.get("READY") == "1":
                        child.ready = child.was_ready = True
                        self._log.info("child is ready", child=child.name, pid=notification.pid)

    def _on_fall(self, child: Child, process: subprocess.Popen[bytes]) -> None:
        how = _describe_exit(process.returncode)
        if not child.was_ready:
            raise ChildFailed(f"{child.name} did not start ({how}); its own message is above")
        now = time.monotonic()
        child.falls.append(now)
        while child.falls[0] < now - RESTARTS_WINDOW_S:
            child.falls.popleft()
        if len(child.falls) > RESTARTS_MAX:
            raise ChildFailed(
                f"{child.name} fell {len(child.falls)} times within {RESTARTS_WINDOW_S:.0f} s (last: {how}); giving up"
            )
        pause_s = min(RESTART_PAUSE_MAX_S, RESTART_PAUSE_MIN_S * 2 ** (len(child.falls) - 1))
        child.restart_at = now + pause_s
        child.ready = False
        self._log.warning("child fell, restarting it", child=child.name, how=how, pause_s=pause_s)


def _describe_exit(return_code: int) -> str:
    if return_code >= 0:
        return f"exit status {return_code}"
    try:
        return f"killed by {signal.Signals(-return_code).name}"
    except ValueError:
        return f"killed by signal {-return_code}"
