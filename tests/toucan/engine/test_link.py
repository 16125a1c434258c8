"""The front ends' side of the way to the engine: what it leaves behind when it is stopped."""

from __future__ import annotations

import asyncio
import threading
from pathlib import Path

import pytest

from toucan.engine import link as link_module


class Connection:
    def __init__(self) -> None:
        self.is_closed = False

    def close(self) -> None:
        self.is_closed = True


@pytest.mark.parametrize("is_stopped_before", [True, False])
def test_a_greeting_that_nobody_waits_for_is_closed(
    monkeypatch: pytest.MonkeyPatch, *, is_stopped_before: bool
) -> None:
    asked, answer, made = threading.Event(), threading.Event(), Connection()

    def greeted(_path: Path, _name: str) -> Connection:
        asked.set()
        answer.wait()
        return made

    monkeypatch.setattr(link_module, "_greeted", greeted)

    async def stop_it() -> None:
        waiting = asyncio.ensure_future(link_module._greeted_in_thread(Path("engine.sock"), "web"))
        await asyncio.to_thread(asked.wait)
        if not is_stopped_before:
            answer.set()
            threading.Event().wait(0.2)  # the loop stands still, so the answer is there and nobody has it
        waiting.cancel()
        with pytest.raises(asyncio.CancelledError):
            await waiting
        answer.set()

    asyncio.run(stop_it())  # at its end it waits for its threads
    assert made.is_closed
