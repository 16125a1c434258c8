"""Settings: what the file may say, what the command line replaces, and how a mistake is told."""

from __future__ import annotations

import os
import tomllib
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from cashy.cluster_key import CLUSTER_KEY_BYTES_MAX, CLUSTER_KEY_BYTES_MIN, load_cluster_key
from cashy.errors import ConfigError
from cashy.setting_changes import compare_settings
from cashy.setting_values import Address, BlockSize, ByteSize, HttpUrl, format_size, parse_size
from cashy.settings import (
    DISK_BLOCKS_MIN,
    DISKS_MAX,
    PEERS_MAX,
    SOCKET_PATH_BYTES_MAX,
    DirectoryOriginSettings,
    OptionError,
    S3OriginSettings,
    Settings,
    load_settings,
    parse_disk_option,
    parse_origin_option,
    parse_peer_option,
    setting_fields,
)
from hostkit.toml_lines import key_lines, line_of

MINIMAL_ORIGIN = '[[origin]]\nkind = "s3"\nurl = "http://127.0.0.1:1"\n'


def load(tmp_path: Path, text: str, **overrides: object) -> Settings:
    path = tmp_path / "cashy.toml"
    path.write_text(text, encoding="utf-8")
    return load_settings(path, {name.replace("__", "."): value for name, value in overrides.items()}, {})


def error_of(tmp_path: Path, text: str, **overrides: object) -> str:
    with pytest.raises(ConfigError) as caught:
        load(tmp_path, text, **overrides)
    return caught.value.message.replace(f"{tmp_path}/", "")


def test_no_file_gives_the_defaults() -> None:
    settings = load_settings(None, {}, {})
    assert settings.memory.size_bytes == 256 << 20
    assert settings.memory.block_bytes == 4 << 20
    assert settings.instance.socket == Path("/run/cashy/cashy.sock")
    assert (settings.s3.listen.host, settings.s3.listen.port) == ("127.0.0.1", 9000)
    assert settings.origins == ()
    assert settings.client_pin_bytes_max == 128 << 20


def test_file_is_read(tmp_path: Path) -> None:
    text = """
        [memory]
        size = "16GiB"
        block_size = 65536
        [limits]
        client_pin_bytes = "1GiB"
        [[origin]]
        kind = "s3"
        url = "https://store.example:9/"
        buckets = ["a", "b"]
        anonymous = true
        [[origin]]
        kind = "directory"
        name = "nfs"
        path = "/mnt/nfs"
        [s3]
        listen = "[::1]:0"
        credentials = "/etc/keys.toml"
    """
    settings = load(tmp_path, text)
    assert (settings.memory.size_bytes, settings.memory.block_bytes) == (16 << 30, 64 << 10)
    assert settings.client_pin_bytes_max == 1 << 30
    store, directory = settings.origins
    assert isinstance(store, S3OriginSettings)
    assert (store.name, store.url, store.buckets) == (
        "https://store.example:9",
        "https://store.example:9",
        ("a", "b"),
    )
    assert isinstance(directory, DirectoryOriginSettings)
    assert (directory.name, directory.path) == ("nfs", Path("/mnt/nfs"))
    assert (settings.s3.listen.host, settings.s3.listen.port) == ("::1", 0)
    assert settings.s3.credentials == Path("/etc/keys.toml")


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("[memory]\n\nblocksize = 1\n", 'cashy.toml:3: unknown key "blocksize" in [memory]; did you mean "block_size"?'),
        ("# hello\n[memroy]\n", 'cashy.toml:2: unknown section "memroy"; did you mean "memory"?'),
        ("zzz = 1\n", 'cashy.toml:1: unknown section "zzz"; known: instance, memory,'),
        (MINIMAL_ORIGIN + MINIMAL_ORIGIN + "uri = 1\n", 'cashy.toml:7: unknown key "uri" in [[origin]]; did you mean "url"?'),
        (MINIMAL_ORIGIN + "threads = 4\n", 'cashy.toml:4: unknown key "threads" in [[origin]]'),
        ('[[origin]]\nkind = "ftp"\n', "cashy.toml:2: unknown kind 'ftp' of [[origin]]; write \"s3\" or \"directory\""),
        ('[[origin]]\nkind = "s3"\n', "cashy.toml:1: origin[0]: an s3 origin needs its url, or its region"),
        ('[[origin]]\nurl = "http://h"\n', "cashy.toml:1: origin[0]: object missing required field kind"),
        ("[origin]\n", "cashy.toml:1: origin: expected a list of tables; write [[origin]]"),
        ("memory = 5\n", "cashy.toml:1: memory: expected a table, got int"),
        ("[memory]\nsize = true\n", "cashy.toml:2: memory.size: true is no size"),
        ('[memory]\nsize = "12 parsecs"\n', "cashy.toml:2: memory.size: '12 parsecs' is no size"),
        ('[memory]\nblock_size = "3MiB"\n', "cashy.toml:2: memory.block_size: '3MiB' is no block size"),
        ('[memory]\nsize = "8MiB"\n', "cashy.toml:2: memory.size: 8MiB is too little for blocks of 4MiB; give 16MiB"),
        ('[memory]\neviction = "fifo"\n', "cashy.toml:2: memory.eviction: invalid enum value 'fifo'"),
        ("[limits]\nclients_max = 1025\n", "cashy.toml:2: limits.clients_max: expected int <= 1024"),
        ('[limits]\nclients_max = "9"\n', "cashy.toml:2: limits.clients_max: expected int, got str"),
        ('[s3]\nlisten = "9000"\n', "cashy.toml:2: s3.listen: '9000' is no address"),
        ('[s3]\ncredentials = "keys.toml"\n', "cashy.toml:2: s3.credentials: 'keys.toml' is no absolute path"),
        ('[instance]\nname = "../x"\n', "cashy.toml:2: instance.name: expected str matching regex"),
        (MINIMAL_ORIGIN * 2, "cashy.toml:4: two origins have the name"),
        (
            f'{MINIMAL_ORIGIN}buckets = ["b"]\n[[origin]]\nkind = "s3"\nurl = "http://h"\nbuckets = [\n  "b"]\n',
            'cashy.toml:8: the bucket "b" is named by two origins',
        ),
        ("[memory\n", "cashy.toml:1: not valid TOML"),
        ("[a]\nx = 1\nx = 2\n", "cashy.toml:3: not valid TOML"),
    ],
)  # fmt: skip
def test_mistake_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert error_of(tmp_path, text).startswith(message)


