"""Limits of live environments: how long calls take at most, and how much is collected."""

from __future__ import annotations

__all__ = [
    "APPLY_TIMEOUT_S",
    "ASK_TIMEOUT_S",
    "CLOSE_TIMEOUT_S",
    "COLLECT_TIMEOUT_S",
    "COMMAND_TIMEOUT_MAX_S",
    "COMMAND_TIMEOUT_S",
    "CONNECT_TIMEOUT_S",
    "FILE_BYTES_MAX",
    "INSIDE_TIMEOUT_S",
    "INTERRUPT_GRACE_S",
    "JOURNAL_BYTES_MAX",
    "JOURNAL_LINES_MAX",
    "JOURNAL_READERS_MAX",
    "LAST_ASK_TIMEOUT_S",
    "LOG_LINES_MAX",
    "OPEN_TIMEOUT_S",
    "PING_TIMEOUT_S",
    "PLAN_TRIES_MAX",
    "POLL_S",
    "SHOWN_LINES_MAX",
]

#: Reading a spec, rendering it, and reading what is kept about it. Not hosts: those have limits of their own.
OPEN_TIMEOUT_S = 60.0

#: A question that a host answers from memory. One that is cut off or frozen never does.
ASK_TIMEOUT_S = 10.0

#: The last question before a deadline gets at least this long, or a wait would end with "no answer" of a host that is well.
LAST_ASK_TIMEOUT_S = 2.0

#: A command, unless the test says otherwise.
COMMAND_TIMEOUT_S = 60.0

#: What is told to the host: the caller's own limit comes first, and cancels the command there.
COMMAND_TIMEOUT_MAX_S = 86_400.0

#: A whole plan: each step has its own limit, so this is only for what hangs in a way that nobody has thought of.
APPLY_TIMEOUT_S = 1800.0

#: Until all hosts answer. One that was just booted takes half a second; a tired machine takes longer.
CONNECT_TIMEOUT_S = 30.0

#: A connection over which nothing comes in this time after faults were healed is made anew: TCP would need many seconds, or for ever if the host
#: has lost its power meanwhile.
PING_TIMEOUT_S = 2.0

#: Ending all connections.
CLOSE_TIMEOUT_S = 15.0

#: How long what is under way may take to be cancelled on the hosts after Ctrl-C.
INTERRUPT_GRACE_S = 5.0

#: A plan is outdated by a unit that restarts at that moment; more often in a row it will not stop doing so.
PLAN_TRIES_MAX = 3

#: Between two looks at a state that is waited for.
POLL_S = 0.05

#: A file that is read from a host at once.
FILE_BYTES_MAX = 16 * 2**20

#: Log lines that a test gets at once; the last ones.
LOG_LINES_MAX = 20_000

#: For one host, when a failed test's evidence is collected: it may be frozen.
COLLECT_TIMEOUT_S = 8.0

#: For the state of a unit of a host that did not answer over the network: if it is frozen, systemd does not answer either.
INSIDE_TIMEOUT_S = 2.0

#: Of each unit, the last of what it logged since the test began: what is larger nobody reads, and a run may have many failures.
JOURNAL_LINES_MAX = 10_000
JOURNAL_BYTES_MAX = 2 * 2**20

#: journalctl processes at a time, all hosts together.
JOURNAL_READERS_MAX = 8

#: Of a process that is not well, in the report on the terminal.
SHOWN_LINES_MAX = 20
