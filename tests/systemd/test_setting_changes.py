"""What a reload applies and what it names: for each setting of the table, one after the other and in any mixture."""

from __future__ import annotations

from typing import Any, Literal

import pytest
from hypothesis import given
from hypothesis import settings as settings_of_hypothesis
from hypothesis import strategies as st

from cashy.setting_changes import compare_settings
from cashy.settings import SettingField, Settings, load_settings, setting_fields

#: Of each setting another value than its default, and with it what it needs to be valid.
OTHER: dict[str, object] = {
    "instance.name": "other", "instance.socket": "/run/other.sock", "instance.socket_mode": "0600", "instance.remove_on_exit": True,
    "memory.size": "1GiB", "memory.block_size": "1MiB", "memory.eviction": "lru",
    "limits.client_pin_fraction": 0.25, "limits.client_pin_bytes": "1MiB", "limits.client_private_bytes": "1MiB",
    "freshness.revalidate_after_s": 9.0,
    "s3.listen": "127.0.0.1:1", "s3.credentials": "/k", "s3.anonymous": True, "s3.rights": "here", "s3.region": "eu-west-3",
    "s3.domains": ["s3.example.com"],
    "instance.allow_users": ["other"], "instance.allow_groups": ["others"], "instance.operators": "others", "memory.pinned_max": 0.5,
    "cluster.hedge": False, "cluster.hedge_budget": 0.1, "cluster.tls_refused": ["ff"], "cluster.insecure": True,
    "cluster.name": "other", "cluster.listen": "127.0.0.1:2", "cluster.local_copies": "always",
    "metrics.master": "127.0.0.1:3", "metrics.s3": "127.0.0.1:4", "log.level": "debug", "log.format": "json",
}  # fmt: skip
#: These need others beside them, so that no one of them can be changed alone.
_NOT_ALONE = (
    "s3.tls_certificate",
    "s3.tls_key",
    "cluster.host",
    "cluster.key_file",
    "cluster.hosts_file",
    "cluster.tls_certificate",
    "cluster.tls_key",
    "cluster.tls_ca",
)
FIELDS = [
    field
    for field in setting_fields()
    if field.section not in ("", "origin", "peer", "disk") and field.path not in _NOT_ALONE
]
ORIGIN = {"origin": [{"kind": "directory", "path": "/srv"}]}

Daemon = Literal["master", "s3"]


def other_value(field: SettingField) -> object:
    if field.path in OTHER:
        return OTHER[field.path]
    assert isinstance(field.default, int | float), field.path
    return type(field.default)(field.default / 2 if field.default > 1 else field.default + 1)


def settings(changed: list[SettingField] = []) -> Settings:  # noqa: B006 - is only read
    overrides: dict[str, Any] = {**ORIGIN, **{field.path: other_value(field) for field in changed}}
    return load_settings(None, overrides, {})


def is_read_by(field: SettingField, daemon: Daemon) -> bool:
    only = {
        "master": ("memory", "limits", "freshness"),
        "s3": ("s3",),
    }
    if field.path in ("metrics.master", "metrics.s3"):
        return field.path == f"metrics.{daemon}"
    if field.section in ("log",) or field.path in ("instance.name", "instance.socket"):
        return True
    if field.section in ("instance", "cluster"):
        return daemon == "master"
    return field.section in only[daemon]


@pytest.mark.parametrize("field", FIELDS, ids=lambda field: field.path)
def test_a_change_is_applied_or_named_or_none_of_the_daemons_business(field: SettingField) -> None:
    for daemon in ("master", "s3"):
        _, applied, need_restart = compare_settings(settings(), settings([field]), daemon)
        wanted = (field.path,) if is_read_by(field, daemon) else ()
        assert applied == (wanted if field.is_live else ())
        assert need_restart == (() if field.is_live else wanted)


@settings_of_hypothesis(deadline=None)
@given(st.lists(st.sampled_from(FIELDS), unique=True), st.sampled_from(["master", "s3"]))
def test_what_is_in_force_has_all_that_was_applied_and_nothing_else(
    changed: list[SettingField], daemon: Daemon
) -> None:
    fresh = settings(changed)
    in_force, applied, need_restart = compare_settings(settings(), fresh, daemon)
    assert set(applied).isdisjoint(need_restart)
    again = compare_settings(in_force, fresh, daemon)
    assert again == (in_force, (), need_restart), (
        "what needs a restart is named again, what was applied is not"
    )
    back = compare_settings(in_force, settings(), daemon)
    assert (back.in_force, set(back.applied), back.need_restart) == (settings(), set(applied), ())


def test_origins_and_peers_need_a_restart() -> None:
    other = load_settings(None, {"origin": [{"kind": "directory", "path": "/other"}]}, {})
    for daemon in ("master", "s3"):
        assert compare_settings(settings(), other, daemon).need_restart == ("origin",)


def test_disks_need_a_restart_of_the_master() -> None:
    other = load_settings(None, {**ORIGIN, "disk": [{"path": "/srv/ssd", "size": "1GiB"}]}, {})
    assert compare_settings(settings(), other, "master").need_restart == ("disk",)
    assert compare_settings(settings(), other, "s3").need_restart == ()


def test_a_certificate_needs_a_restart_to_begin() -> None:
    tls = load_settings(None, {**ORIGIN, "s3.tls_certificate": "/c", "s3.tls_key": "/k"}, {})
    assert compare_settings(settings(), tls, "s3").need_restart == ("s3.tls_certificate", "s3.tls_key")
    assert compare_settings(settings(), tls, "master").need_restart == ()