def test_unreadable_files_are_told(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*missing.toml: No such file"):
        load_settings(tmp_path / "missing.toml", {}, {})
    with pytest.raises(ConfigError, match=r"cannot read the configuration .*: Is a directory"):
        load_settings(tmp_path, {}, {})
    (tmp_path / "latin").write_bytes(b'x = "\xe9"')
    with pytest.raises(ConfigError, match="not UTF-8"):
        load_settings(tmp_path / "latin", {}, {})


def test_command_line_goes_before_the_file(tmp_path: Path) -> None:
    text = '[memory]\nsize = "64MiB"\nblock_size = "1MiB"\n' + MINIMAL_ORIGIN
    settings = load(tmp_path, text, memory__size="32MiB", origin=[parse_origin_option("file=/srv")])
    assert (settings.memory.size_bytes, settings.memory.block_bytes) == (32 << 20, 1 << 20)
    assert [origin.name for origin in settings.origins] == ["/srv"]


def test_mistake_on_the_command_line_names_the_option(tmp_path: Path) -> None:
    assert error_of(tmp_path, "[memory]\nsize = 1\n", memory__size="much").startswith(
        "--memory: 'much' is no size"
    )
    with pytest.raises(OptionError):
        load(tmp_path, "", s3__listen="nowhere")


def test_cashy_socket_replaces_only_the_default(tmp_path: Path) -> None:
    environ = {"CASHY_SOCKET": "/tmp/env.sock"}
    path = tmp_path / "c.toml"
    path.write_text("")
    assert load_settings(path, {}, environ).instance.socket == Path("/tmp/env.sock")
    assert load_settings(path, {"instance.socket": "/tmp/o.sock"}, environ).instance.socket == Path(
        "/tmp/o.sock"
    )
    path.write_text('[instance]\nsocket = "/tmp/file.sock"')
    assert load_settings(path, {}, environ).instance.socket == Path("/tmp/file.sock")


def test_socket_path_may_be_as_long_as_the_kernel_allows() -> None:
    longest = "/" + "s" * (SOCKET_PATH_BYTES_MAX - 1)
    assert str(load_settings(None, {"instance.socket": longest}, {}).instance.socket) == longest
    with pytest.raises(OptionError, match="--socket: the path is longer than the 107 bytes"):
        load_settings(None, {"instance.socket": longest + "s"}, {})


@given(st.integers(0, 1 << 50))
def test_sizes_are_written_and_read_back(size_bytes: int) -> None:
    assert parse_size(format_size(size_bytes)) == size_bytes


@pytest.mark.parametrize("bad", ["", "MiB", "-1", -1, "1.5GiB", "1mb", "1 GB", True, None, 2.0])
def test_what_is_no_size_is_refused(bad: object) -> None:
    with pytest.raises(ValueError, match="is no size"):
        ByteSize.parse(bad)


def test_block_sizes_at_and_beyond_their_limits() -> None:
    assert BlockSize.parse("64KiB") == 64 << 10
    assert BlockSize.parse("64MiB") == 64 << 20
    for bad in ("32KiB", "128MiB", 65537, "96KiB"):
        with pytest.raises(ValueError, match="is no block size"):
            BlockSize.parse(bad)


@pytest.mark.parametrize("bad", ["", "h", ":80", "h:", "h:65536", "h:-1", "h:x", "h:\u00b2"])
def test_what_is_no_address_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no address"):
        Address.parse(bad)


@pytest.mark.parametrize(
    "bad", ["", "host:80", "ftp://h", "http://", "http://h?x", "http://u@h", "http://h:99999"]
)
def test_what_is_no_endpoint_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"is no endpoint|[Pp]ort"):
        HttpUrl.parse(bad)


