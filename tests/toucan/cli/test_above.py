"""Lines above the prompt, while prompts begin and end: none is lost, none is written into a prompt."""

from __future__ import annotations

import io
import threading

from prompt_toolkit import PromptSession
from prompt_toolkit.data_structures import Size
from prompt_toolkit.input.defaults import create_pipe_input
from prompt_toolkit.output.vt100 import Vt100_Output

from toucan.cli.prompt.above import Above

PROMPTS, MESSAGE = 120, "toucan> "


def test_each_line_is_written_once_in_order_whenever_prompts_begin_and_end() -> None:
    screen, is_over = io.StringIO(), threading.Event()
    said: list[str] = []
    above = Above(lambda line: screen.write(f"\r\n<{line}>\r\n"))

    def talk() -> None:
        while not is_over.wait(0.0005):
            said.append(f"line {len(said)}")
            above.say(said[-1])

    with create_pipe_input() as keys:
        output = Vt100_Output(screen, lambda: Size(rows=40, columns=80), enable_cpr=False)
        session: PromptSession[str] = PromptSession(input=keys, output=output)
        talker = threading.Thread(target=talk)
        talker.start()
        try:
            for number in range(PROMPTS):
                keys.send_text(f"{number}\r")
                with above.reading():
                    assert session.prompt(MESSAGE, pre_run=above.begin) == str(number)
        finally:
            is_over.set()
            talker.join()
    written = screen.getvalue()
    assert [part.partition(">")[0] for part in written.split("<")[1:]] == said
    assert len(said) > PROMPTS
    for before in written.split("\r\n<")[:-1]:
        assert not before.endswith(MESSAGE), "written behind a prompt"


def test_without_a_prompt_a_line_is_written_at_once() -> None:
    lines: list[str] = []
    above = Above(lines.append)
    above.say("now")
    assert lines == ["now"]
