"""The ``cashy`` command: one subcommand per daemon and per thing a person does with a cache.

A failure is one line on standard error, ``cashy: error: …``, and exit code 1; wrong usage has exit code 2. The daemons end with 78 where a restart
would end in the same (:data:`cashy.cli.daemons.EXIT_CONFIG`).
Each command imports what it runs when it runs, so that ``cashy --help`` and completion stay quick.
"""

from __future__ import annotations

import importlib.metadata
import os
import sys

import click

from cashy.cli.ca import ca_group
from cashy.cli.daemons import master_command, s3_command
from cashy.cli.dev import dev_command
from cashy.cli.evict import evict_command
from cashy.cli.get import get_command
from cashy.cli.hosts import hosts_command
from cashy.cli.pin import pin_command, unpin_command
from cashy.cli.stat import stat_command
from cashy.cli.top import top_command
from cashy.cli.trace import trace_command
from cashy.cli.warm import warm_command
from cashy.errors import CashyError
from cashy.settings import OptionError
from hostkit.supervisor import ChildFailed

__all__ = ["EXIT_FAILURE", "EXIT_INTERRUPTED", "EXIT_USAGE", "cashy_group", "main"]

EXIT_FAILURE = 1
EXIT_USAGE = 2
#: 128 + SIGINT, as shells report it.
EXIT_INTERRUPTED = 130


@click.group(name="cashy", context_settings={"help_option_names": ["-h", "--help"], "max_content_width": 110})
@click.version_option(importlib.metadata.version("aviary"), prog_name="cashy")
def cashy_group() -> None:
    """A distributed read cache: objects of S3 stores and directories, served from shared memory."""


for _command in (
    master_command,
    s3_command,
    dev_command,
    get_command,
    stat_command,
    top_command,
    warm_command,
    evict_command,
    pin_command,
    unpin_command,
    hosts_command,
    trace_command,
    ca_group,
):
    cashy_group.add_command(_command)


def main(arguments: list[str] | None = None) -> None:
    """Runs the command line and ends the process with its exit code."""
    sys.exit(_run(arguments))


def _run(arguments: list[str] | None) -> int:
    try:
        return cashy_group.main(arguments, prog_name="cashy", standalone_mode=False) or 0
    except click.UsageError as error:
        place = f" (see {error.ctx.command_path} --help)" if error.ctx else ""
        return _fail(error.format_message() + place, EXIT_USAGE)
    except click.ClickException as error:
        return _fail(error.format_message(), error.exit_code)
    except click.Abort:
        return EXIT_INTERRUPTED
    except OptionError as error:
        return _fail(error.message, EXIT_USAGE)
    except (CashyError, ChildFailed) as error:
        return _fail(str(error), EXIT_FAILURE)
    except BrokenPipeError:
        # The reader of our output has had enough (`cashy get … | head`); do not complain again at the exit.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        return EXIT_FAILURE
    except OSError as error:
        return _fail(str(error), EXIT_FAILURE)


def _fail(message: str, exit_code: int) -> int:
    """Prints the one line that an error is; what has several lines is joined."""
    print("cashy: error:", " ".join(message.split()), file=sys.stderr)
    return exit_code
