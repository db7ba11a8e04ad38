"""The example for Kubernetes is valid, and says the same as compose.yaml."""

from __future__ import annotations

from typing import Any

import kubernetes_validate
import pytest
import yaml

from tests.unit.compose.files import COMPOSE, SERVICES, filled, seconds
from tests.unit.compose.test_monitoring import names
from workers.queues import CLASSES

KUBERNETES = COMPOSE / "kubernetes"
OBJECTS: list[dict[str, Any]] = list(yaml.safe_load_all((KUBERNETES / "anymodal.yaml").read_text()))
DEPLOYMENTS = {o["metadata"]["name"]: o for o in OBJECTS if o["kind"] == "Deployment"}
SCALED: list[dict[str, Any]] = list(yaml.safe_load_all((KUBERNETES / "keda.yaml").read_text()))


@pytest.mark.parametrize("thing", OBJECTS, ids=lambda o: f"{o['kind']} {o['metadata']['name']}")
def test_it_is_what_kubernetes_knows(thing: dict[str, Any]) -> None:
    kubernetes_validate.validate(thing, "1.33", strict=True)


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
    assert container["readinessProbe"]


def test_redis_is_the_same() -> None:
    (redis,) = (o for o in OBJECTS if o["kind"] == "StatefulSet")
    (container,) = redis["spec"]["template"]["spec"]["containers"]
    assert container["image"] == SERVICES["redis"]["image"]
    assert container["args"] == SERVICES["redis"]["command"]
    (settings,) = (o["data"]["redis.conf"] for o in OBJECTS if "redis.conf" in o.get("data", ()))
    assert settings == (COMPOSE / "redis" / "redis.conf").read_text()


def test_workers_are_scaled_by_their_queues() -> None:
    waiting = []
    for scaled in SCALED:
        assert scaled["kind"] == "ScaledObject"
        worker = scaled["spec"]["scaleTargetRef"]["name"]
        (trigger,) = scaled["spec"]["triggers"]
        kinds = trigger["metadata"]["query"].split('cost=~"')[1].split('"')[0].split("|")
        assert ",".join(kinds) in SERVICES[worker]["command"]
        assert "anymodal_queue_shards" in trigger["metadata"]["query"]
        assert scaled["spec"]["minReplicaCount"] >= 1
        waiting += kinds
    assert sorted(waiting) == sorted(CLASSES)
    assert "anymodal_queue_shards" in names()