@pytest.mark.parametrize("bad", ["", "s3", "s3=", "dir=/x", "file="])
def test_what_is_no_origin_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match="is no origin"):
        parse_origin_option(bad)


def test_every_option_is_there_once_and_takes_effect() -> None:
    options = [
        (field.option, command) for field in setting_fields() if field.option for command in field.commands
    ]
    assert len(options) == len(set(options))
    assert {"--origin", "--s3", "--socket", "--memory", "--credentials", "--anonymous", "--peer", "--metrics"} <= {
        option for option, _ in options
    }  # fmt: skip
    for field in setting_fields():
        assert bool(field.option) == bool(field.commands), field.path


# ---------------------------------------------------------------- clusters

CLUSTER = """\
[cluster]
host = "b"
key_file = "/etc/cluster.key"
tls_certificate = "/etc/cluster.pem"
tls_key = "/etc/cluster-key.pem"
tls_ca = "/etc/cluster-ca.pem"
tls_refused = ["7f:0A", "ff"]
[[peer]]
name = "a"
address = "10.0.0.1:9100"
[[peer]]
name = "b.example.net"
address = "[fd00::2]:9100"
weight = 2
"""


def test_cluster_is_read(tmp_path: Path) -> None:
    text = (
        CLUSTER.replace('"b"', '"b.example.net"') + '[metrics]\nmaster = "0.0.0.0:9200"\ns3 = "[::]:9201"\n'
    )
    settings = load(tmp_path, text)
    assert [(peer.name, peer.address, peer.weight) for peer in settings.peers] == [
        ("a", "10.0.0.1:9100", 1.0),
        ("b.example.net", "[fd00::2]:9100", 2.0),
    ]
    assert settings.this_host() == settings.peers[1]
    cluster = settings.cluster
    assert (cluster.name, cluster.listen, cluster.key_file) == ("default", None, Path("/etc/cluster.key"))
    assert (cluster.tls_certificate, cluster.tls_key) == (
        Path("/etc/cluster.pem"),
        Path("/etc/cluster-key.pem"),
    )
    assert (cluster.tls_ca, cluster.tls_refused, cluster.insecure) == (
        Path("/etc/cluster-ca.pem"),
        (0x7F0A, 0xFF),
        False,
    )
    assert (cluster.local_copies, cluster.read_timeout_s, cluster.peers_tried) == ("second-read", 10.0, 2)
    assert (settings.metrics.master, settings.metrics.s3) == ("0.0.0.0:9200", "[::]:9201")


def test_no_peers_is_no_cluster() -> None:
    settings = load_settings(None, {}, {})
    assert (settings.this_host(), settings.peers, settings.cluster.host) == (None, (), None)
    assert (settings.metrics.master, settings.metrics.s3) == (None, None)


