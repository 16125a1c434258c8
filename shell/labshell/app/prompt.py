"""The line that is typed on: always there, whatever runs. It reads keys and draws; what a line means is somebody else's.

One prompt_toolkit application lives from the start to the end, so the terminal never leaves raw mode between two commands, and Ctrl-C
is always a key.
"""

from __future__ import annotations

import asyncio
import sys
from collections import deque
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from prompt_toolkit import PromptSession
from prompt_toolkit.application import run_in_terminal
from prompt_toolkit.auto_suggest import AutoSuggestFromHistory
from prompt_toolkit.completion import CompleteEvent, Completer, Completion
from prompt_toolkit.document import Document
from prompt_toolkit.enums import DEFAULT_BUFFER
from prompt_toolkit.filters import Condition, has_focus
from prompt_toolkit.history import History
from prompt_toolkit.key_binding import KeyBindings, KeyPressEvent
from prompt_toolkit.keys import Keys
from prompt_toolkit.output import ColorDepth
from prompt_toolkit.styles import Style

from labshell.app.exits import Interrupted
from labshell.app.harmless import harmless
from labshell.app.language import Fragments, Language, Proposal
from labshell.app.limits import PASTE_CHARACTERS_MAX, REDRAW_INTERVAL_S, REFRESH_INTERVAL_S
from labshell.app.terminal import PromptInput, PromptOutput, Terminal

__all__ = ["PromptLine", "Question"]

STYLE = Style.from_dict(
    {
        "bottom-toolbar": "noreverse bg:#303030 #d0d0d0",
        "bar": "",
        "bar.running": "bold",
        "bar.good": "#87d787",
        "bar.warn": "#ffd75f",
        "bar.down": "bg:#d00000 #ffffff bold",
        "prompt": "bold",
        "prompt.down": "#ff5f5f bold",
        "question": "bold",
    }
)


class Question:
    """Something that somebody must answer with yes or no; None: Ctrl-C, which ends the command that asks."""

    def __init__(self, text: str, default: bool, on_answer: Callable[[bool | None], None]) -> None:
        self.text = text
        self.default = default
        self.on_answer = on_answer

    def answer_of(self, line: str) -> bool | None:
        """What a line says; None: neither yes nor no."""
        word = line.strip().lower()
        return {"": self.default, "y": True, "yes": True, "n": False, "no": False}.get(word)


