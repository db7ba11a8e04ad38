"""The chart, and what watches the stack."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from typing import Any

import helm_python
import kubernetes_validate
import pytest
import yaml

from search.api.metrics import Metrics
from tests.support.compose_files import (
    CHART,
    COMPOSE,
    OURS,
    ROOT,
    SERVICES,
    filled,
    rendered,
    seconds,
)
from workers.jobs import broker_metrics
from workers.observe import metrics
from workers.pipeline.files import CLASSES

OBJECTS = rendered()
DEPLOYMENTS = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == "Deployment"}
ALL_OF_IT: dict[str, Any] = {
    "autoscaling": {"enabled": True},
    "ingress": {"host": "search.example.org", "class": "nginx", "tlsSecret": "search-tls"},
    "uploads": {"storageClass": "shared"},
    "settings": {"ANYMODAL_STORE": "http://elsewhere:19530", "ANYMODAL_API__PAGE": True},
}
MILVUS = yaml.safe_load((COMPOSE / "milvus" / "cluster.values.yaml").read_text())


def test_helm_has_nothing_against_the_chart() -> None:
    for values in ({}, ALL_OF_IT):
        told = helm_python.lint(CHART, values, strict=True, kube_version="1.33")
        assert told["errors"] == []


@pytest.mark.parametrize("values", [{}, ALL_OF_IT], ids=["default", "all of it"])
def test_it_is_what_kubernetes_knows(values: dict[str, Any]) -> None:
    things = rendered(**values)
    for thing in things:
        if thing["kind"] != "ScaledObject":  # KEDA's
            kubernetes_validate.validate(thing, "1.33", strict=True)
    names = [(thing["kind"], thing["metadata"]["name"]) for thing in things]
    assert len(set(names)) == len(names)


@pytest.mark.parametrize(
    "values",
    [
        {"replicas": 3},
        {"api": {"replicas": 0}},
        {"settings": {"store": "http://milvus:19530"}},
        {"workers": {"text": {"queues": ["words"], "concurrency": 1, "replicas": 1}}},
        {"autoscaling": {"enabled": "yes"}},
    ],
)
def test_a_value_that_the_chart_does_not_know_is_refused(values: dict[str, Any]) -> None:
    with helm_python.Chart.load(CHART) as chart:
        chart.validate_schema(chart.merge_values(ALL_OF_IT))
        with pytest.raises(helm_python.HelmError):
            chart.validate_schema(chart.merge_values(values))


def test_an_operator_s_values_are_in_the_objects() -> None:
    things = {(o["kind"], o["metadata"]["name"]): o for o in rendered(**ALL_OF_IT)}
    settings = things["ConfigMap", "anymodal"]["data"]
    assert settings["ANYMODAL_STORE"] == "http://elsewhere:19530"
    assert settings["ANYMODAL_API__PAGE"] == "true"
    assert settings["ANYMODAL_LOG_FORMAT"] == "json"
    (rule,) = things["Ingress", "api"]["spec"]["rules"]
    assert rule["host"] == "search.example.org"
    assert things["PersistentVolumeClaim", "anymodal"]["spec"]["storageClassName"] == "shared"
    assert "replicas" not in things["Deployment", "worker-text"]["spec"]  # KEDA has the say


def test_new_settings_start_new_pods() -> None:
    def noted(things: list[dict[str, Any]]) -> set[str]:
        pods = [o["spec"]["template"]["metadata"] for o in things if o["kind"] == "Deployment"]
        return {pod["annotations"]["checksum/settings"] for pod in pods}

    assert noted(OBJECTS).isdisjoint(noted(rendered(settings={"ANYMODAL_SHUTDOWN_S": 30})))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_a_pod_does_what_the_service_does(name: str) -> None:
    pod = DEPLOYMENTS[name]["spec"]["template"]["spec"]
    (container,) = pod["containers"]
    assert container["args"] == [filled(word) for word in SERVICES[name]["command"]]
    assert container["image"] == filled(SERVICES[name]["image"])
    assert pod["terminationGracePeriodSeconds"] == seconds(SERVICES[name]["stop_grace_period"])
    assert pod["securityContext"]["runAsNonRoot"] is True
    assert container["securityContext"] == {
        "allowPrivilegeEscalation": False,
        "readOnlyRootFilesystem": True,
        "capabilities": {"drop": ["ALL"]},
    }
    assert container["readinessProbe"]["httpGet"]["path"] == "/readyz"
    assert container["livenessProbe"]["httpGet"]["path"] == "/healthz"
    for probe in ("readinessProbe", "livenessProbe"):
        port = container[probe]["httpGet"]["port"]
        assert port in [one["name"] for one in container["ports"]]


def test_redis_is_the_same() -> None:
    (redis,) = (o for o in OBJECTS if o["kind"] == "StatefulSet")
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    assert container["image"] == SERVICES["redis"]["image"]
    assert container["args"] == SERVICES["redis"]["command"]
    (settings,) = (o["data"]["redis.conf"] for o in OBJECTS if "redis.conf" in o.get("data", ()))
    assert settings == (COMPOSE / "redis" / "redis.conf").read_text()


PROXY = {"app.kubernetes.io/instance": "milvus", "component": "proxy"}
"""The labels that Milvus' chart gives, for a release named milvus."""
DNS, OUTSIDE = "kube-dns", "outside"
PODS: dict[str, dict[str, str]] = {
    o["metadata"]["name"]: o["spec"]["template"]["metadata"]["labels"]
    for o in OBJECTS
    if o["kind"] in ("Deployment", "StatefulSet")
} | {"milvus": PROXY}
POLICIES = [o["spec"] for o in OBJECTS if o["kind"] == "NetworkPolicy"]


