"""``cashy ca`` as an operator meets it, and as openssl sees what it makes."""

from __future__ import annotations

import io
import os
import re
import subprocess
from collections.abc import Callable
from contextlib import redirect_stderr, redirect_stdout
from datetime import UTC, datetime, timedelta
from pathlib import Path

import pytest

from cashy.certificates import describe_certificates, is_signed_by
from cashy.cli import main
from cashy.cli.ca_folder import AuthorityFolder
from cashy.errors import ConfigError
from cashy.peer.tls import TlsFiles, load_peer_tls
from cashy.settings import load_settings

NOW = datetime.now(UTC)


def run(*arguments: object, code: int = 0) -> str:
    """What the command prints, on standard output if it succeeds."""
    out, err = io.StringIO(), io.StringIO()
    with redirect_stdout(out), redirect_stderr(err), pytest.raises(SystemExit) as end:
        main(["ca", *map(str, arguments)])
    assert (end.value.code or 0) == code, err.getvalue()
    return err.getvalue() if code else out.getvalue()


def openssl(*arguments: object) -> tuple[int, str]:
    done = subprocess.run(
        ["openssl", *map(str, arguments)], capture_output=True, text=True, timeout=60, check=False
    )
    return done.returncode, done.stdout + done.stderr


def verify(authorities: Path, certificate: Path, *more: str) -> int:
    purposes = ("sslserver", "sslclient")
    return max(
        openssl("verify", "-x509_strict", "-CAfile", authorities, "-no-CApath", "-purpose", each, *more, certificate)[0]
        for each in purposes
    )  # fmt: skip


