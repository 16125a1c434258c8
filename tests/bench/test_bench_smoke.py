"""The bench itself: two cheap rows run to the end, what is unavailable is said, and its signed requests are what botocore would sign."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import pytest
from botocore.auth import S3SigV4Auth
from botocore.awsrequest import AWSRequest
from botocore.credentials import Credentials

from .generator import GeneratorFailed, ceiling_requests_per_s, generator
from .row import Bench, Measurement, Result, Row, against_limit, alternate
from .signing import signed_request, signed_requests
from .table import ROWS, write_json

REPOSITORY = Path(__file__).resolve().parents[2]
KEYS = {"name", "ours", "peer", "peer_name", "unit", "ratio", "better"}


def _row(goal: float | None = 0.5, ours_goal: float | None = None) -> Row:
    return Row("row", "us", "peer", "lower", goal, lambda bench: Measurement([], []), ours_goal=ours_goal)


@pytest.mark.system
def test_two_rows_run_and_are_written(tmp_path: Path) -> None:
    output = tmp_path / "build" / "bench.json"
    command = [sys.executable, "-m", "tests.bench", "--quick", "--only", "shm_hit_64k, growth_miss"]
    done = subprocess.run(
        [*command, "--output", str(output)],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    rows = json.loads(output.read_text())
    assert [row["name"] for row in rows] == ["shm_hit_64k", "growth_miss"]
    for row in rows:
        assert row.keys() >= KEYS
        assert row["ours"] > 0
        assert row["ratio"] == pytest.approx(row["ours"] / row["peer"])
        assert row["ours_min"] <= row["ours"] <= row["ours_max"]
        assert row["name"] in done.stdout
    assert not list(Path("/dev/shm").glob("cashy-bench-*")), "it cleans up"


def test_unknown_rows_are_refused_with_the_known_names() -> None:
    command = [sys.executable, "-m", "tests.bench", "--only", "no_such_row"]
    done = subprocess.run(command, cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False)
    assert done.returncode == 2
    assert "no_such_row" in done.stderr
    assert "shm_hit_64k" in done.stderr


def test_missing_peer_is_a_loud_skip_and_no_failure(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    code = (
        "import sys; from tests.bench import machine, peers, __main__ as m;"
        "peers.program = lambda name, package: machine.program('no-such-' + name, package);"
        f"m.main(['--quick', '--only', 'shm_hit_64k_redis', '--output', {str(output)!r}], standalone_mode=False)"
    )
    done = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, capture_output=True, text=True, timeout=60, check=False
    )
    assert done.returncode == 0, done.stderr
    (line,) = [line for line in done.stdout.splitlines() if line.startswith("SKIPPED")]
    # Which of the two is missed first depends on whether the bench group is installed.
    assert line.startswith(
        (
            "SKIPPED shm_hit_64k_redis: no-such-redis-server",
            "SKIPPED shm_hit_64k_redis: the Python package redis",
        )
    )
    assert "not installed" in line
    assert json.loads(output.read_text()) == []


def test_requests_are_signed_as_botocore_signs_them(monkeypatch: pytest.MonkeyPatch) -> None:
    """The same Authorization for the same date."""
    text = signed_request(
        "127.0.0.1:9000", "bench", "a key/ü", access_key="AKID", secret="s", at_s=1_700_000_000
    ).decode()
    path = text.split(" ")[1]
    headers = dict(line.split(": ", 1) for line in text.split("\r\n")[1:] if line)
    request = AWSRequest("GET", f"http://127.0.0.1:9000{path}")
    signer = S3SigV4Auth(Credentials("AKID", "s"), "s3", "us-east-1")
    request.context["timestamp"] = headers["X-Amz-Date"]
    request.headers["X-Amz-Date"] = headers["X-Amz-Date"]
    request.headers["X-Amz-Content-SHA256"] = headers["X-Amz-Content-SHA256"]
    to_sign = signer.string_to_sign(request, signer.canonical_request(request))
    assert headers["Authorization"].endswith(f"Signature={signer.signature(to_sign, request)}")


def test_no_signed_request_comes_twice() -> None:
    made = signed_requests("h:1", "b", ["k1", "k2", "k3"], 1500, access_key="AKID", secret="s")
    assert len(set(made)) == 1500


def test_generator_counts_what_came_and_refuses_errors() -> None:
    assert ceiling_requests_per_s(200) > 0
    with generator() as load:
        load.aim("127.0.0.1", 1, "bucket")
        with pytest.raises(GeneratorFailed, match="ConnectionRefused"):
            load.fetch(["key"])


def test_rows_are_those_of_the_plan() -> None:
    names = [row.name for row in ROWS]
    assert len(names) == len(set(names)) >= 12
    documented = (REPOSITORY / "docs" / "benchmarks.md").read_text(encoding="utf-8")
    assert [name for name in names if f"`{name}`" not in documented] == []


def test_verdict_takes_the_median_and_both_goals() -> None:
    measured = Measurement([4.0, 1.0, 100.0], [10.0, 10.0, 10.0])
    assert Result(_row(), measured).ratio == 0.4
    assert Result(_row(), measured).verdict == "met"
    assert Result(_row(goal=0.3), measured).verdict == "missed"
    assert Result(_row(ours_goal=3.0), measured).verdict == "missed"
    assert Result(_row(goal=None), measured).verdict == "shown"


def test_runs_alternate_and_warm_ups_do_not_count(tmp_path: Path) -> None:
    order: list[str] = []

    def step(name: str) -> float:
        order.append(name)
        return float(len(order))

    measured = alternate(Bench(tmp_path, quick=True), lambda: step("a"), lambda: step("b"))
    assert order == ["a", "b"] * 3
    assert measured.ours == [3.0, 5.0]
    assert measured.peer == [4.0, 6.0]


def test_written_rows_hold_the_limit_as_their_peer(tmp_path: Path) -> None:
    output = tmp_path / "bench.json"
    write_json(output, [Result(_row(goal=1.0), against_limit([150.0, 160.0], 300.0))], quick=True)
    (row,) = json.loads(output.read_text())
    assert (row["peer"], row["verdict"]) == (300.0, "met")
