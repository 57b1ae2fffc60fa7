"""What is shipped to watch a node asks for what a node says, and every alarm has its advice."""

import json
import re
from pathlib import Path
from typing import Any

import pytest
from prometheus_client import CollectorRegistry

from node.api.view import ViewCell
from node.api.view_metrics import ViewCollector
from node.metrics import Metrics
from tests.node.test_fairness_shown import NAMES, accounts_of, node_view

DEPLOYMENT = Path("node/deployment")
RULES = DEPLOYMENT / "prometheus" / "didyma.rules.yml"
DASHBOARD = DEPLOYMENT / "grafana" / "didyma.json"
NAME = re.compile(r"\bdidyma_[a-z_]+\b")
OF_A_HISTOGRAM = re.compile(r"_(bucket|sum|count)$")

pytestmark = pytest.mark.checkout


@pytest.fixture(scope="module")
def names() -> set[str]:
    """Every metric of the project that a node may have, as it is asked for."""
    registry = CollectorRegistry()
    Metrics(registry, process=False)
    cell = ViewCell()
    cell.swap(node_view(accounts_of(4, 0, 1, 0), NAMES))
    registry.register(ViewCollector(cell))
    return {
        metric.name + ("_total" if metric.type == "counter" else "")
        for metric in registry.collect()
    }


def expressions(panel: dict[str, Any]) -> list[str]:
    return [target["expr"] for target in panel.get("targets", ())]


def test_the_alarms_ask_for_metrics_that_exist(names: set[str]) -> None:
    asked = {OF_A_HISTOGRAM.sub("", name) for name in NAME.findall(RULES.read_text())}
    assert len(asked) > 15
    assert asked <= names


def test_the_dashboard_asks_for_metrics_that_exist(names: set[str]) -> None:
    panels = json.loads(DASHBOARD.read_text())["panels"]
    asked = {
        OF_A_HISTOGRAM.sub("", name)
        for panel in panels
        for expression in expressions(panel)
        for name in NAME.findall(expression)
    }
    assert len(asked) > 20
    assert asked <= names


def test_the_dashboard_s_panels_do_not_overlap() -> None:
    taken: set[tuple[int, int]] = set()
    for panel in json.loads(DASHBOARD.read_text())["panels"]:
        place = panel["gridPos"]
        cells = {
            (x, y)
            for x in range(place["x"], place["x"] + place["w"])
            for y in range(place["y"], place["y"] + place["h"])
        }
        assert not cells & taken, panel["title"]
        assert all(x < 24 for x, _ in cells)
        taken |= cells


def test_the_runbook_has_advice_for_every_alarm_and_for_no_other() -> None:
    alarms = set(re.findall(r"- alert: (\w+)", RULES.read_text()))
    advised = re.findall(r"`(Didyma[A-Za-z]+)`", "".join(
        line.split("|")[1]
        for line in Path("docs/runbook.md").read_text().splitlines()
        if line.startswith("| `")
    ))  # fmt: skip
    assert alarms
    assert sorted(advised) == sorted(alarms)
