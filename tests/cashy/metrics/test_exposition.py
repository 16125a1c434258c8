"""The text of /metrics, read back by Prometheus' own parser."""

from __future__ import annotations

import os

from prometheus_client.parser import text_string_to_metric_families

from cashy.metrics.exposition import Exposition
from cashy.metrics.table import families_of

Samples = dict[tuple[str, tuple[tuple[str, str], ...]], float]


def samples_of(page: bytes) -> Samples:
    """Samples by name and sorted labels."""
    return {
        (sample.name, tuple(sorted(sample.labels.items()))): sample.value
        for family in text_string_to_metric_families(page.decode())
        for sample in family.samples
    }


def test_counters_appear_under_their_names_and_labels() -> None:
    counters = {
        "hits_memory": 5, "blocks_from_origin": 2, "loop_stall_max_us": 1500, "clients": 3, "origin.my.s3.reads_total": 7, "origin.dir.threads": 4,
        "not_in_the_table": 9,
    }  # fmt: skip
    page = Exposition("master", lambda: counters, instance="default", host="host1").render()
    samples = samples_of(page)
    assert samples[("cashy_blocks_total", (("tier", "memory"),))] == 5
    assert samples[("cashy_blocks_total", (("tier", "origin"),))] == 2
    assert samples[("cashy_loop_stall_max_seconds", ())] == 0.0015
    assert samples[("cashy_clients", ())] == 3
    assert samples[("cashy_origin_reads_total", (("origin", "my.s3"),))] == 7
    assert samples[("cashy_origin_threads", (("origin", "dir"),))] == 4
    assert b"not_in_the_table" not in page
    (info,) = [labels for name, labels in samples if name == "cashy_info"]
    assert {("daemon", "master"), ("instance", "default"), ("host", "host1")} < set(info)


def test_what_never_counted_is_zero_and_not_absent() -> None:
    samples = samples_of(Exposition("master", dict).render())
    assert samples[("cashy_fills_failed_total", ())] == 0
    assert {labels for name, labels in samples if name == "cashy_bytes_total"} == {
        (("tier", tier),) for tier in ("memory", "ssd", "peer", "origin")
    }


def test_every_family_of_a_daemon_is_announced_and_no_other() -> None:
    for daemon in ("master", "s3"):
        page = Exposition(daemon, dict).render().decode()
        announced = {line.split()[2] for line in page.splitlines() if line.startswith("# TYPE")}
        assert announced == {family.name for family in families_of(daemon)}


def test_each_page_is_of_its_moment() -> None:
    counters = {"requests_total": 1}
    exposition = Exposition("s3", lambda: counters)
    assert samples_of(exposition.render())[("cashy_s3_requests_total", ())] == 1
    counters["requests_total"] = 2
    counters["errors_NoSuchKey"] = 1
    samples = samples_of(exposition.render())
    assert samples[("cashy_s3_requests_total", ())] == 2
    assert samples[("cashy_s3_errors_total", (("code", "NoSuchKey"),))] == 1


def test_labels_with_anything_in_them_are_escaped() -> None:
    name = 'a"b\\c\nd'
    samples = samples_of(Exposition("s3", lambda: {f"errors_{name}": 1}).render())
    assert [labels for sample, labels in samples if sample == "cashy_s3_errors_total"] == [(("code", name),)]


def test_the_process_is_this_one() -> None:
    samples = samples_of(Exposition("s3", dict).render())
    assert samples[("process_open_fds", ())] >= len(os.listdir("/proc/self/fd")) - 2
    assert samples[("process_resident_memory_bytes", ())] > 1 << 20
    assert samples[("process_cpu_seconds_total", ())] > 0
