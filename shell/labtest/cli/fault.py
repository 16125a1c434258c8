"""``labtest fault``: one command for each fault, and one that puts it right."""

from __future__ import annotations

import click

from labtest.cli.choosing import lab_of_host, lab_option
from labtest.cli.commands import CONTEXT_SETTINGS

__all__ = [
    "fault_group",
    "partition_command",
    "heal_command",
    "delay_command",
    "loss_command",
    "rate_command",
    "clear_command",
    "freeze_command",
    "thaw_command",
    "power_cut_command",
    "boot_command",
    "fill_disk_command",
    "free_disk_command",
    "kill_command",
]


@click.group("fault", context_settings=CONTEXT_SETTINGS)
def fault_group() -> None:
    """Hurt a host, and put it right again.

    Faults stay until they are undone; `labtest status` shows them. A host that is cut off cannot be logged in to; heal and boot reach it.
    """


_host = click.argument("host")


@fault_group.command("partition")
@lab_option
@_host
@click.argument("other", required=False)
def partition_command(lab_name: str | None, host: str, other: str | None) -> None:
    """Cut a host off from all, or from one other.

    Without OTHER it is cut off from all hosts and from this machine.
    """
    lab = lab_of_host(host, lab_name)
    if other is None:
        lab.partition(host)
    else:
        lab.partition_between(host, other)


@fault_group.command("heal")
@lab_option
@_host
def heal_command(lab_name: str | None, host: str) -> None:
    """Undo partition."""
    lab_of_host(host, lab_name).heal(host)


@fault_group.command("delay")
@lab_option
@_host
@click.argument("milliseconds", type=float)
@click.option("--jitter", type=float, default=0.0, metavar="MS", help="Up to so much more or less.")
def delay_command(lab_name: str | None, host: str, milliseconds: float, jitter: float) -> None:
    """Delay packets to and from a host; 0 undoes it."""
    lab_of_host(host, lab_name).delay(host, milliseconds, jitter)


@fault_group.command("loss")
@lab_option
@_host
@click.argument("percent", type=float)
def loss_command(lab_name: str | None, host: str, percent: float) -> None:
    """Lose packets, in each direction; 0 undoes it."""
    lab_of_host(host, lab_name).loss(host, percent)


@fault_group.command("rate")
@lab_option
@_host
@click.argument("mbit", type=float)
def rate_command(lab_name: str | None, host: str, mbit: float) -> None:
    """Limit the rate, in each direction; 0 undoes it."""
    lab_of_host(host, lab_name).rate(host, mbit)


@fault_group.command("clear")
@lab_option
@_host
def clear_command(lab_name: str | None, host: str) -> None:
    """Undo partition, delay, loss and rate."""
    lab_of_host(host, lab_name).clear(host)


@fault_group.command("freeze")
@lab_option
@_host
def freeze_command(lab_name: str | None, host: str) -> None:
    """Stop all processes of a host in mid-step."""
    lab_of_host(host, lab_name).freeze(host)


@fault_group.command("thaw")
@lab_option
@_host
def thaw_command(lab_name: str | None, host: str) -> None:
    """Undo freeze."""
    lab_of_host(host, lab_name).thaw(host)


@fault_group.command("power-cut")
@lab_option
@_host
def power_cut_command(lab_name: str | None, host: str) -> None:
    """Take a host's power away; its disk stays."""
    lab_of_host(host, lab_name).power_cut(host)


@fault_group.command("boot")
@lab_option
@_host
def boot_command(lab_name: str | None, host: str) -> None:
    """Give power to a host that has none, and wait until it answers."""
    lab_of_host(host, lab_name).boot(host)


@fault_group.command("fill-disk")
@lab_option
@_host
@click.argument("path", default="/")
def fill_disk_command(lab_name: str | None, host: str, path: str) -> None:
    """Leave no room on a file system.

    That of PATH: /dev/shm, /tmp, /run, or / (the default), which is the disk.
    """
    lab_of_host(host, lab_name).fill_disk(host, path)


@fault_group.command("free-disk")
@lab_option
@_host
@click.argument("path", default="/")
def free_disk_command(lab_name: str | None, host: str, path: str) -> None:
    """Undo fill-disk."""
    lab_of_host(host, lab_name).free_disk(host, path)


@fault_group.command("kill")
@lab_option
@_host
@click.argument("unit")
@click.option(
    "--signal", "signal_name", default="KILL", show_default=True, metavar="NAME", help="Which signal."
)
def kill_command(lab_name: str | None, host: str, unit: str, signal_name: str) -> None:
    """Send a signal to the main process of a unit."""
    lab_of_host(host, lab_name).kill(host, unit, signal_name)
