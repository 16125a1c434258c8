"""Makes a session: finds the hosts, connects to them, reads what was wanted last, and follows all of it."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager
from pathlib import Path

import trio

from labshell.core.events import LinkChanged
from labshell.session.session import Session
from labshell.session.store import Store
from labtest.core.environment import Environment, HostKind
from labtest.core.pending import rebase
from labtest.deploy import SpecSource, StateFolder, open_deployment
from labtest.hosts.link import LinkChange, open_links
from labtest.namespaces import Lab, LabNotFound, addresses, find

__all__ = ["last_wanted", "open_session"]


def last_wanted(environment: Environment, state: StateFolder) -> tuple[Environment, Environment]:
    """A spec's environment as it was wanted last: with the changes that are in effect, and with those that wait as well.

    For what is typed before a session is there, which else would be read as if nothing had ever been changed. Raises
    :class:`~labtest.deploy.errors.StateDamaged`, :class:`~labtest.deploy.errors.StateNewer`.
    """
    desired = state.read(environment.name)
    in_effect = rebase(desired.changes, environment).environment
    return in_effect, rebase(desired.pending, in_effect).environment


@asynccontextmanager
async def open_session(
    environment: Environment,
    spec: Path,
    state: StateFolder,
    store: Store,
    *,
    overlays: tuple[str, ...] = (),
    variables: Mapping[str, str] | None = None,
    ssh_config: str = "",
) -> AsyncIterator[Session]:
    """A live environment, connected or not. Raises :class:`~labtest.namespaces.LabNotFound` where its hosts have to be booted first."""
    lab = await trio.to_thread.run_sync(_lab_of, environment, spec)
    source = SpecSource(
        spec,
        overlays=overlays,
        variables=variables,
        addresses=lambda: addresses(lab) if lab else {},
    )

    def tell(change: LinkChange) -> None:
        store.feed(LinkChanged(change.host, change.state, change.reason, store.now_s()))

    links_of = open_links(
        environment.hosts,
        lab_config=str(lab.ssh_config) if lab else "",
        ssh_config=ssh_config,
        on_change=tell,
    )
    async with links_of as links, trio.open_nursery() as nursery:
        session = Session(source, links=links, store=store, nursery=nursery, audit_path=state.audit_path)
        async with open_deployment(
            state, source, session.agents, on_event=session.tell_progress
        ) as deployment:
            await session.begin(deployment)
            yield session
        nursery.cancel_scope.cancel()


def _lab_of(environment: Environment, spec: Path) -> Lab | None:
    """The hosts that were booted for an environment, if it has any such."""
    if not any(host.kind is HostKind.NAMESPACE for host in environment.hosts):
        return None
    try:
        return find(environment.name)
    except LabNotFound as error:
        raise LabNotFound(f"{error}; `labtest up {spec}` boots its hosts") from None
