"""Alerts and dashboard use metrics that exist, and the handbook explains each alert."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import yaml

from search.api.middleware.metrics import Metrics
from tests.support.compose_files import COMPOSE, OURS, ROOT
from workers.jobs import broker_metrics
from workers.observe import metrics

ALERTS = yaml.safe_load((COMPOSE / "prometheus" / "alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((COMPOSE / "grafana" / "dashboards" / "anymodal.json").read_text())
CHARTS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def names() -> set[str]:
    """The names that Prometheus sees for each metric."""
    assert broker_metrics  # describes its own when imported
    suffixes = {"histogram": ("_bucket", "_sum", "_count"), "summary": ("_sum", "_count")}
    kinds = {about.name: about.metric_type for about in metrics.DESCRIPTIONS}
    kinds |= dict(re.findall(r"^# TYPE (\S+) (\S+)$", Metrics().text().decode(), re.MULTILINE))
    return {name + suffix for name, kind in kinds.items() for suffix in suffixes.get(kind, ("",))}


def expressions() -> Iterator[str]:
    """All queries to Prometheus."""
    yield from (rule["expr"] for rule in RULES)
    yield from (target["expr"] for chart in CHARTS for target in chart["targets"])


def test_every_figure_exists() -> None:
    asked = {name for text in expressions() for name in re.findall(r"anymodal_\w+", text)}
    assert asked
    assert asked <= names()


def test_prometheus_asks_every_role_at_its_port() -> None:
    config = yaml.safe_load((COMPOSE / "prometheus" / "prometheus.yml").read_text())
    found = {}
    for job in config["scrape_configs"]:
        for names_of in job.get("dns_sd_configs", []):
            found |= dict.fromkeys(names_of["names"], str(names_of["port"]))
    workers = {name: s for name, s in OURS.items() if s["command"][0] == "worker"}
    asked = {name: s["environment"]["ANYMODAL_METRICS_PORT"] for name, s in workers.items()}
    assert found | asked == found


def test_every_alert_is_tested() -> None:
    tests = yaml.safe_load((COMPOSE / "prometheus" / "alerts_test.yml").read_text())["tests"]
    raised = {
        check["alertname"]
        for test in tests
        for check in test.get("alert_rule_test", [])
        if check["exp_alerts"]
    }
    assert raised == {rule["alert"] for rule in RULES}


def test_the_handbook_explains_every_alert() -> None:
    page = (ROOT / "docs" / "operations.md").read_text()
    explained = re.findall(r"^\| `(\w+)` \| (critical|warning) \|", page, re.MULTILINE)
    assert explained == [(rule["alert"], rule["labels"]["severity"]) for rule in RULES]