def test_one_file_fits_all_hosts(tmp_path: Path) -> None:
    """An S3 worker reads it without knowing which host it is on; a master is told by its command line."""
    text = CLUSTER.replace('host = "b"\n', "")
    unknown = load(tmp_path, text)
    with pytest.raises(
        ConfigError, match=r"which of them is this one\?.*--cluster-host, one of: a, b.example.net"
    ):
        unknown.this_host()
    assert load(tmp_path, text, cluster__host="a").this_host() == unknown.peers[0]


def test_host_without_peers_is_for_workers_only() -> None:
    """Their metrics carry its name; `cashy dev` tells them no more than that."""
    settings = load_settings(None, {"cluster.host": "a"}, {})
    assert settings.cluster.host == "a"
    with pytest.raises(ConfigError, match='this host is "a" of a cluster, but there are no peers: add'):
        settings.this_host()


def test_peers_of_the_command_line_replace_the_files(tmp_path: Path) -> None:
    peers = [parse_peer_option("x=h1:1"), parse_peer_option("y=[::1]:2,0.5"), parse_peer_option("z=h1:2,0")]
    settings = load(tmp_path, CLUSTER, peer=peers, cluster__host="y", cluster__listen="0.0.0.0:7")
    assert [(peer.name, peer.address, peer.weight) for peer in settings.peers] == [
        ("x", "h1:1", 1.0),
        ("y", "[::1]:2", 0.5),
        ("z", "h1:2", 0.0),
    ]
    assert settings.cluster.listen == "0.0.0.0:7"


PEER_A = '[[peer]]\nname = "a"\naddress = "h:1"\n'
KEY = '[cluster]\nkey_file = "/k"\ninsecure = true\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (CLUSTER, 'cashy.toml:2: cluster.host: "b" is not among the peers (a, b.example.net); add a [[peer]]'),
        (PEER_A, "cashy.toml:1: there are peers but no certificates, by which"),
        (KEY + PEER_A + PEER_A.replace("h:1", "h:2"), 'cashy.toml:8: two peers have the name "a"; names must differ'),
        (KEY + PEER_A + PEER_A.replace('"a"', '"A"').replace("h:1", "h:2"), 'cashy.toml:8: two peers have the name "A"'),
        (KEY + PEER_A + PEER_A.replace('"a"', '"b"'), 'cashy.toml:9: two peers, "a" and "b", have the address h:1; addresses'),
        (KEY + PEER_A + PEER_A.replace('"a"', '"b"').replace("h:1", "H:01"), 'cashy.toml:9: two peers, "a" and "b", have the'),
        (KEY + PEER_A.replace("h:1", "h:0"), 'cashy.toml:6: the peer "a" has port 0; give the port'),
        (KEY + PEER_A + "weight = 0\n", "cashy.toml:7: all peers have weight 0, so no block has a home; give one a weight"),
        (PEER_A + "weight = -0.5\n", "cashy.toml:4: peer[0].weight: expected float >= 0"),
        (PEER_A + "weight = nan\n", "cashy.toml:4: peer[0].weight: expected float >= 0"),
        (PEER_A + "weight = inf\n", "cashy.toml:4: peer[0].weight: expected float <= 1000000"),
        (PEER_A + 'wieght = "1"\n', 'cashy.toml:4: unknown key "wieght" in [[peer]]; did you mean "weight"?'),
        ('[[peer]]\nname = "a"\n', "cashy.toml:1: peer[0]: object missing required field address"),
        ('[[peer]]\nname = "a=b"\naddress = "h:1"\n', "cashy.toml:2: peer[0].name: expected str matching regex"),
        ('[[peer]]\nname = "a"\naddress = "h"\n', "cashy.toml:3: peer[0].address: 'h' is no address"),
        ("[peer]\n", "cashy.toml:1: peer: expected a list of tables; write [[peer]] with double brackets"),
        ("peer = [1]\n", "cashy.toml:1: peer[0]: expected a table, got int"),
        ('[cluster]\nkey_fil = "/k"\n', 'cashy.toml:2: unknown key "key_fil" in [cluster]; did you mean "key_file"?'),
        ('[cluster]\nkey_file = "k"\n', "cashy.toml:2: cluster.key_file: 'k' is no absolute path"),
        ('[cluster]\nlocal_copies = "some"\n', "cashy.toml:2: cluster.local_copies: invalid enum value 'some'"),
        ('[cluster]\npeers_tried = 0\n', "cashy.toml:2: cluster.peers_tried: expected int >= 1"),
        ('[metrics]\nmaster = 9200\n', "cashy.toml:2: metrics.master: 9200 is no address"),
    ],
)  # fmt: skip
def test_mistake_in_a_cluster_is_told_with_its_line(tmp_path: Path, text: str, message: str) -> None:
    assert error_of(tmp_path, text).startswith(message)


