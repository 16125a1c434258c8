"""``cashy ca``: an authority for a cluster, and the certificates of its hosts; for a start, and for clusters that have no authority of their own."""

from __future__ import annotations

import re
from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

import click

from cashy.errors import ConfigError
from cashy.setting_about import HOST_NAME, NAME

if TYPE_CHECKING:
    from cashy.certificates import Described
    from cashy.cli.ca_folder import AuthorityFolder

__all__ = ["ca_group"]

#: Longer-lived certificates are never renewed, and so nobody knows how.
_HOST_DAYS_MAX = 3650
_AUTHORITY_DAYS_MAX = 36500

_CERTIFICATES_MAX_BYTES = 1 << 20


def _ca_option(function: Callable[..., Any]) -> Callable[..., Any]:
    return click.option(
        "--ca",
        "folder",
        type=click.Path(path_type=Path),
        default=Path(),
        envvar="CASHY_CA",
        metavar="DIR",
        help="The authority's folder, as `cashy ca init` made it. [default: $CASHY_CA, else the current one]",
    )(function)


@click.group(name="ca")
def ca_group() -> None:
    """Make and renew the certificates by which the hosts of a cluster prove themselves to each other.

    The authority is a folder; keep it off the hosts, on a machine that few can enter. A host gets three files: its certificate, its
    key, and ca.pem.

    Example: cashy ca init ~/floor-ca --cluster floor && cashy ca issue rack1 --ca ~/floor-ca
    """


@ca_group.command(name="init")
@click.argument("folder", metavar="DIR", type=click.Path(path_type=Path))
@click.option("--cluster", required=True, metavar="NAME", help="Name of the cluster, as in cluster.name.")
@click.option(
    "--days",
    type=click.IntRange(1, _AUTHORITY_DAYS_MAX),
    default=3650,
    metavar="N",
    help="How long the authority lasts. [default: 3650]",
)
def _init_command(folder: Path, cluster: str, days: int) -> int:
    """Make an authority for a cluster, in a new folder.

    Writes ca.pem (its certificate), ca-key.pem (mode 0600) and ca.toml, and overwrites nothing. Prints what to do next.

    Example: cashy ca init ~/floor-ca --cluster floor
    """
    from cashy.cli.ca_folder import AuthorityFolder

    _check_name("cluster", NAME, cluster)
    made = AuthorityFolder.create(folder.absolute(), cluster, datetime.now(UTC), days)
    click.echo(f"the authority of cluster {cluster} is in {made.folder}")
    click.echo(
        f"keep {made.folder / 'ca-key.pem'} secret, and off the hosts: who has it can make hosts of the cluster"
    )
    click.echo(f"next, for each host: cashy ca issue HOST --ca {made.folder}")
    return 0


@ca_group.command(name="issue")
@click.argument("host")
@_ca_option
@click.option(
    "--address",
    "addresses",
    multiple=True,
    metavar="ADDRESS",
    help="An IP address or DNS name to be in the certificate too, for other programs; cashy goes by the host's name. Repeatable.",
)
@click.option(
    "--days",
    type=click.IntRange(1, _HOST_DAYS_MAX),
    default=365,
    metavar="N",
    help="How long it lasts, at most as long as the authority. [default: 365]",
)
@click.option(
    "--renew", "is_renewal", is_flag=True, help="Replace the host's certificate and key that are there."
)
def _issue_command(host: str, folder: Path, addresses: tuple[str, ...], days: int, is_renewal: bool) -> int:
    """Make a certificate and a key for HOST, a name of the [[peer]] list.

    Writes hosts/HOST.pem and hosts/HOST.key (mode 0600) in the authority's folder, and prints what to put into [cluster] there.

    Example: cashy ca issue rack1 --ca ~/floor-ca --address 10.0.0.1
    """
    from cashy.cli.ca_folder import AuthorityFolder

    _check_name("host", HOST_NAME, host)
    authority = AuthorityFolder(folder.absolute())
    made = authority.issue(host, datetime.now(UTC), addresses=addresses, days=days, is_renewal=is_renewal)
    certificate, key = authority.files_of(host)
    click.echo(f"wrote {certificate} and {key}")
    click.echo(f"serial number {made.serial:x}, until {made.not_after:%Y-%m-%d}")
    if is_renewal:
        click.echo(
            "next: put both in place of the old ones on the host, and reload its master (systemctl reload, SIGHUP)"
        )
    else:
        _print_settings(authority, host, certificate, key)
    return 0


