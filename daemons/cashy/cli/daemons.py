"""``cashy master`` and ``cashy s3``: the daemons themselves, in the foreground, as systemd and ``cashy dev`` run them."""

from __future__ import annotations

import contextlib
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import click
import structlog

from cashy.cli.options import settings_from, settings_options
from cashy.errors import CannotStart, ConfigError
from cashy.settings import OptionError, Settings
from hostkit.log import configure_logging

__all__ = ["EXIT_CONFIG", "master_command", "s3_command", "socket_answers"]


#: Of a daemon whose settings are wrong and will be when it is started again: EX_CONFIG of sysexits.h, as systemd.exec(5) has it.
EXIT_CONFIG = 78


class _WrongSettings(click.ClickException):
    exit_code = EXIT_CONFIG


@contextlib.contextmanager
def _lasting_mistakes_told() -> Iterator[None]:
    """Tells a supervisor by the exit code what a restart does not help against; an option's mistake is wrong usage already."""
    try:
        yield
    except (CannotStart, OptionError):
        raise
    except ConfigError as error:
        raise _WrongSettings(error.message) from error


def socket_answers(path: Path) -> bool:
    """Whether somebody listens on a unix socket; a file without a listener is what a killed daemon left."""
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as visitor:
        try:
            visitor.connect(str(path))
        except OSError:
            return False
    return True


def _begin_log(settings: Settings) -> None:
    """Every line says of which host of the cluster it is, as several may write to one terminal."""
    configure_logging(settings.log.level, settings.log.format)
    if settings.cluster.host is not None:
        structlog.contextvars.bind_contextvars(host=settings.cluster.host)


@click.command(name="master")
@settings_options("master")
@_lasting_mistakes_told()
def master_command(**parameters: Any) -> int:
    """Run the host's master: it owns the shared memory, reads the origins and answers the clients' socket.

    Runs until SIGTERM or SIGINT and tells a supervisor when it serves (READY=1). Sizes are bytes or have
    KiB, MiB or GiB; times are seconds. SIGHUP has the settings read again; what is not applied then is named in the log.
    """
    settings = settings_from(parameters)
    if not settings.origins:
        raise ConfigError(
            "no origin is configured: give --origin s3=URL or file=DIR, or an [[origin]] in the file"
        )
    settings.this_host()  # raises if only half a cluster is given
    if socket_answers(settings.instance.socket):
        raise CannotStart(
            f"a daemon answers on {settings.instance.socket} already: stop it, or choose another --socket and --instance"
        )
    _begin_log(settings)
    from cashy.master.main import run

    return run(settings, lambda: settings_from(parameters))


@click.command(name="s3")
@settings_options("s3")
@_lasting_mistakes_told()
def s3_command(**parameters: Any) -> int:
    """Run one S3 worker: it serves GET and HEAD from shared memory, asks the master for what is not there, and passes on all else.

    Several workers can share one address. Runs until SIGTERM or SIGINT and tells a supervisor when it
    serves (READY=1) and where (X_CASHY_S3=HOST:PORT). SIGHUP has settings, credentials and certificate read again.
    """
    settings = settings_from(parameters)
    _begin_log(settings)
    from cashy.s3.main import run

    return run(settings, lambda: settings_from(parameters))
