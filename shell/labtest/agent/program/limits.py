"""Limits of the agent's program, each with its reason. Both ends of a connection read them here."""

from __future__ import annotations

__all__: list[str] = []

#: Changes whenever one end would misunderstand the other. The digest of the source is compared too: this is for people.
PROTOCOL_VERSION = 1

#: A frame's payload. The largest is the list of a release's source files: 30,000 of them.
FRAME_BYTES_MAX = 8 * 2**20
#: A piece of a file or of a command's output: large enough that the header costs nothing, small enough that signs of life get through between two.
CHUNK_BYTES = 256 * 2**10
#: How much of a file is asked for at a time: it covers 20 ms of way at 200 MB/s, and is all that can be under way for one request.
ASK_BYTES = 4 * 2**20

#: Each end sends a sign of life this often, whatever else it sends…
BEAT_S = 1.0
#: …so an agent from which not one byte comes for so long hangs, or is cut off. Four beats may be lost in a host's hiccup.
SILENCE_S = 5.0
#: The agent waits longer: a shell that was stopped for a moment keeps its locks.
CLIENT_SILENCE_S = 30.0

#: Each request is a thread. A shell has a few for each host; more wait on the side that asks.
REQUESTS_MAX = 64
#: Stack of such a thread: nothing here recurses.
STACK_BYTES = 512 * 2**10

#: Standard input of a command: it is sent within the request's reach, not streamed.
STDIN_BYTES_MAX = 64 * 2**20
#: A command's outputs together, whatever the caller allows.
OUTPUT_BYTES_MAX = 64 * 2**20
#: A file that is read whole.
READ_BYTES_MAX = 256 * 2**20
#: A command that has been ended is given this long to die by SIGTERM before SIGKILL.
TERMINATE_S = 1.0
#: How often a command that has closed its outputs is looked at.
REAP_S = 0.02
#: An agent that ends waits so long for a command that is just being started, to end that one too.
START_S = 2.0

#: ``systemctl show`` of watched units: two calls a second keep a change within a second…
UNITS_POLL_S = 0.5
#: …unless they take more than this share of the time: then fewer, but still one in the longest time.
UNITS_POLL_SHARE = 0.05
UNITS_POLL_MAX_S = 5.0
#: ``systemctl show`` answers at once, unless PID 1 hangs.
SYSTEMCTL_TIMEOUT_S = 30.0
#: One that leaves out units that it was asked for is called again.
SHOW_TRIES_MAX = 3
#: The manager may have to read thousands of units again.
DAEMON_RELOAD_TIMEOUT_S = 120.0
#: How many of a failed unit's last lines its error shows.
FAILURE_LOG_LINES = 10
#: How much of a failed command's output its error shows.
FAILURE_OUTPUT_BYTES = 4096

#: An error's text: what is in the middle of more is left out.
PROBLEM_CHARACTERS_MAX = 16384

#: At most one batch of log lines in this time: fifty a second look fluent.
BATCH_S = 0.02
#: Batches that may be under way, unacknowledged: the rest waits, and is dropped and counted, at the source.
BATCHES_UNDER_WAY = 4
#: Lines of one batch, and its text: a screen shows fewer, and 25,000 lines a second are more than can be read.
BATCH_LINES_MAX = 500
BATCH_BYTES_MAX = 2**20
#: A message is cut after so many characters.
LINE_CHARACTERS_MAX = 8192
#: An entry of the journal that is longer is not looked at: a core dump's may have hundreds of MiB.
ENTRY_BYTES_MAX = 2**20
#: Share of one core that parsing may take; what is beyond is dropped and counted.
LOG_CPU_SHARE = 0.3
#: Messages that may be asked for from before now.
BACKLOG_LINES_MAX = 1_000_000

#: A health check's answer is looked at only for its status.
HEALTH_TRY_TIMEOUT_S = 5.0
#: Never asks more often than this, whatever the spec says.
HEALTH_INTERVAL_MIN_S = 0.05

#: A manifest of more has been tampered with.
MANIFEST_BYTES_MAX = 64 * 2**20
#: The manifest's own lock is held while it is written.
MANIFEST_LOCK_TIMEOUT_S = 20.0
#: Who holds an environment's lock, in words.
HOLDER_BYTES_MAX = 4096