@pytest.mark.parametrize(
    ("overrides", "message"),
    [
        ({"cluster__host": "c"}, '--cluster-host: "c" is not among the peers'),
        ({"cluster__host": "a", "peer": [parse_peer_option("a=h:1,0")]}, "--peer: all peers have weight 0"),
        ({"cluster__host": "a", "peer": [parse_peer_option("a=h:1,-1")]}, "--peer: peer[0].weight: expected float"),
        ({"cluster__listen": "here"}, "--cluster-listen: 'here' is no address"),
        ({"metrics__s3": "here"}, "--metrics: 'here' is no address"),
    ],
)  # fmt: skip
def test_mistake_in_a_cluster_names_the_option(
    tmp_path: Path, overrides: dict[str, object], message: str
) -> None:
    assert error_of(tmp_path, CLUSTER, **overrides).startswith(message)


def test_cluster_has_as_many_hosts_as_its_limit_and_not_one_more() -> None:
    def peers(count: int) -> list[dict[str, object]]:
        return [{"name": f"h{number}", "address": f"h{number}:1"} for number in range(count)]

    overrides = {"cluster.key_file": "/k", "cluster.insecure": True, "cluster.host": "h0"}
    assert len(load_settings(None, {**overrides, "peer": peers(PEERS_MAX)}, {}).peers) == PEERS_MAX
    with pytest.raises(OptionError, match=f"--peer: {PEERS_MAX + 1} hosts are too many"):
        load_settings(None, {**overrides, "peer": peers(PEERS_MAX + 1)}, {})


@pytest.mark.parametrize("bad", ["", "a", "a=", "a=h", "=", "a=h:1,", "a=h:1,x", "a=h:1,1,1", "a=h:99999"])
def test_what_is_no_peer_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"is no peer; write NAME=HOST:PORT"):
        parse_peer_option(bad)


def write_key(path: Path, content: bytes, mode: int = 0o600) -> Path:
    path.touch(mode)
    path.chmod(mode)
    path.write_bytes(content)
    return path


def test_cluster_key_is_the_file_without_blanks_around_it(tmp_path: Path) -> None:
    for length in (CLUSTER_KEY_BYTES_MIN, CLUSTER_KEY_BYTES_MAX - 1):
        path = write_key(tmp_path / "key", b"k" * length + b"\n", 0o640)
        assert load_cluster_key(path) == b"k" * length
    assert load_cluster_key(write_key(tmp_path / "key", b"\x80\xff" * 8)) == b"\x80\xff" * 8


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "is empty; it needs 16 or more: write one with"),
        (b" \r\n" * 8, "is empty; it needs 16"),
        (b"s3cret" * 2 + b"abc\n", "has 15 bytes; it needs 16"),
        (b"s3cret" * 700, "is larger than 4096 bytes"),
    ],
)
def test_weak_cluster_key_is_refused(tmp_path: Path, content: bytes, message: str) -> None:
    path = write_key(tmp_path / "key", content)
    with pytest.raises(ConfigError) as caught:
        load_cluster_key(path)
    assert f"the cluster key {path} {message}" in caught.value.message
    assert "s3cret" not in caught.value.message


def test_cluster_key_that_others_can_open_is_refused(tmp_path: Path) -> None:
    for mode in (0o604, 0o602, 0o601):
        path = write_key(tmp_path / f"key{mode:o}", b"k" * 32, mode)
        with pytest.raises(
            ConfigError, match=rf"everyone on this host may open it \(mode {mode:o}\): run  chmod 600"
        ):
            load_cluster_key(path)


