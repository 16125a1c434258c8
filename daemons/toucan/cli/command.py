"""How a command of ``toucan`` is declared: a click command that is given its :class:`~toucan.cli.caller.Caller`, and the options all of them have."""

from __future__ import annotations

import functools
import os
import sys
from collections.abc import Callable
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import click

from toucan.cli.parameters import ACCOUNT

if TYPE_CHECKING:
    from toucan.cli.caller import Caller

__all__ = [
    "CONNECTION_NAMES",
    "CONTEXT_SETTINGS",
    "Command",
    "ConnectionOptions",
    "Surroundings",
    "account_option",
    "again_option",
    "command",
    "connection_options",
    "new_account_option",
    "reason_option",
    "taken_options",
    "yes_option",
]

#: Of every command and group: help by -h as well, and as wide as a terminal is.
CONTEXT_SETTINGS = {"help_option_names": ["-h", "--help"], "max_content_width": 110}

_CONNECTION = (
    click.option("--server", metavar="HOST:PORT", help="The server, or several separated by commas. [default: $TOUCAN_SERVER, else 127.0.0.1:7070]"),
    click.option("--token-file", metavar="PATH", help="File with the token that says who you are. [default: $TOUCAN_TOKEN_FILE]"),
    click.option("--tls/--no-tls", default=None, help="Speak TLS. [default: if a CA or a certificate is given]"),
    click.option("--tls-ca", metavar="PATH",
                 help="PEM file of the authority that has signed the server's certificate. [default: $TOUCAN_TLS_CA, else the system's]"),
    click.option("--tls-certificate", metavar="PATH", help="PEM file of your certificate."),
    click.option("--tls-key", metavar="PATH", help="PEM file of its private key."),
    click.option("--timeout", "timeout_s", type=click.FloatRange(min=0.01), metavar="SECONDS",
                 help="How long a request may take, resends included. [default: 10]"),
)  # fmt: skip
#: Their names as parameters.
CONNECTION_NAMES = ("server", "token_file", "tls", "tls_ca", "tls_certificate", "tls_key", "timeout_s")

account_option = click.option("--account", type=ACCOUNT, metavar="ACCOUNT", help="Only this account.")
new_account_option = click.option(
    "--account",
    type=ACCOUNT,
    metavar="ACCOUNT",
    envvar="TOUCAN_ACCOUNT",
    help="The account that it is for. [default: $TOUCAN_ACCOUNT, else your only one]",
)
yes_option = click.option("--yes", is_flag=True, help="Confirms what would be asked.")
again_option = click.option(
    "--again",
    metavar="SESSION/NUMBER",
    help="Repeats a request whose outcome was unknown, under its key: it is carried out once at most.",
)
reason_option = click.option("--reason", required=True, metavar="TEXT", help="Why, for the audit trail.")


class Command(click.Command):
    """A command whose help keeps the connection's options apart from its own."""

    def format_options(self, context: click.Context, formatter: click.HelpFormatter) -> None:
        """Writes them as two lists."""
        own: list[tuple[str, str]] = []
        shared: list[tuple[str, str]] = []
        for parameter in self.get_params(context):
            record = parameter.get_help_record(context)
            if record is not None:
                (shared if parameter.name in CONNECTION_NAMES else own).append(record)
        for title, records in (("Options", own), ("Connection", shared)):
            if records:
                with formatter.section(title):
                    formatter.write_dl(records)


@dataclass(frozen=True, slots=True, kw_only=True)
class ConnectionOptions:
    """The options that say where the server is and who one is; None: not given."""

    server: str | None = None
    token_file: str | None = None
    tls: bool | None = None
    tls_ca: str | None = None
    tls_certificate: str | None = None
    tls_key: str | None = None
    timeout_s: float | None = None

    @property
    def is_empty(self) -> bool:
        """Nothing was given."""
        return self == ConnectionOptions()

    def over(self, outer: ConnectionOptions) -> ConnectionOptions:
        """These, and what they leave open as ``outer`` says."""
        given = {name: value for name in self.__slots__ if (value := getattr(self, name)) is not None}
        return replace(outer, **given)

    @property
    def server_text(self) -> str:
        """The address as it is used."""
        from toucan.client.limits import DEFAULT_PORT

        return self.server or os.environ.get("TOUCAN_SERVER") or f"127.0.0.1:{DEFAULT_PORT}"


class Surroundings:
    """What a command line is run in. ``prompt``: the caller of the prompt at which it was typed."""

    def __init__(self, prompt: Caller | None = None) -> None:
        self.prompt = prompt
        #: The options before the command's name; None: not read yet.
        self.options: ConnectionOptions | None = None
        #: Of the command that was run, for those who tell its error.
        self.caller: Caller | None = None

    def take_options(self, options: ConnectionOptions) -> None:
        """Keeps the options before the command's name; raises click.UsageError at a prompt, which is connected already."""
        if self.prompt is not None and not options.is_empty:
            raise click.UsageError(
                "the prompt stays with the server and user that it was started with; end it to change them"
            )
        self.options = options


def connection_options(function: Callable[..., Any]) -> Callable[..., Any]:
    """Adds the options that say where the server is and who one is."""
    for option in reversed(_CONNECTION):
        function = option(function)
    return function


def taken_options(parameters: dict[str, Any]) -> ConnectionOptions:
    """Takes the connection's options out of a command's parameters."""
    return ConnectionOptions(**{name: parameters.pop(name) for name in CONNECTION_NAMES})


def command(name: str, **settings: Any) -> Callable[[Callable[..., int | None]], click.Command]:
    """Declares a command. The function gets a Caller and its own parameters, and returns an exit code (None: 0)."""

    def decorate(function: Callable[..., int | None]) -> click.Command:
        @click.option(
            "--json", "as_json", is_flag=True, help="Print JSON (docs/toucan-commands.md says what)."
        )
        @click.pass_context
        @functools.wraps(function)
        def run(context: click.Context, /, **parameters: Any) -> int:
            options = taken_options(parameters)
            caller = _caller(context, options, as_json=parameters.pop("as_json"))
            context.call_on_close(caller.close)
            return function(caller, **parameters) or 0

        # Its own options first; click collects them from the last to the first.
        own = run.__dict__.pop("__click_params__")
        connected = connection_options(run)
        connected.__dict__["__click_params__"] += own
        settings.setdefault("context_settings", CONTEXT_SETTINGS)
        return click.command(name, cls=Command, **settings)(connected)

    return decorate


def _caller(context: click.Context, options: ConnectionOptions, *, as_json: bool) -> Caller:
    from toucan.cli.caller import Caller

    around = context.ensure_object(Surroundings)
    if around.prompt is not None:
        around.take_options(options)
        around.caller = around.prompt.sharing(as_json=as_json)
        return around.caller
    if around.options is not None:
        options = options.over(around.options)
    is_terminal = sys.stdin.isatty() and sys.stderr.isatty()
    around.caller = Caller(options, as_json=as_json, read_line=_read_line if is_terminal else None)
    return around.caller


def _read_line(question: str) -> str:
    # On standard error, so that standard output stays the answer.
    click.echo(question, nl=False, err=True)
    line = sys.stdin.readline()
    if not line:
        raise click.Abort
    return line