class PromptLine:
    """The prompt. ``on_lines`` gets what was entered, ``on_interrupt`` Ctrl-C with whether something stood there, ``on_end`` is Ctrl-D."""

    def __init__(
        self,
        terminal: Terminal,
        language: Language,
        history: Callable[[Callable[[], bool]], History],
        *,
        on_lines: Callable[[list[str]], None],
        on_interrupt: Callable[[], bool],
        on_end: Callable[[], None],
        on_note: Callable[[str], None],
        running: Callable[[], str],
        term: str,
        color: bool,
    ) -> None:
        self._terminal = terminal
        self._language = language
        self._on_lines = on_lines
        self._on_interrupt = on_interrupt
        self._on_end = on_end
        self._on_note = on_note
        self._running = running
        self._questions: deque[Question] = deque()
        self._put_aside = Document()
        self._is_redraw_due = False
        depth = None if color else ColorDepth.DEPTH_1_BIT
        self._output = PromptOutput(terminal, term, depth)
        self._session: PromptSession[int] = PromptSession(
            self._message,
            completer=_PromptCompleter(language, self.is_asking),
            # Room for the menu is made when there is something to complete, not below an empty line.
            complete_while_typing=Condition(self._is_typing),
            reserve_space_for_menu=6,
            auto_suggest=AutoSuggestFromHistory(),
            history=history(self.is_asking),
            bottom_toolbar=self._toolbar,
            refresh_interval=REFRESH_INTERVAL_S,
            key_bindings=self._keys(),
            erase_when_done=True,
            prompt_continuation=". ",
            style=STYLE,
            input=PromptInput(sys.stdin),
            output=self._output,
            color_depth=depth,
            # Not KeyboardInterrupt, which asyncio would carry out of its loop.
            interrupt_exception=Interrupted,
        )
        app = self._session.app
        app.max_render_postpone_time = 0
        # It would draw over an attached program; SIGWINCH says it, too.
        app.terminal_size_polling_interval = None
        terminal.on_torn = self.redraw_all

    # --- life ---

    async def run(self) -> int:
        """Reads until the end; the exit code that :meth:`end` was given. Raises EOFError if the terminal is gone."""
        # handle_sigint=False: at its end prompt_toolkit would remove our own handler of SIGINT.
        return await self._session.prompt_async(handle_sigint=False, set_exception_handler=False)

    def end(self, code: int) -> None:
        """Ends it."""
        app = self._session.app
        if app.is_running and not app.is_done:
            app.exit(result=code)

    @property
    def is_running(self) -> bool:
        """Whether it is drawn."""
        return self._session.app.is_running and not self._session.app.is_done

    async def write_above(self, take: Callable[[], str]) -> None:
        """Writes text above the line."""
        if not self.is_running:
            self._terminal.write(take())
            return
        with self._terminal.corked():
            await run_in_terminal(lambda: self._output.write_raw(take()))

    def changed(self) -> None:
        """Something that is shown has changed; draws at most 10 times a second."""
        if not self._is_redraw_due and self.is_running:
            self._is_redraw_due = True
            asyncio.get_running_loop().call_later(REDRAW_INTERVAL_S, self._redraw)

    def _redraw(self) -> None:
        self._is_redraw_due = False
        if self.is_running:
            self._session.app.invalidate()

    def begin_anew(self) -> None:
        """Puts the terminal into raw mode again, and draws."""
        if self.is_running:
            self._session.app.input.raw_mode().__enter__()
            self.redraw_all()

    def redraw_all(self) -> None:
        """Draws anew, after the screen has become something else."""
        if self.is_running:
            self._terminal.write("\r\x1b[J")
            self._session.app.renderer.reset()
            self._session.app.invalidate()

    # --- questions ---

    def ask(self, question: Question) -> None:
        """Asks, when those before are answered. What is being typed is put aside meanwhile."""
        self._questions.append(question)
        if len(self._questions) == 1:
            buffer = self._session.default_buffer
            self._put_aside = buffer.document
            buffer.reset()
        self.redraw_all_soon()

    def withdraw(self, question: Question) -> None:
        """Nobody needs the answer any more."""
        if question in self._questions:
            self._questions.remove(question)
            self._after_question()

    def redraw_all_soon(self) -> None:
        """Draws at the next opportunity."""
        if self.is_running:
            self._session.app.invalidate()

    def _after_question(self) -> None:
        if not self._questions:
            self._session.default_buffer.set_document(self._put_aside, bypass_readonly=True)
            self._put_aside = Document()
        self.redraw_all_soon()

    def is_asking(self) -> bool:
        """Whether an answer stands on the line, not a command."""
        return bool(self._questions)

    def _is_typing(self) -> bool:
        return not self._questions and bool(self._session.default_buffer.text)

    def _answer(self, line: str) -> None:
        question = self._questions[0]
        answer = question.answer_of(line)
        self._on_note(f"{_question_text(question)} {line}")
        if answer is None:
            self._on_note("please answer with y or n")
            return
        self._questions.popleft()
        self._after_question()
        question.on_answer(answer)

    # --- keys ---

    def _keys(self) -> KeyBindings:
        keys = KeyBindings()
        on_line = has_focus(DEFAULT_BUFFER)
        keys.add("enter", filter=on_line)(self._enter)
        keys.add("c-c", filter=on_line)(self._interrupt)
        keys.add("c-d", filter=on_line & Condition(lambda: not self._session.default_buffer.text))(
            self._end_key
        )
        keys.add("tab", filter=on_line)(self._tab)
        keys.add("c-z", filter=on_line)(lambda event: None)
        keys.add(Keys.BracketedPaste, filter=on_line)(self._paste)
        return keys

    def _enter(self, event: KeyPressEvent) -> None:
        buffer = event.current_buffer
        text = buffer.text
        if self._questions:
            buffer.reset()
            self._answer(text)
            return
        buffer.append_to_history()
        buffer.reset()
        lines = [line for line in text.split("\n") if line.strip()]
        if lines:
            self._on_lines(lines)
        else:
            self._on_note(self.prompt_text())

    def _tab(self, event: KeyPressEvent) -> None:
        """Inserts what all proposals have in common at once, so that Enter may follow at any speed; then goes through the menu."""
        buffer = event.current_buffer
        state = buffer.complete_state
        if self._questions or (state is not None and state.complete_index is not None):
            buffer.complete_next()
            return
        cursor = buffer.document.cursor_position_col
        proposals = list(self._language.complete(buffer.document.current_line, cursor))
        common = _common(proposals, buffer.document.current_line, cursor)
        if common is not None:
            buffer.cancel_completion()
            buffer.delete_before_cursor(cursor - proposals[0].start)
            buffer.insert_text(common)
        elif state is not None:
            buffer.complete_next()
        elif proposals:
            buffer.start_completion()

    def _interrupt(self, event: KeyPressEvent) -> None:
        if not self.interrupted():
            event.current_buffer.reset()

    def interrupted(self) -> bool:
        """Ctrl-C, as a key or as SIGINT: for a question, else for a command in front; else (False) for the line."""
        if not self._questions:
            return self._on_interrupt()
        question = self._questions.popleft()
        self._session.default_buffer.reset()
        self._on_note(f"{_question_text(question)} ^C")
        self._after_question()
        question.on_answer(None)
        return True

    def clear(self) -> None:
        """Clears the line."""
        self._session.default_buffer.reset()
        self.redraw_all_soon()

    def _end_key(self, event: KeyPressEvent) -> None:
        if self._questions:
            self._answer("n")
        else:
            self._on_end()

    def _paste(self, event: KeyPressEvent) -> None:
        text = event.data.replace("\r\n", "\n").replace("\r", "\n")
        if len(text) > PASTE_CHARACTERS_MAX:
            self._on_note(
                f"a paste of {len(text):,} characters is too long; {PASTE_CHARACTERS_MAX:,} are taken at most"
            )
            return
        if self._questions:
            text = text.partition("\n")[0]
        buffer = event.current_buffer
        # A last newline is not yet Enter: nothing is run that nobody has looked at.
        buffer.insert_text(harmless(text.rstrip("\n") if "\n" not in text.rstrip("\n") else text.strip("\n")))

    # --- what is drawn ---

    def prompt_text(self) -> str:
        """What stands before the line, without colours."""
        return "".join(text for _, text in self._prompt())

    def _prompt(self) -> Fragments:
        return self._language.prompt(self._terminal.size().columns)

    def _message(self) -> Any:
        if self._questions:
            return [("class:question", f"{_question_text(self._questions[0])} ")]
        return list(self._prompt())

    def _toolbar(self) -> Any:
        bar = list(self._language.toolbar(self._terminal.size().columns))
        running = self._running()
        return [("class:bar.running", f"{running}\n"), *bar] if running else bar


