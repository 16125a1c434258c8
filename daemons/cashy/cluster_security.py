"""How the hosts of a cluster prove themselves to each other, as settings have it: with certificates, or without because somebody said so.

Law: decided from the settings alone, before anything is opened. There is no way by omission to a cluster that speaks in the clear: neither
certificates nor ``insecure = true`` is an error that says how to make certificates; both is one, too, since nobody can know which was
meant; and who says ``insecure`` must have named the address, so that nobody opens it to every network of a host by a wildcard.
"""

from __future__ import annotations

from cashy.errors import ConfigError
from cashy.setting_sections import ClusterSettings, Settings

__all__ = ["InsecureSettings", "check_cluster_security"]

_TLS = ("tls_certificate", "tls_key", "tls_ca")
#: Addresses that mean all of a host's.
_WILDCARDS = ("0.0.0.0", "::", "0", "*", "::0", "0:0:0:0:0:0:0:0", "::ffff:0.0.0.0")  # noqa: S104 - they are refused


class InsecureSettings(ConfigError):
    """``place`` is where in the file, for whoever knows the lines."""

    def __init__(self, place: tuple[str | int, ...], message: str) -> None:
        super().__init__(message)
        self.place = place


def check_cluster_security(settings: Settings) -> None:
    """Checks a host list's settings; raises :class:`InsecureSettings`."""
    cluster = settings.cluster
    given = [name for name in _TLS if getattr(cluster, name) is not None]
    missing = [name for name in _TLS if name not in given]
    if given and cluster.insecure:
        raise InsecureSettings(
            ("cluster", "insecure"),
            f"cluster.insecure = true and cluster.{given[0]} exclude each other: leave one of them out",
        )
    if given and missing:
        raise InsecureSettings(
            ("cluster", given[0]),
            f"cluster.{given[0]} needs {' and '.join(f'cluster.{name}' for name in missing)} beside it; `cashy ca issue` makes all three",
        )
    if cluster.insecure:
        _check_plaintext(settings, cluster)
    elif not given:
        own = cluster.host or "HOST"
        raise InsecureSettings(
            ("peer", 0),
            "there are peers but no certificates, by which hosts prove themselves and encrypt what they send: make them with "
            f"`cashy ca init DIR --cluster {cluster.name}` and, for each host, `cashy ca issue {own} --ca DIR`, and name the three files in "
            "[cluster] as tls_certificate, tls_key and tls_ca; or, on a network of your own, say insecure = true and key_file there",
        )


def _check_plaintext(settings: Settings, cluster: ClusterSettings) -> None:
    if cluster.key_file is None:
        raise InsecureSettings(
            ("cluster", "insecure"),
            "cluster.insecure needs cluster.key_file; give the path of a file with the secret that all "
            "hosts of the cluster share (--cluster-key PATH)",
        )
    for index, peer in enumerate(settings.peers):
        if cluster.listen is None and peer.name == cluster.host and peer.address.host in _WILDCARDS:
            raise InsecureSettings(
                ("peer", index, "address"), _wildcard("this host's address among the peers", peer.address)
            )
    if cluster.listen is not None and cluster.listen.host in _WILDCARDS:
        raise InsecureSettings(("cluster", "listen"), _wildcard("cluster.listen", cluster.listen))


def _wildcard(what: str, address: str) -> str:
    return f"{what} is {address}, all networks of this host, and cluster.insecure = true: name the one address that the other hosts shall reach it at"
