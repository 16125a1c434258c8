"""Bounds of the interactive program, each with its reason."""

from __future__ import annotations

__all__ = [
    "ATTACH_GRACE_S",
    "AUDIT_ARGUMENT_CHARACTERS_MAX",
    "AUDIT_WRITE_S",
    "CRASHES_MAX",
    "CRASH_WINDOW_S",
    "DOUBLE_INTERRUPT_S",
    "DRAIN_S",
    "END_GRACE_S",
    "FLOOD_LINES_MAX",
    "FLUSH_INTERVAL_S",
    "FLUSH_LINES_MAX",
    "HISTORY_LINES_MAX",
    "ITEMS_MAX",
    "JOBS_ALIVE_MAX",
    "JOBS_KEPT_MAX",
    "LINE_CHARACTERS_MAX",
    "PASTE_CHARACTERS_MAX",
    "QUIT_AGAIN_S",
    "REDRAW_INTERVAL_S",
    "REFRESH_INTERVAL_S",
    "REPORT_AGAIN_S",
    "RING_LINES_MAX",
    "SCRIPT_LINE_BYTES_MAX",
    "SHOW_RUNNING_AFTER_S",
    "STOP_POLL_S",
    "TERMINAL_PENDING_BYTES_MAX",
    "TRACES_KEPT_MAX",
]

#: Lines of one command that wait to be shown. A command that prints more at once loses the oldest; `labshell -c` into a file loses none.
RING_LINES_MAX = 10_000

#: Between two writes of output: 20 a second look continuous, and each costs one redraw of the prompt.
FLUSH_INTERVAL_S = 0.05

#: Lines of all commands together in one write: 4,000 a second, more than anybody reads. A key's echo waits behind them in the pipe.
FLUSH_LINES_MAX = 200

#: Of a command that prints more than can be shown: 1,000 a second already look like a flood, and with 200 in a write keys took twice as long.
FLOOD_LINES_MAX = 50

#: Of one line that is shown; whoever needs more of it writes it into a file.
LINE_CHARACTERS_MAX = 4_000

#: Bytes that a terminal has not taken yet. Over it the terminal is stuck (a sleeping laptop): what waits is thrown away, and all is drawn anew later.
TERMINAL_PENDING_BYTES_MAX = 256 * 1024

#: Until a terminal has taken what waits, before it is handed over or left.
DRAIN_S = 1.0

#: Between two redraws of prompt and bottom line because something has changed.
REDRAW_INTERVAL_S = 0.1

#: Between two redraws when nothing has: ages are shown in seconds.
REFRESH_INTERVAL_S = 1.0

#: A command that takes less is not named in the bottom line, which would flicker.
SHOW_RUNNING_AFTER_S = 0.3

#: Jobs that run or wait. A person who has more has pasted something wrong.
JOBS_ALIVE_MAX = 64

#: Ended jobs that `jobs` still lists.
JOBS_KEPT_MAX = 50

#: Values of one command's JSON list; the oldest stay, since the list says that it was cut.
ITEMS_MAX = 100_000

#: Two Ctrl-C within this time leave a command that does not end to itself.
DOUBLE_INTERRUPT_S = 1.0

#: How long a cancelled command may take at the end of the program, until it is left behind.
END_GRACE_S = 6.0

#: A second Ctrl-D within this time ends the program although changes are under way.
QUIT_AGAIN_S = 5.0

#: The prompt is started again after a crash, but not more often than this within the window: it would crash for ever.
CRASHES_MAX = 3
CRASH_WINDOW_S = 10.0

#: An attached program that shall end has this long after SIGHUP until SIGKILL.
ATTACH_GRACE_S = 2.0

#: Between two looks whether an attached program, and what it had in front, has ended.
END_POLL_S = 0.01

#: Between two looks whether an attached program was stopped (Ctrl-Z).
STOP_POLL_S = 0.2

#: Lines of the history file.
HISTORY_LINES_MAX = 2_000

#: Of one paste. A command's line has at most 16,384.
PASTE_CHARACTERS_MAX = 65_536

#: Of one line of a script.
SCRIPT_LINE_BYTES_MAX = 65_536

#: Characters of one argument in the audit log; a line stays short enough to be written at once.
AUDIT_ARGUMENT_CHARACTERS_MAX = 4_000

#: Until a record must be on the disk. A change that cannot be recorded is not begun.
AUDIT_WRITE_S = 5.0

#: Until the same fault of the program is told again: one in the bottom line comes back with each redraw.
REPORT_AGAIN_S = 30.0

#: Files with traces of unexpected errors; the oldest go.
TRACES_KEPT_MAX = 20