def _common(proposals: Sequence[Proposal], line: str, cursor: int) -> str | None:
    """What to insert instead of the word at the cursor: the one proposal, or that with which all begin; None: nothing more than is there."""
    if not proposals or len({one.start for one in proposals}) > 1:
        return None
    typed = line[proposals[0].start : cursor]
    if len(proposals) == 1:
        return proposals[0].text if proposals[0].text != typed else None
    texts = [one.text for one in proposals]
    common = next(
        (
            texts[0][:at]
            for at in range(len(texts[0]), 0, -1)
            if all(one.startswith(texts[0][:at]) for one in texts)
        ),
        "",
    )
    # Fuzzy matches may have less in common than what was typed.
    return common if common.startswith(typed) and common != typed else None


def _question_text(question: Question) -> str:
    return f"{question.text} {'[Y/n]' if question.default else '[y/N]'}"


class _PromptCompleter(Completer):
    """For prompt_toolkit."""

    def __init__(self, language: Language, is_asking: Callable[[], bool]) -> None:
        self._language = language
        self._is_asking = is_asking

    def get_completions(self, document: Document, complete_event: CompleteEvent) -> Iterator[Completion]:
        """What may stand at the cursor; of a paste, in its last line."""
        line = document.current_line
        # While typing, this may come when the line has been entered already.
        if self._is_asking() or (complete_event.text_inserted and not line.strip()):
            return
        cursor = document.cursor_position_col
        for one in self._language.complete(line, cursor):
            yield Completion(
                one.text, start_position=one.start - cursor, display=one.display, display_meta=one.detail
            )
