"""Every metric is described, where it is made and in the documentation."""

from __future__ import annotations

import re
import socket
from pathlib import Path

import pytest

from encoder.errors import InputError
from workers.config import Settings
from workers.jobs import broker_metrics
from workers.jobs.broker_metrics import BrokerCollector
from workers.observe import metrics
from workers.observe.metrics_server import serving

PAGE = (Path(__file__).parents[3] / "docs" / "observability.md").read_text()
ROW = re.compile(r"^\| `(anymodal_\w+)` \| (\w+) \| ([\w, ]*?) ?\| (.+) \|$", re.MULTILINE)
SUFFIX = re.compile(r"_(bucket|count|sum)$")


def test_the_documentation_lists_every_metric_as_it_is() -> None:
    assert broker_metrics
    made = [(d.name, d.metric_type, ", ".join(d.labels), d.meaning) for d in metrics.DESCRIPTIONS]
    assert ROW.findall(PAGE) == made
    assert len({name for name, *_ in made}) == len(made)


def test_every_metric_that_is_asked_for_exists() -> None:
    known = {d.name: set(d.labels) | {"le"} for d in metrics.DESCRIPTIONS}
    asked = re.findall(r"(anymodal_\w+)(?:\{(\w+)=)?", PAGE)
    assert len(asked) > len(known)
    for name, label in asked:
        name = name if name in known else SUFFIX.sub("", name)
        assert name in known
        assert not label or label in known[name]


def test_what_is_registered_is_what_is_described() -> None:
    described = {d.name.removesuffix("_total"): d for d in metrics.DESCRIPTIONS}
    families = list(metrics.REGISTRY.collect())
    assert len(families) > 10
    for family in families:
        description = described[family.name]
        assert (family.type, family.documentation) == (description.metric_type, description.meaning)


def test_a_broker_that_is_away_is_a_figure() -> None:
    [family] = BrokerCollector("redis://127.0.0.1:1/0", 64).collect()
    assert (family.name, [sample.value for sample in family.samples]) == ("anymodal_broker_up", [0])


def test_a_port_that_is_taken_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("PROMETHEUS_MULTIPROC_DIR", "")  # so that it is restored afterwards
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        settings = Settings(broker="redis://127.0.0.1:1/0", metrics_port=port)
        with (
            pytest.raises(InputError, match=rf"--metrics-port.*127\.0\.0\.1:{port}"),
            serving(settings, lambda: BrokerCollector(settings.broker, settings.queue_shards)),
        ):
            pass