@pytest.fixture(autouse=True)
def _no_folder_from_outside(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("CASHY_CA", raising=False)


@pytest.fixture
def folder(tmp_path: Path) -> AuthorityFolder:
    return AuthorityFolder.create(tmp_path / "ca", "floor", NOW)


def test_from_nothing_to_a_host_as_the_command_says_it(tmp_path: Path) -> None:
    """What it prints is followed word for word, and the result is what a master loads."""
    ca = tmp_path / "floor-ca"
    said = run("init", ca, "--cluster", "floor")
    assert f"cashy ca issue HOST --ca {ca}" in said
    said = run("issue", "rack1", "--ca", ca, "--address", "10.0.0.1", "--address", "rack1.example.net")
    settings = "".join(line.strip() + "\n" for line in said.splitlines() if line.startswith("  "))
    for name, path in (("cluster.pem", "hosts/rack1.pem"), ("cluster-key.pem", "hosts/rack1.key"), ("cluster-ca.pem", "ca.pem")):  # fmt: skip
        settings = settings.replace(f"/etc/aviary/{name}", str(ca / path))
    config = tmp_path / "cashy.toml"
    config.write_text(settings + '[[peer]]\nname = "rack1"\naddress = "10.0.0.1:9100"\n')
    cluster = load_settings(config).cluster
    assert (cluster.name, cluster.host) == ("floor", "rack1")
    assert cluster.tls_certificate is not None
    assert cluster.tls_key is not None
    assert cluster.tls_ca is not None
    loaded = load_peer_tls(
        TlsFiles(cluster.tls_certificate, cluster.tls_key, cluster.tls_ca), "floor", "rack1"
    )
    assert loaded.expires_at_s == pytest.approx(
        (datetime.now(UTC) + timedelta(days=365)).timestamp(), abs=300
    )
    assert f"serial number {loaded.serial:x}," in said
    shown = run("show", ca / "hosts" / "rack1.pem")
    assert f"serial     {loaded.serial:x}\n" in shown
    assert "names      cashy://floor/rack1\n" in shown
    assert "addresses  rack1.example.net, 10.0.0.1\n" in shown
    assert "PRIVATE" not in shown


def test_modes_are_tight_whatever_the_umask(tmp_path: Path) -> None:
    before = os.umask(0)
    try:
        made = AuthorityFolder.create(tmp_path / "ca", "floor", NOW)
        made.issue("a", NOW)
    finally:
        os.umask(before)
    modes = {
        str(path.relative_to(made.folder)): path.stat().st_mode & 0o777 for path in made.folder.rglob("*")
    }
    assert modes == {
        "ca.pem": 0o644, "ca.toml": 0o644, "ca-key.pem": 0o600, "hosts": 0o700, "hosts/a.pem": 0o644, "hosts/a.key": 0o600,
    }  # fmt: skip
    assert made.folder.stat().st_mode & 0o777 == 0o700


def test_openssl_verifies_a_hosts_chain_for_both_sides(folder: AuthorityFolder) -> None:
    folder.issue("a", NOW, addresses=("a.example.net",))
    certificate, _ = folder.files_of("a")
    assert verify(folder.authorities, certificate) == 0
    assert verify(folder.authorities, certificate, "-verify_hostname", "a.example.net") == 0
    text = openssl("x509", "-in", certificate, "-noout", "-text")[1]
    assert "URI:cashy://floor/a" in text
    assert "CA:FALSE" in text


def test_openssl_refuses_what_is_wrong(folder: AuthorityFolder, tmp_path: Path) -> None:
    other = AuthorityFolder.create(tmp_path / "other", "floor", NOW)
    other.issue("a", NOW)
    assert verify(folder.authorities, other.files_of("a")[0]) != 0
    folder.issue("late", NOW - timedelta(days=3), days=1)
    assert verify(folder.authorities, folder.files_of("late")[0]) != 0
    # A host's certificate signs nothing: what it signs is not believed.
    folder.issue("b", NOW)
    certificate, key = folder.files_of("b")
    forged = tmp_path / "forged.pem"
    code, said = openssl(
        "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-subj", "/CN=c", "-addext",
        "subjectAltName=URI:cashy://floor/c", "-addext", "basicConstraints=critical,CA:FALSE", "-CA", certificate, "-CAkey", key,
        "-keyout", tmp_path / "forged.key", "-out", forged,
    )  # fmt: skip
    assert code == 0, said
    assert verify(folder.authorities, forged, "-untrusted", str(certificate)) != 0


def test_nothing_is_overwritten_unless_asked(folder: AuthorityFolder) -> None:
    before = {path: path.read_bytes() for path in folder.folder.rglob("*") if path.is_file()}
    assert "nothing is overwritten" in run("init", folder.folder, "--cluster", "floor", code=1)
    folder.issue("a", NOW)
    first = folder.files_of("a")[0].read_bytes()
    assert "give --renew" in run("issue", "a", "--ca", folder.folder, code=1)
    assert folder.files_of("a")[0].read_bytes() == first
    assert {path: path.read_bytes() for path in before} == before
    run("issue", "a", "--renew", "--ca", folder.folder)
    assert folder.files_of("a")[0].read_bytes() != first
    assert list(folder.folder.rglob(".*")) == []


def test_a_disk_that_fails_leaves_nothing_half(
    folder: AuthorityFolder, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder.issue("a", NOW)
    before = {path: path.read_bytes() for path in folder.folder.rglob("*") if path.is_file()}

    def no_space(descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr("cashy.cli.ca_folder.os.fsync", no_space)
    attempts: list[Callable[[], object]] = [
        lambda: folder.issue("a", NOW, is_renewal=True),
        lambda: folder.issue("b", NOW),
        lambda: folder.rotate(NOW),
    ]
    for attempt in attempts:
        with pytest.raises(OSError, match="No space left"):
            attempt()
        assert {path: path.read_bytes() for path in folder.folder.rglob("*") if path.is_file()} == before


def test_rotation_step_by_step(folder: AuthorityFolder) -> None:
    """At each step every pair of hosts that may meet accepts each other."""
    for host in ("a", "b"):
        folder.issue(host, NOW)
    old = folder.authorities.read_bytes()
    said = run("rotate", "--ca", folder.folder)
    assert [line[:5] for line in said.splitlines()[-3:]] == ["  1. ", "  2. ", "  3. "]
    both = folder.authorities.read_bytes()
    assert len(describe_certificates(both)) == 2
    assert both.endswith(old)
    a, b = (folder.files_of(host)[0] for host in ("a", "b"))
    assert is_signed_by(a.read_bytes(), both)
    assert "under way already" in run("rotate", "--ca", folder.folder, code=1)
    run("issue", "a", "--renew", "--ca", folder.folder)
    assert not is_signed_by(a.read_bytes(), old)
    assert is_signed_by(a.read_bytes(), both)
    assert "certificates of the old authority: b;" in run("rotate", "--finish", "--ca", folder.folder, code=1)
    run("issue", "b", "--renew", "--ca", folder.folder)
    run("rotate", "--finish", "--ca", folder.folder)
    assert verify(folder.authorities, b) == 0
    assert len(describe_certificates(folder.authorities.read_bytes())) == 1
    assert not is_signed_by(b.read_bytes(), old)


def test_a_rotation_that_was_interrupted_leaves_an_authority_that_signs(folder: AuthorityFolder) -> None:
    """Killed between its two files: there are two certificates, and the key is still the old one's."""
    key, old = folder.folder / "ca-key.pem", folder.authorities.read_bytes()
    old_key = key.read_bytes()
    folder.rotate(NOW)
    key.write_bytes(old_key)
    folder.issue("a", NOW)
    assert is_signed_by(folder.files_of("a")[0].read_bytes(), old)
    folder.finish()
    assert folder.authorities.read_bytes() == old


@pytest.mark.parametrize(
    ("arguments", "code", "message"),
    [
        (["init", "{new}", "--cluster", "a b"], 2, "'a b' cannot be the name of a cluster"),
        (["init", "{new}"], 2, "Missing option '--cluster'"),
        (["issue", "../x", "--ca", "{ca}"], 2, "'../x' cannot be the name of a host"),
        (["issue", "x", "--ca", "{new}"], 1, "is no folder of an authority: make one with `cashy ca init"),
        (
            ["issue", "x", "--ca", "{ca}", "--address", "no address!é"],
            1,
            "is neither an IP address nor a DNS name",
        ),
        (["issue", "x", "--ca", "{ca}", "--days", "0"], 2, "--days"),
        (["show", "{ca}/ca-key.pem"], 1, "has no certificates in PEM form"),
        (["show", "{new}"], 1, "No such file or directory"),
    ],
)
def test_mistakes_are_one_line_that_says_what(
    folder: AuthorityFolder, tmp_path: Path, arguments: list[str], code: int, message: str
) -> None:
    names = {"new": str(tmp_path / "new"), "ca": str(folder.folder)}
    said = run(*(argument.format(**names) for argument in arguments), code=code)
    assert message in said
    assert len(said.splitlines()) == 1
    assert not (tmp_path / "new").exists()


def test_a_host_lasts_no_longer_than_its_authority(tmp_path: Path) -> None:
    made = AuthorityFolder.create(tmp_path / "ca", "floor", NOW, days=10)
    assert made.issue("a", NOW, days=365).not_after <= NOW + timedelta(days=10)


def test_folders_that_were_mixed_sign_nothing(folder: AuthorityFolder, tmp_path: Path) -> None:
    other = AuthorityFolder.create(tmp_path / "other", "floor", NOW)
    (folder.folder / "ca-key.pem").write_bytes((other.folder / "ca-key.pem").read_bytes())
    with pytest.raises(ConfigError, match="is the key of no certificate in"):
        folder.issue("a", NOW)


# ------------------------------------------------------------ what a master makes of the files


def pieces(folder: AuthorityFolder, host: str = "a") -> TlsFiles:
    folder.issue(host, NOW)
    return TlsFiles(*folder.files_of(host), folder.authorities)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda files, _: files.key.chmod(0o604), r"cluster.tls_key .* holds a secret and everyone on this host may open it .*chmod 600"),
        (lambda files, _: files.key.unlink(), "cannot read cluster.tls_key .*: No such file"),
        (lambda files, _: files.authorities.write_text(""), "cluster.tls_ca .* has no certificates of authorities"),
        (lambda files, _: files.certificate.write_text("x"), "cluster.tls_certificate .* holds no certificate in PEM form"),
        (lambda files, other: files.authorities.write_bytes(other.authorities.read_bytes()), "is signed by none of the authorities in"),
        (lambda files, other: files.key.write_bytes(pieces(other).key.read_bytes()), "is not the key of the first certificate"),
    ],
)  # fmt: skip
def test_files_that_do_not_fit_are_named(
    folder: AuthorityFolder, tmp_path: Path, spoil: object, message: str
) -> None:
    files = pieces(folder)
    spoil(files, AuthorityFolder.create(tmp_path / "other", "floor", NOW))  # type: ignore[operator]
    with pytest.raises(ConfigError) as error:
        load_peer_tls(files, "floor", "a")
    assert re.search(message, error.value.message), error.value.message
    assert "PRIVATE" not in error.value.message


@pytest.mark.parametrize(("cluster", "host"), [("floor", "b"), ("other", "a")])
def test_another_hosts_certificate_is_not_taken_for_ones_own(
    folder: AuthorityFolder, cluster: str, host: str
) -> None:
    with pytest.raises(
        ConfigError,
        match=f"is for cashy://floor/a, and this host is cashy://{cluster}/{host}: make its own with",
    ):
        load_peer_tls(pieces(folder), cluster, host)
