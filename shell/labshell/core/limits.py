"""Bounds of what the shell's pure part takes in and gives back.

Law: a bound stands here with its reason, and what is over it is refused with a message or cut with a mark, never silently.
"""

from __future__ import annotations

__all__ = [
    "ARGUMENT_WORDS_MAX",
    "CANDIDATES_NAMED_MAX",
    "COMPLETIONS_MAX",
    "HABITS_TOTAL_MAX",
    "HEARD_STEP_S",
    "JOBS_KEPT_MAX",
    "LINE_CHARACTERS_MAX",
    "READINGS_MAX",
    "SET_HOSTS_MAX",
    "SIGNIFICANT_DIGITS_MAX",
    "STALE_AFTER_S",
    "SUGGESTIONS_MAX",
    "TEXT_CHARACTERS_MAX",
]

#: Of a line at the prompt. Somebody who pastes a file has made a mistake; the tries of inference grow with the words.
LINE_CHARACTERS_MAX = 16_384

#: Words that one parameter takes (``restart a b c …``); a host set says more with fewer.
ARGUMENT_WORDS_MAX = 256

#: Ways to read one line that an ambiguity lists; a person chooses among few.
READINGS_MAX = 8

#: Suggestions for one completion: more than fit on a screen help nobody.
COMPLETIONS_MAX = 200

#: Candidates that an error names before it says "and N more".
CANDIDATES_NAMED_MAX = 8

#: Names an error proposes for one that is unknown.
SUGGESTIONS_MAX = 3

#: Hosts that one set may stand for, so that ``a[1-99999999]`` is a message and not all memory.
SET_HOSTS_MAX = 100_000

#: Digits of a number in a host's name that are folded; longer ones are no counters, and stay text.
SIGNIFICANT_DIGITS_MAX = 9

#: Sum of all counts of habits, after which all of them are aged (zoxide's way: what is no longer used leaves by itself).
HABITS_TOTAL_MAX = 10_000.0

#: Ended jobs that are still listed.
JOBS_KEPT_MAX = 50

#: A host that is up and has given no sign for this long is shown as stale: agents give one every 5 s at least, so two were missed.
STALE_AFTER_S = 12.0

#: Signs of a host that are closer together than this change nothing that anybody sees.
HEARD_STEP_S = 0.5

#: Of one text of a host (a reason, a status line) that is kept: it is shown on one line.
TEXT_CHARACTERS_MAX = 1_000