def selects(selector: dict[str, Any], labels: dict[str, str]) -> bool:
    """Match as Kubernetes does; of a selector's expressions, only ``In`` is supported."""
    expressions = selector.get("matchExpressions", [])
    assert all(e["operator"] == "In" for e in expressions)
    return selector.get("matchLabels", {}).items() <= labels.items() and all(
        labels.get(e["key"]) in e["values"] for e in expressions
    )


def allows(name: str, way: str, other: str, port: int) -> bool:
    """Whether the policies let a pod receive from (Ingress) or send to (Egress) another."""
    policies = [p for p in POLICIES if way in p["policyTypes"]]
    policies = [p for p in policies if selects(p["podSelector"], PODS[name])]
    rules = [rule for p in policies for rule in p.get(way.lower(), [])]
    return not policies or any(
        port in [one["port"] for one in rule.get("ports", [{"port": port}])]
        and any(
            _is_peer(peer, other) for peer in rule.get({"Ingress": "from"}.get(way, "to"), [{}])
        )
        for rule in rules
    )


def _is_peer(peer: dict[str, Any], other: str) -> bool:
    if not peer:  # anyone
        return True
    if "namespaceSelector" in peer:
        return other == DNS
    return other in PODS and selects(peer["podSelector"], PODS[other])


def reaches(one: str, other: str, port: int) -> bool:
    """Whether a connection is let out and let in."""
    out = one not in PODS or allows(one, "Egress", other, port)
    return out and (other not in PODS or allows(other, "Ingress", one, port))


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_our_pods_reach_what_they_need_and_nothing_else(name: str) -> None:
    assert reaches(name, "redis", 6379)
    assert reaches(name, "milvus", 19530)
    assert reaches(name, DNS, 53)
    others = [other for other in (*PODS, OUTSIDE) if other != name]
    ports = (22, 53, 80, 443, 6379, 8080, 9091, 9100, 19530)
    passed = {(other, port) for other in others for port in ports if reaches(name, other, port)}
    assert passed == {("redis", 6379), ("milvus", 19530)}


def test_only_the_api_is_asked_from_outside() -> None:
    assert reaches(OUTSIDE, "api", 8080)
    ports = (53, 80, 443, 6379, 8080, 9100, 19530)
    passed = {(name, port) for name in PODS for port in ports if reaches(OUTSIDE, name, port)}
    assert passed == {("api", 8080)}
    assert not [port for port in ports if reaches("redis", OUTSIDE, port)]


def test_new_rows_are_found_exactly_in_the_chart_as_in_compose() -> None:
    chart = yaml.safe_load(MILVUS["extraConfigFiles"]["user.yaml"])
    compose = yaml.safe_load((COMPOSE / "compose.yaml").read_text())
    set_to = compose["services"]["milvus"]["environment"]["QUERYNODE_SEGCORE_INTERIMINDEX_NPROBE"]
    assert str(chart["queryNode"]["segcore"]["interimIndex"]["nprobe"]) == set_to == "128"


def test_milvus_has_the_password_of_the_secret() -> None:
    user = yaml.safe_load(MILVUS["extraConfigFiles"]["user.yaml"])
    assert user["common"]["security"] == {"authorizationEnabled": True}
    (variable,) = MILVUS["mixCoordinator"]["extraEnv"]
    assert variable["name"] == "COMMON_SECURITY_DEFAULTROOTPASSWORD"
    key = variable["valueFrom"]["secretKeyRef"]["key"]
    made = (CHART / "values.yaml").read_text()
    assert f"--from-file=secrets/{key}" in made
    assert "--from-file=secrets/anymodal_store_login" in made


def test_workers_are_scaled_by_their_queues() -> None:
    waiting = []
    for scaled in [o for o in rendered(**ALL_OF_IT) if o["kind"] == "ScaledObject"]:
        worker = scaled["spec"]["scaleTargetRef"]["name"]
        (trigger,) = scaled["spec"]["triggers"]
        kinds = trigger["metadata"]["query"].split('cost=~"')[1].split('"')[0].split("|")
        assert ",".join(kinds) in SERVICES[worker]["command"]
        assert "anymodal_queue_shards" in trigger["metadata"]["query"]
        assert scaled["spec"]["minReplicaCount"] >= 1
        waiting += kinds
    assert sorted(waiting) == sorted(CLASSES)
    assert "anymodal_queue_shards" in metric_names()


ALERTS = yaml.safe_load((COMPOSE / "prometheus" / "alerts.yml").read_text())
RULES: list[dict[str, Any]] = [rule for group in ALERTS["groups"] for rule in group["rules"]]
DASHBOARD = json.loads((COMPOSE / "grafana" / "dashboards" / "anymodal.json").read_text())
CHARTS = [panel for panel in DASHBOARD["panels"] if panel["type"] != "row"]


def metric_names() -> set[str]:
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
    assert asked <= metric_names()


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