def test_cluster_key_that_is_no_file_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=r"cannot read the cluster key .*missing: No such file"):
        load_cluster_key(tmp_path / "missing")
    with pytest.raises(ConfigError, match="Is a directory"):
        load_cluster_key(tmp_path)
    os.mkfifo(tmp_path / "pipe", 0o600)
    with pytest.raises(ConfigError, match="is no regular file"):
        load_cluster_key(tmp_path / "pipe")


# ---------------------------------------------------------------- where a key stands

TRICKY = '''\
a = 1 # [not.a.table]
"quoted key" = """
b = 2
[c]
"""
d.e = { f = [1, 2], 'g.h' = "}" }
[x.y]
list = [
  "]", # ]
  { deep = 1 },
]
[[x.z]]
k = 1979-05-27 07:32:00
[[x.z]]
k = \'\'\'
'\'\'\'
[x.z.sub]
last = "\\\\"
end = 1
'''


def test_keys_are_found_where_they_stand() -> None:
    tomllib.loads(TRICKY)
    expected: dict[tuple[str | int, ...], int] = {
        ("a",): 1,
        ("quoted key",): 2,
        ("d",): 6,
        ("d", "e", "f"): 6,
        ("d", "e", "g.h"): 6,
        ("x", "y"): 7,
        ("x", "y", "list"): 8,
        ("x", "y", "list", 1, "deep"): 10,
        ("x", "z", 0): 12,
        ("x", "z", 0, "k"): 13,
        ("x", "z", 1, "k"): 15,
        ("x", "z", 1, "sub"): 17,
        ("x", "z", 1, "sub", "end"): 19,
    }
    found = key_lines(TRICKY)
    assert {path: found.get(path) for path in expected} == expected
    assert not {("b",), ("c",), ("not",)} & set(found)


def test_missing_key_is_placed_at_the_table_around_it() -> None:
    assert line_of(TRICKY, ("x", "z", 1, "nothing")) == 14
    assert line_of(TRICKY, ("nothing",)) is None


KEYS = st.text(st.characters(exclude_categories=["Cs"]), max_size=6)
VALUES: st.SearchStrategy[Any] = st.recursive(
    st.one_of(st.integers(0, 9), st.booleans(), st.text("a\"'\\#[]{}=,.\n\té", max_size=6)),
    lambda inner: st.one_of(st.lists(inner, max_size=3), st.dictionaries(KEYS, inner, max_size=3)),
    max_leaves=6,
)


def _quoted(text: str) -> str:
    escapes = {'"': '\\"', "\\": "\\\\"}
    plain = (escapes.get(char, char if char.isprintable() else f"\\U{ord(char):08x}") for char in text)
    return '"' + "".join(plain) + '"'


def _written(value: Any) -> str:
    if isinstance(value, bool):
        return str(value).lower()
    if isinstance(value, str):
        return _quoted(value)
    if isinstance(value, list):
        return "[" + ",\n ".join(map(_written, value)) + "]"
    if isinstance(value, dict):
        return "{" + ", ".join(f"{_quoted(key)} = {_written(inner)}" for key, inner in value.items()) + "}"
    return str(value)


@given(st.dictionaries(KEYS, st.dictionaries(KEYS, VALUES, max_size=4), max_size=4))
def test_scanner_follows_any_document(document: dict[str, dict[str, Any]]) -> None:
    """Where each top key stands is known from writing it; a value misread would shift what follows."""
    lines: list[str] = []
    expected: dict[tuple[str | int, ...], int] = {}
    for table, keys in document.items():
        expected[(table,)] = "\n".join([*lines, ""]).count("\n") + 1
        lines.append(f"[{_quoted(table)}] # c")
        for key, value in keys.items():
            expected[(table, key)] = "\n".join([*lines, ""]).count("\n") + 1
            lines.append(f"{_quoted(key)} = {_written(value)}")
    text = "\n".join(lines)
    assert tomllib.loads(text) == document
    found = key_lines(text)
    assert {path: found.get(path) for path in expected} == expected


def test_amazons_own_store_needs_no_url_but_a_region(tmp_path: Path) -> None:
    (tmp_path / "cashy.toml").write_text(
        '[[origin]]\nkind = "s3"\nregion = "eu-west-3"\naddressing = "virtual-host"\n'
    )
    (origin,) = load_settings(tmp_path / "cashy.toml").origins
    assert isinstance(origin, S3OriginSettings)
    assert origin.url == origin.name == "https://s3.eu-west-3.amazonaws.com"
    assert (origin.region, origin.addressing) == ("eu-west-3", "virtual-host")
    assert S3OriginSettings(url=HttpUrl("http://store")).region == "us-east-1"