def _print_settings(authority: AuthorityFolder, host: str, certificate: Path, key: Path) -> None:
    click.echo(
        f"next: copy {certificate.name}, {key.name} and {authority.authorities} to the host, and say in its settings:"
    )
    click.echo(f'  [cluster]\n  name = "{authority.cluster}"\n  host = "{host}"')
    for setting, name in (
        ("tls_certificate", "cluster.pem"),
        ("tls_key", "cluster-key.pem"),
        ("tls_ca", "cluster-ca.pem"),
    ):
        click.echo(f'  {setting} = "/etc/aviary/{name}"')


@ca_group.command(name="show")
@click.argument("file", type=click.Path(path_type=Path))
def _show_command(file: Path) -> int:
    """Say what the certificates in FILE are for, by whom they are signed, and until when.

    The serial number is what cluster.tls_refused takes. Keys are never shown.

    Example: cashy ca show /etc/aviary/cluster.pem
    """
    from cashy.certificates import describe_certificates

    with file.open("rb") as opened:
        content = opened.read(_CERTIFICATES_MAX_BYTES + 1)
    try:
        found = describe_certificates(content) if len(content) <= _CERTIFICATES_MAX_BYTES else []
    except ValueError:
        found = []
    if not found:
        raise ConfigError(f"{file} has no certificates in PEM form")
    for number, described in enumerate(found):
        if number:
            click.echo()
        _print_certificate(described)
    return 0


def _print_certificate(described: Described) -> None:
    left = (described.not_after - datetime.now(UTC)).total_seconds() / 86400
    rows = {
        "subject": described.subject,
        "signed by": "itself" if described.issuer == described.subject else described.issuer,
        "is": "an authority" if described.is_authority else "a host's or a program's",
        "names": ", ".join(described.uris) or "none",
        "addresses": ", ".join(described.addresses) or "none",
        "serial": f"{described.serial:x}",
        "from": f"{described.not_before:%Y-%m-%d %H:%M:%S} UTC",
        "until": f"{described.not_after:%Y-%m-%d %H:%M:%S} UTC ({f'{left:.0f} days left' if left > 0 else 'EXPIRED'})",
        "sha256": described.sha256,
    }
    for name, value in rows.items():
        click.echo(f"{name:<10} {value}")


@ca_group.command(name="rotate")
@_ca_option
@click.option("--finish", "is_end", is_flag=True, help="The last step: trust the new authority alone.")
def _rotate_command(folder: Path, is_end: bool) -> int:
    """Put another authority in the place of the present one, without an interruption.

    The first call makes a second authority, which signs from now on; ca.pem then has both. The old key is gone. When all hosts have that
    ca.pem, and then certificates of the new authority, --finish leaves the new one alone in ca.pem. Prints the steps.

    Example: cashy ca rotate --ca ~/floor-ca
    """
    from cashy.cli.ca_folder import AuthorityFolder

    authority = AuthorityFolder(folder.absolute())
    if is_end:
        made = authority.finish()
        click.echo(f"{authority.authorities} has {made.subject} alone")
        click.echo("next: copy it to every host as its tls_ca, and reload; connections are made anew once")
        return 0
    made = authority.rotate(datetime.now(UTC))
    click.echo(f"{authority.authorities} has two authorities; {made.subject} signs from now on")
    click.echo("next, in this order:")
    click.echo("  1. copy it to every host as its tls_ca, and reload each")
    click.echo(
        f"  2. for each host: cashy ca issue HOST --renew --ca {authority.folder}, copy both files, reload"
    )
    click.echo(f"  3. cashy ca rotate --finish --ca {authority.folder}")
    return 0


def _check_name(what: str, pattern: str, name: str) -> None:
    if re.fullmatch(pattern, name) is None:
        raise click.BadParameter(f"{name!r} cannot be the name of a {what}: it must match {pattern}")
