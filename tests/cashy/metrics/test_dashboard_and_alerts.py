"""The Grafana dashboard and the Prometheus alerts name what there is, and mean what they say; every alert has its page in the manual."""

from __future__ import annotations

import json
import os
import re
import shutil
import subprocess
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from .promql import Selector, problems, selectors_of

REPOSITORY = Path(__file__).resolve().parents[3]
ALERTS = REPOSITORY / "systemd" / "prometheus" / "cashy-alerts.yml"
DASHBOARD = REPOSITORY / "systemd" / "grafana" / "aviary-cashy.json"
RUNBOOK = REPOSITORY / "docs" / "operations-alerts.md"
TESTS = sorted(Path(__file__).parent.glob("cashy-alerts*.test.yml"))


def rules() -> list[dict[str, Any]]:
    groups = yaml.safe_load(ALERTS.read_text(encoding="utf-8"))["groups"]
    return [rule for group in groups for rule in group["rules"]]


def panels() -> Iterator[dict[str, Any]]:
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        if panel["type"] != "row":
            yield panel


def expressions() -> list[tuple[str, str]]:
    """What the dashboard asks, as Grafana sends it."""
    asked = ((panel["title"], target["expr"]) for panel in panels() for target in panel["targets"])
    return [
        (title, expr.replace("$__rate_interval", "1m").replace("$instance", ".*")) for title, expr in asked
    ]


def promtool() -> str:
    """Prometheus's own checker: one that is installed, or what `make promtool` has put here."""
    local = REPOSITORY / "build" / "promtool" / "usr" / "bin" / "promtool"
    found = shutil.which("promtool") or (str(local) if os.access(local, os.X_OK) else None)
    if found is None:
        pytest.skip("there is no promtool: run `make promtool`, or install Prometheus")
    return found


def run(*arguments: object) -> None:
    done = subprocess.run(
        [promtool(), *map(str, arguments)], capture_output=True, text=True, timeout=120, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr


# --- the reader of expressions itself ---


def test_what_an_expression_names() -> None:
    selectors, listed = selectors_of(
        'sum by (tier, instance) (rate(cashy_blocks_total{tier="memory", instance=~"a.*"}[5m])) / on (instance) up > 0.5 and cashy_coherent == 0'
    )
    assert selectors == [
        Selector("cashy_blocks_total", (("tier", "=", "memory"), ("instance", "=~", "a.*")), "rate"),
        Selector("up", (), ""),
        Selector("cashy_coherent", (), ""),
    ]
    assert listed == {"tier", "instance"}


@pytest.mark.parametrize(
    ("expression", "problem"),
    [
        ("rate(cashy_blocks_total[5m]) > 0", None),
        ("cashy_nothing > 0", "no metric cashy_nothing"),
        ("cashy_blocks_total > 0", "only rises"),
        ("rate(cashy_clients[5m])", "falls as well"),
        ('rate(cashy_blocks_total{origin="x"}[5m])', "has no label origin"),
        ('rate(cashy_blocks_total{tier="tape"}[5m])', "is never 'tape'"),
        ("sum by (rack) (cashy_clients)", "no metric has the label rack"),
        ("sum(cashy_clients", "is not closed"),
        ("sum(cashy_clients))", "closes nothing"),
        ("mean(cashy_clients)", "no function mean"),
        ("cashy_clients ; 1", "no PromQL"),
        ("1 > 0", "no metric in"),
    ],
)
def test_what_is_wrong_is_found(expression: str, problem: str | None) -> None:
    found = problems(expression)
    assert (found == []) if problem is None else any(problem in one for one in found), found


# --- alerts ---


def test_alerts_name_metrics_and_labels_that_exist() -> None:
    assert {rule["alert"]: found for rule in rules() if (found := problems(rule["expr"]))} == {}


def test_every_alert_says_what_it_is_and_where_to_read_on() -> None:
    headings = re.findall(r"^## (\w+)$", RUNBOOK.read_text(encoding="utf-8"), re.MULTILINE)
    names = [rule["alert"] for rule in rules()]
    assert headings == names, "one section for each alert, in their order"
    for rule in rules():
        assert set(rule) <= {"alert", "expr", "for", "labels", "annotations"}
        assert rule["labels"]["severity"] in ("page", "ticket")
        assert rule["annotations"]["summary"]
        assert rule["annotations"]["runbook"] == f"docs/operations-alerts.md#{rule['alert'].lower()}"


def test_every_section_says_how_urgent_it_is_and_what_to_do() -> None:
    sections = re.split(r"^## \w+$", RUNBOOK.read_text(encoding="utf-8"), flags=re.MULTILINE)[1:]
    for rule, section in zip(rules(), sections, strict=True):
        assert section.strip().lower().startswith(rule["labels"]["severity"] + ".")
        assert "**Do**: " in section


def test_labels_that_a_summary_shows_are_there() -> None:
    for rule in rules():
        _, listed = selectors_of(rule["expr"])
        shown = set(re.findall(r"\$labels\.(\w+)", rule["annotations"]["summary"]))
        if listed:
            assert shown <= listed, rule["alert"]
        else:
            assert not problems(f"sum by ({', '.join(shown or ['instance'])}) ({rule['expr']})"), rule[
                "alert"
            ]


def test_promtool_takes_the_rules_and_its_tests_pass() -> None:
    run("check", "rules", ALERTS)
    run("test", "rules", *TESTS)


# --- the dashboard ---


def test_the_dashboard_names_metrics_and_labels_that_exist() -> None:
    found = {title: wrong for title, expression in expressions() if (wrong := problems(expression))}
    assert found == {}


def test_legends_show_labels_that_are_left() -> None:
    for panel in panels():
        for target in panel["targets"]:
            expression = target["expr"].replace("$__rate_interval", "1m")
            _, listed = selectors_of(expression)
            shown = set(re.findall(r"\{\{(\w+)\}\}", target.get("legendFormat", "")))
            is_aggregated = re.match(r"(sum|max|count)\b", expression) is not None
            assert shown <= (listed if is_aggregated else {"instance"}), panel["title"]


def test_panels_lie_side_by_side_and_say_what_they_are() -> None:
    places: set[tuple[int, int]] = set()
    numbers: set[int] = set()
    for panel in json.loads(DASHBOARD.read_text(encoding="utf-8"))["panels"]:
        assert panel["title"]
        assert panel["id"] not in numbers
        numbers.add(panel["id"])
        at = panel["gridPos"]
        assert at["x"] + at["w"] <= 24
        own = {(x, y) for x in range(at["x"], at["x"] + at["w"]) for y in range(at["y"], at["y"] + at["h"])}
        assert not own & places, panel["title"]
        places |= own


def test_promtool_takes_what_the_dashboard_asks(tmp_path: Path) -> None:
    """As recording rules, since those are what promtool checks."""
    made = [
        {"record": f"panel:{number}", "expr": expression}
        for number, (_, expression) in enumerate(expressions())
    ]
    path = tmp_path / "panels.yml"
    path.write_text(json.dumps({"groups": [{"name": "panels", "rules": made}]}))
    run("check", "rules", "--lint=none", path)
