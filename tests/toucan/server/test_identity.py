"""Who gets in: tokens, certificates, the local user; and what a newer users file changes for those who are in."""

from __future__ import annotations

import asyncio
import os
from pathlib import Path
from typing import Any

import grpc
import pytest
from tests.toucan.core.desk import terms
from tests.toucan.server.certificates import Authority, Pair
from tests.toucan.server.support import USERS, Failure, World, failing, run, write_users

from aviary.toucan.v1 import toucan_pb2 as pb
from aviary.toucan.v1.toucan_pb2_grpc import OrderEntryServiceStub
from toucan.errors import InvalidSettings
from toucan.server.settings import ServerSection
from toucan.server.tls import Tls

_WHO = pb.GetIdentityRequest()


def test_token_says_who_asks(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            identity = await world.client("bob").orders.GetIdentity(_WHO)
            assert (identity.user, list(identity.accounts)) == ("bob", ["ACC1"])
            assert list(identity.actions) == ["cancel", "trade", "view"]
            assert list(identity.symbols) == ["AAPL"]
            everything = await world.client("firm-risk").orders.GetIdentity(_WHO)
            assert list(everything.accounts) == ["ACC1", "ACC2", "ACC3"]
            assert not everything.symbols

    run(scenario())


@pytest.mark.parametrize(
    "metadata",
    [
        (),
        (("authorization", "Bearer wrong"),),
        (("authorization", "Bearer "),),
        (("authorization", "token-of-bob"),),
        (("authorization", "Basic token-of-bob"),),
        (("authorization", "Bearer " + "x" * 5000),),
        (("authorization-bin", b"Bearer token-of-bob"),),
    ],
    ids=["none", "wrong", "empty", "bare", "another scheme", "huge", "binary"],
)
def test_without_a_good_token_nothing_is_answered(tmp_path: Path, metadata: Any) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            client = world.client()
            client.orders._metadata = client.risk._metadata = metadata
            failures = [
                await failing(client.orders.GetIdentity(_WHO)),
                await failing(client.risk.ListLimits(pb.ListLimitsRequest())),
                await failing(client.orders.SubmitOrder(pb.SubmitOrderRequest())),
                await failing(client.orders.WatchOrders(pb.WatchOrdersRequest()).read()),
                await failing(client.orders.Session().read()),
            ]
            for failure in failures:
                assert (failure.status, failure.code) == ("UNAUTHENTICATED", "UNAUTHENTICATED")
                assert "token-of" not in failure.text

    run(scenario())


def test_scheme_is_in_any_case(tmp_path: Path) -> None:
    async def scenario() -> None:
        async with World.open(write_users(tmp_path / "users")) as world:
            client = world.client()
            client.orders._metadata = (("authorization", "bearer token-of-bob"),)
            assert (await client.orders.GetIdentity(_WHO)).user == "bob"

    run(scenario())


# ---------------------------------------------------------------- a newer file


def test_newer_file_counts_and_a_broken_one_does_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        async with World.open(path) as world:
            authority, client = world.front.authority, world.client("alice")
            assert list((await client.orders.GetIdentity(_WHO)).accounts) == ["ACC1", "ACC2"]
            write_users(path, {**USERS, "alice": {"accounts": ["ACC1"], "actions": ["view"]}})
            await authority.reload(is_asked=False)
            assert list((await client.orders.GetIdentity(_WHO)).accounts) == ["ACC1"]
            path.write_text("[user.alice]\nnonsense = 1\n")
            await authority.reload(is_asked=False)
            os.chmod(path, 0o644)
            await authority.reload(is_asked=True)
            path.unlink()
            await authority.reload(is_asked=True)
            assert list((await client.orders.GetIdentity(_WHO)).actions) == ["view"]

    run(scenario())


def test_streams_end_for_whom_entitlements_change_and_for_nobody_else(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        async with World.open(path) as world:
            streams = {}
            for user in ("alice", "bob", "carol", "viewer"):
                streams[user] = world.client(user).orders.WatchOrders(pb.WatchOrdersRequest())
                await streams[user].read()
            users = {**USERS, "alice": {"accounts": ["ACC1"], "actions": ["trade"]}}
            users["bob"] = {**USERS["bob"], "token_sha256": "0" * 64}
            del users["carol"]
            write_users(path, users)
            await world.front.authority.reload(is_asked=False)
            changed = await failing(streams["alice"].read())
            assert (changed.status, changed.code) == ("ABORTED", "ENTITLEMENTS_CHANGED")
            for user in ("bob", "carol"):
                assert (await failing(streams[user].read())).status == "UNAUTHENTICATED"
            order = world.engine.submit(terms())
            assert [update.order.order_id for update in (await streams["viewer"].read()).updates] == [
                order.order_id
            ]

    run(scenario())


def test_file_is_looked_at_when_asked_for(tmp_path: Path) -> None:
    async def scenario() -> None:
        path = write_users(tmp_path / "users")
        async with World.open(path) as world:
            changed = asyncio.Event()
            world.front.authority.on_change = changed.set
            world.front.authority.ask_for_reload()  # as SIGHUP does
            await changed.wait()
            changed.clear()
            write_users(path, {**USERS, "new": {"accounts": [], "actions": []}})
            await changed.wait()  # by itself, within a few seconds
            assert len(world.front.authority.users) == len(USERS) + 1

    run(scenario())


# ---------------------------------------------------------------- TLS


class _TlsWorld:
    """An authority, a server with its certificate, users known by theirs."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.authority = Authority()
        (folder / "ca.crt").write_bytes(self.authority.root)
        self.server = self.authority.pair("server")
        users = {
            "alice": {"certificates": ["alice"], "accounts": ["ACC1"], "actions": ["trade"]},
            "bob": {"certificates": ["bob.example"], "accounts": ["ACC1"], "actions": ["trade"]},
        }
        self.users = write_users(folder / "users", users)

    def settings(self, *, with_client_ca: bool) -> dict[str, Any]:
        settings: dict[str, Any] = self.server.write(self.folder, "server")
        return settings | ({"tls_client_ca": str(self.folder / "ca.crt")} if with_client_ca else {})

    async def who(
        self, world: World, pair: Pair | None, metadata: Any = (), root: bytes | None = None
    ) -> Any:
        credentials = grpc.ssl_channel_credentials(
            root or self.authority.root,
            None if pair is None else pair.key,
            None if pair is None else pair.certificate,
        )
        options = [("grpc.use_local_subchannel_pool", 1)]
        async with grpc.aio.secure_channel(world.front.address, credentials, options) as channel:
            try:
                stub: Any = OrderEntryServiceStub
                return await stub(channel).GetIdentity(_WHO, metadata=metadata, timeout=10)
            except grpc.aio.AioRpcError as error:
                return Failure(error)


def test_certificate_says_who_asks_and_bad_ones_do_not_connect(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = _TlsWorld(tmp_path)
        async with World.open(tls.users, **tls.settings(with_client_ca=True)) as world:
            assert (await tls.who(world, tls.authority.pair("alice"))).user == "alice"
            assert (await tls.who(world, tls.authority.pair("x", dns=("bob.example",)))).user == "bob"
            stranger = await tls.who(world, tls.authority.pair("mallory"))
            assert stranger.status == "UNAUTHENTICATED"
            assert "mallory" in stranger.text
            both = await tls.who(world, tls.authority.pair("alice", dns=("bob.example",)))
            assert both.status == "UNAUTHENTICATED"
            # A token does not help who has no certificate.
            token = (("authorization", "Bearer token-of-alice"),)
            for pair in (tls.authority.pair("alice", days=-1), Authority("elsewhere").pair("alice"), None):
                refused = await tls.who(world, pair, token)
                assert (refused.status, refused.code) == ("UNAVAILABLE", "")

    run(scenario())


def test_tokens_over_tls_and_a_client_that_trusts_another_authority(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = _TlsWorld(tmp_path)
        async with World.open(tls.users, **tls.settings(with_client_ca=False)) as world:
            token = (("authorization", "Bearer token-of-alice"),)
            assert (await tls.who(world, None, token)).user == "alice"
            assert (await tls.who(world, None)).status == "UNAUTHENTICATED"
            assert (await tls.who(world, None, token, Authority().root)).status == "UNAVAILABLE"
            assert (await failing(world.client("alice").orders.GetIdentity(_WHO))).status == "UNAVAILABLE"

    run(scenario())


def test_new_certificate_is_taken_for_new_connections_and_a_broken_one_is_not(tmp_path: Path) -> None:
    async def scenario() -> None:
        tls = _TlsWorld(tmp_path)
        async with World.open(tls.users, **tls.settings(with_client_ca=False)) as world:
            token = (("authorization", "Bearer token-of-alice"),)
            other = Authority("other")
            other.pair("server").write(tmp_path, "server")
            await world.front.authority.reload(is_asked=False)
            assert (await tls.who(world, None, token, other.root)).user == "alice"
            assert (await tls.who(world, None, token)).status == "UNAVAILABLE"
            (tmp_path / "server.crt").write_text("no certificate")
            await world.front.authority.reload(is_asked=False)
            assert (await tls.who(world, None, token, other.root)).user == "alice"

    run(scenario())


@pytest.mark.parametrize(
    ("name", "content", "mode", "words"),
    [
        ("server.key", None, 0o644, "chmod 600"),
        ("server.key", b"nonsense", 0o600, "cannot be used"),
        ("server.crt", b"nonsense", 0o600, "cannot be used"),
        ("ca.crt", b"nonsense", 0o600, "tls_client_ca"),
        ("server.key", b"", 0o000, "cannot"),
    ],
)
def test_bad_files_are_named(tmp_path: Path, name: str, content: bytes | None, mode: int, words: str) -> None:
    settings = _TlsWorld(tmp_path).settings(with_client_ca=True)
    if content is not None:
        (tmp_path / name).write_bytes(content)
    os.chmod(tmp_path / name, mode)
    with pytest.raises(InvalidSettings, match=words):
        Tls(ServerSection(**settings))


def test_key_of_another_certificate_is_named(tmp_path: Path) -> None:
    tls = _TlsWorld(tmp_path)
    settings = tls.settings(with_client_ca=False)
    (tmp_path / "server.key").write_bytes(tls.authority.pair("x").key)
    with pytest.raises(InvalidSettings, match="is not the key of the first certificate"):
        Tls(ServerSection(**settings))
