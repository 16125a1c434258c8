"""``toucan`` without a command: the interactive prompt.

In reading order: :mod:`~toucan.cli.prompt.picture` (what is known, and the bottom line), :mod:`~toucan.cli.prompt.news` (what it says by itself),
:mod:`~toucan.cli.prompt.completion`, then the threads that follow the server (:mod:`~toucan.cli.prompt.feed`), their lines above the prompt
(:mod:`~toucan.cli.prompt.above`), and the terminal (:mod:`~toucan.cli.prompt.terminal`).
"""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from toucan.cli.command import ConnectionOptions

__all__ = ["run_prompt"]


def run_prompt(options: ConnectionOptions) -> int:
    """Runs the prompt on the terminal until its end; returns the exit code."""
    if os.environ.get("TERM", "dumb") == "dumb":
        # It can do lines and nothing else: no completion, no blotter line, nothing said by itself.
        from toucan.cli.lines import run_dumb

        return run_dumb(options)
    from toucan.cli.prompt.terminal import Terminal

    return Terminal(options).run()
