"""Credentials come from the usual AWS chain, and are refreshed off the loop before they end."""

from __future__ import annotations

import asyncio
import datetime
from pathlib import Path

import botocore.credentials
import pytest

from cashy.errors import AccessDenied, CashyError
from cashy.origin.credentials import CredentialSource, default_credentials
from cashy.origin.s3_sign import Secrets


@pytest.fixture(autouse=True)
def _no_aws_chain(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    for name in ("AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_SESSION_TOKEN", "AWS_PROFILE"):
        monkeypatch.delenv(name, raising=False)
    monkeypatch.setenv("AWS_EC2_METADATA_DISABLED", "true")
    monkeypatch.setenv("AWS_CONFIG_FILE", str(tmp_path / "config"))
    monkeypatch.setenv("AWS_SHARED_CREDENTIALS_FILE", str(tmp_path / "credentials"))


def test_chain_environment_then_file_then_nothing(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    assert asyncio.run(default_credentials()) is None
    (tmp_path / "credentials").write_text("[default]\naws_access_key_id = F\naws_secret_access_key = G\n")
    found = asyncio.run(default_credentials())
    assert found is not None
    assert CredentialSource(found).secrets == Secrets("F", "G", None)
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "A")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "B")
    monkeypatch.setenv("AWS_SESSION_TOKEN", "C")
    found = asyncio.run(default_credentials())
    assert found is not None
    assert CredentialSource(found).secrets == Secrets("A", "B", "C")


def refreshable(*lifetimes_s: float) -> botocore.credentials.RefreshableCredentials:
    """botocore's own refreshable credentials: the first set, then one per refresh, each ending after so many
    seconds.
    """
    sets = iter(enumerate(lifetimes_s))

    def fetch() -> dict[str, str]:
        number, lifetime_s = next(sets, (-1, 0.0))
        if number < 0:
            raise OSError("the service that gives credentials is gone")
        ends = datetime.datetime.now(datetime.UTC) + datetime.timedelta(seconds=lifetime_s)
        return {"access_key": f"A{number}", "secret_key": "S", "token": "T", "expiry_time": ends.isoformat()}

    return botocore.credentials.RefreshableCredentials.create_from_metadata(fetch(), fetch, "test")


async def ready(source: CredentialSource) -> None:
    answer: asyncio.Future[CashyError | None] = asyncio.get_running_loop().create_future()
    source.when_ready(answer.set_result)
    error = await answer
    if error is not None:
        raise error


def test_refresh_in_the_background_while_the_old_ones_are_good() -> None:
    async def main() -> None:
        source = CredentialSource(refreshable(3600))
        assert not source.is_ready()
        await ready(source)
        assert source.is_ready()
        assert source.refreshes_total == 1
        # Less than 15 min left: still used, and replaced meanwhile.
        source = CredentialSource(refreshable(700, 3600))
        await ready(source)
        assert source.secrets is not None
        source._retry_at = 0.0
        assert source.is_ready()
        while source.secrets.access_key != "A1":
            await asyncio.sleep(0.005)
            source._retry_at = 0.0
            assert source.is_ready()
        await source.close()

    asyncio.run(main())


def test_credentials_at_their_end_are_not_used() -> None:
    async def main() -> None:
        source = CredentialSource(refreshable(30, 3600))
        assert not source.is_ready()
        await ready(source)
        assert source.secrets is not None
        assert source.secrets.access_key == "A1"
        assert source.is_ready()
        source = CredentialSource(refreshable(30))
        with pytest.raises(AccessDenied, match="AWS chain"):
            await ready(source)
        await source.close()

    asyncio.run(main())
