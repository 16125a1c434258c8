"""What every command has from the command line around it: the connection, where output goes, and whom to ask.

A one-shot command has a client of its own, made when it is first needed. Commands typed at the prompt share the prompt's client, and ask through it.
"""

from __future__ import annotations

import json
import os
import socket
import sys
from collections.abc import Callable, Sequence
from typing import TypeVar

import click

from toucan.cli.command import ConnectionOptions
from toucan.cli.exits import Interrupted, NeedsConfirmation
from toucan.cli.limits import CONNECT_TIMEOUT_S, SESSION_SLOTS, TIMEOUT_S, WAIT_S
from toucan.client import Toucan, connect
from toucan.client.errors import UnknownInstrument
from toucan.client.instruments import Instrument
from toucan.client.limits import SESSION_NAME_MAX

__all__ = ["Caller"]

_Answer = TypeVar("_Answer")


class Caller:
    """One command's surroundings. ``client``: that of the prompt; None: make one, for several commands if ``is_shared``.

    ``read_line``: how a question is asked; None: nobody is there.
    """

    def __init__(
        self,
        options: ConnectionOptions,
        *,
        as_json: bool = False,
        client: Toucan | None = None,
        read_line: Callable[[str], str] | None = None,
        is_shared: bool = False,
        wait_s: float = WAIT_S,
    ) -> None:
        self.options = options
        self.as_json = as_json
        #: How long new orders wait for the venue's word by default.
        self.wait_s = wait_s
        self._is_shared = is_shared
        self._client = client
        self._is_own_client = client is None
        self._read_line = read_line

    @property
    def client(self) -> Toucan:
        """The client; nothing is sent before it is used. Raises :class:`~toucan.client.errors.InvalidRequest` for options that make no sense."""
        if self._client is None:
            options = self.options
            self._client = connect(
                options.server,
                token_file=options.token_file,
                tls=options.tls,
                ca_file=options.tls_ca,
                certificate_file=options.tls_certificate,
                key_file=options.tls_key,
                session=None if self._is_shared else _session_name(),
                timeout_s=TIMEOUT_S if options.timeout_s is None else options.timeout_s,
                connect_timeout_s=CONNECT_TIMEOUT_S,
            )
        return self._client

    def sharing(self, *, as_json: bool) -> Caller:
        """For one command at the prompt: the same client and person."""
        return Caller(
            self.options, as_json=as_json, client=self.client, read_line=self._read_line, wait_s=self.wait_s
        )

    def close(self) -> None:
        """Ends the command's own client."""
        if self._is_own_client and self._client is not None:
            self._client.close()
            self._client = None

    @property
    def is_at_prompt(self) -> bool:
        """Whether it is one command of several, which leaves the terminal as it is."""
        return not self._is_own_client

    # --- what people say ---

    def instrument(self, symbol: str) -> Instrument:
        """The instrument of a symbol, in any case if only one fits. Raises :class:`~toucan.client.errors.UnknownInstrument`."""
        try:
            return self.client.instrument(symbol)
        except UnknownInstrument:
            alike = [one for one in self.client.instruments() if one.symbol.lower() == symbol.lower()]
            if len(alike) != 1:
                raise
            return alike[0]

    def symbols(self, symbols: Sequence[str]) -> list[str]:
        """Symbols as the table writes them."""
        return [self.instrument(symbol).symbol for symbol in symbols]

    # --- questions ---

    @property
    def can_ask(self) -> bool:
        """Whether there is a person to ask."""
        return not self.as_json and self._read_line is not None

    def confirm(self, text: str, question: str) -> None:
        """Shows a text and asks yes or no; raises :class:`~toucan.cli.exits.NeedsConfirmation` unless a person says yes."""
        if not self.can_ask or self._read_line is None:
            raise NeedsConfirmation(f"{text}. Nobody is there to ask: --yes confirms it")
        click.echo(text, err=True)
        if self._read_line(f"{question} [y/N] ").strip().lower() not in ("y", "yes"):
            raise NeedsConfirmation("not confirmed; nothing was done")

    def confirm_by_name(self, text: str, name: str) -> None:
        """Shows a text and asks for a name to be typed; as :meth:`confirm`."""
        if not self.can_ask or self._read_line is None:
            raise NeedsConfirmation(f"{text}. Nobody is there to ask: --yes confirms it")
        click.echo(text, err=True)
        if self._read_line(f"Type {name} to go on: ").strip() != name:
            raise NeedsConfirmation(f"that was not {name}; nothing was done")

    def changing(self, request: Callable[[], _Answer]) -> _Answer:
        """Sends a request that changes something; Ctrl-C meanwhile raises :class:`Interrupted`, which says how to learn what became of it."""
        before = self.client.last_key
        try:
            return request()
        except KeyboardInterrupt:
            key = self.client.last_key
            if key is None or key == before:
                raise  # nothing was sent yet
            raise Interrupted(key) from None

    # --- output ---

    def say(self, line: str) -> None:
        """A line for people; not with ``--json``."""
        if not self.as_json:
            click.echo(line)

    def give(self, value: object) -> None:
        """The answer for programs, with ``--json``."""
        if self.as_json:
            click.echo(json.dumps(value, ensure_ascii=False))

    def width(self) -> int | None:
        """How wide tables may be: as the terminal; piped output is not folded."""
        return None if sys.stdout.isatty() else 10_000


def _session_name() -> str:
    """Of the sessions that commands of this host share, the one for this process."""
    prefix, suffix = "cli-", f"-{os.getpid() % SESSION_SLOTS}"
    host = socket.gethostname()[: SESSION_NAME_MAX - len(prefix) - len(suffix)]
    return prefix + "".join(letter if letter.isprintable() else "?" for letter in host) + suffix