@pytest.mark.parametrize(
    ("line", "message"),
    [
        ('addressing = "dns"', "invalid enum value 'dns'"),
        ('region = "../evil"', "expected str matching regex"),
        ("block_timeout_s = 101", "expected float <= 100"),
        ("retries_max = 17", "expected int <= 16"),
    ],
)
def test_mistaken_reader_is_told(tmp_path: Path, line: str, message: str) -> None:
    assert message in error_of(tmp_path, f'[[origin]]\nkind = "s3"\nurl = "http://h"\n{line}\n')


def test_anonymous_store_as_an_option() -> None:
    assert parse_origin_option("s3-anonymous=http://h:1") == {
        "kind": "s3",
        "url": "http://h:1",
        "anonymous": True,
    }
    settings = load_settings(None, {"origin": [parse_origin_option("s3-anonymous=http://h:1")]})
    (origin,) = settings.origins
    assert isinstance(origin, S3OriginSettings)
    assert origin.anonymous


def test_disks_are_a_list_and_those_of_the_command_line_replace_the_files(tmp_path: Path) -> None:
    text = '[[disk]]\npath = "/mnt/a"\nsize = "1GiB"\n[[disk]]\npath = "/mnt/b"\nsize = "2GiB"\nwrite_bytes_per_s = "50MiB"\n'
    settings = load(tmp_path, text)
    assert [(str(disk.path), disk.size_bytes, disk.write_bytes_per_s) for disk in settings.disks] == [
        ("/mnt/a", 1 << 30, 200 << 20),
        ("/mnt/b", 2 << 30, 50 << 20),
    ]
    given = load(tmp_path, text, disk=[parse_disk_option("/mnt/x=y=3GiB")])
    assert [(str(disk.path), disk.size_bytes) for disk in given.disks] == [("/mnt/x=y", 3 << 30)]


def _disk(path: str, size: str = "1GiB") -> str:
    return f'[[disk]]\npath = "{path}"\nsize = "{size}"\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (_disk("mnt/a"), "cashy.toml:2: disk[0].path: 'mnt/a' is no absolute path"),
        (_disk("/a", "63MiB"), "cashy.toml:3: disk[0].size: 63MiB is too little for blocks of 4MiB; give 64MiB or more"),
        (_disk("/a") + _disk("/a/."), "disk[1].path: /a and /a are one folder, or one lies in the other"),
        (_disk("/a/b") + _disk("/a"), "disk[1].path: /a and /a/b are one folder, or one lies in the other"),
        (_disk("/a") + 'sise = "1"\n', 'unknown key "sise" in [[disk]]; did you mean "size"?'),
        ('[disk]\npath = "/a"\nsize = "1GiB"\n', "write [[disk]] with double brackets"),
        ("".join(_disk(f"/a/{number}") for number in range(DISKS_MAX + 1)), "17 disks are too many; 16 are the limit"),
    ],
)  # fmt: skip
def test_wrong_disks_are_told_with_their_line(tmp_path: Path, text: str, message: str) -> None:
    assert message in error_of(tmp_path, text)


def test_the_smallest_disk_and_the_most_of_them_are_let_in(tmp_path: Path) -> None:
    smallest = f"{DISK_BLOCKS_MIN * 4}MiB"
    text = "".join(_disk(f"/a/{number}", smallest) for number in range(DISKS_MAX))
    assert len(load(tmp_path, text).disks) == DISKS_MAX


@pytest.mark.parametrize("bad", ["/mnt/a", "=1GiB", "/mnt/a=", "/mnt/a=much", ""])
def test_what_is_no_disk_is_refused(bad: str) -> None:
    with pytest.raises(ValueError, match=r"is no disk; write DIR=SIZE"):
        parse_disk_option(bad)


def test_disks_need_a_restart(tmp_path: Path) -> None:
    changes = compare_settings(load(tmp_path, _disk("/a")), load(tmp_path, _disk("/b")), "master")
    assert changes.need_restart == ("disk",)
    assert [str(disk.path) for disk in changes.in_force.disks] == ["/a"]
