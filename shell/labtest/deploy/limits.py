"""How much, how many, how long: of what carries plans out."""

from __future__ import annotations

__all__ = [
    "AGENT_STEPS_MAX",
    "DESIRED_BYTES_MAX",
    "JOURNALS_KEPT",
    "JOURNAL_BYTES_MAX",
    "LOCK_HOLDER_BYTES_MAX",
    "OBSERVE_TIMEOUT_S",
    "STEPS_MAX",
    "STEP_TIMEOUT_S",
    "TARGETS_KEPT",
]

#: Steps under way on one host: enough to install while files are written; more would only make each slower.
AGENT_STEPS_MAX = 4

#: Steps under way in all: what one machine can feed with contents without the prompt noticing.
STEPS_MAX = 64

#: What a step may take beyond what its action itself allows: contents must come over slow lines.
STEP_TIMEOUT_S = 600.0

#: A host that has not told what it has by then is treated like one that does not answer. Checksums of large files take a while.
OBSERVE_TIMEOUT_S = 20.0

#: Targets whose contents are kept to go back to, the present one included.
TARGETS_KEPT = 8

#: Journals of runs that are kept for ``history``.
JOURNALS_KEPT = 50

#: A journal holds a plan and two targets; one that is larger is not one of ours.
JOURNAL_BYTES_MAX = 256 << 20

#: A desired state is a list of changes that people typed.
DESIRED_BYTES_MAX = 16 << 20

#: A line.
LOCK_HOLDER_BYTES_MAX = 1024
