"""Limits of the side that asks, each with its reason. Those that both sides keep are in :mod:`labtest.agent.program.limits`."""

from __future__ import annotations

from labtest.agent.program.limits import REQUESTS_MAX

__all__: list[str] = []

#: What a login shell may print before the agent's first words: a long message of the day.
PREAMBLE_BYTES_MAX = 64 * 2**10
#: From the start of ssh to the agent's first words, beyond the time that connecting may take: a loaded host starts Python slowly.
HELLO_TIMEOUT_S = 30.0
#: How much of the agent's (and ssh's) standard error is kept, for messages.
STDERR_BYTES_MAX = 16 * 2**10
#: Of that, what says why a connection has ended.
LAST_LINES = 5
#: An ended connection's last words come within this time.
STDERR_TIMEOUT_S = 0.5
#: A cancelled call waits so long for the host to say that it is over: a command has one second to end by SIGTERM.
CANCEL_TIMEOUT_S = 2.0
#: An agent whose connection ends does not linger; ssh may have to say goodbye.
CLOSE_TIMEOUT_S = 2.0
#: Calls at a time to one host, and streams (units, logs, locks), which stay for long. Together fewer than the host takes, so that a call which is
#: just ending there does not make the next one fail.
CALLS_MAX = 40
STREAMS_MAX = 16
assert CALLS_MAX + STREAMS_MAX < REQUESTS_MAX
#: Bytes that wait for the connection; whoever sends files waits beyond.
OUTGOING_BYTES_MAX = 2**20
#: Read from the connection at a time.
READ_BYTES = 256 * 2**10
