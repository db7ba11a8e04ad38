"""``GET /v1/latency`` and ``/metrics``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter, Response

from search.api.access.auth import METRICS, READ_WHOLE
from search.api.metrics import CONTENT_TYPE
from search.api.schemas import LatencyAnswer
from search.api.services import Parts, Services, refusals
from search.latency import ALL, TOTAL, Percentiles

router = APIRouter(tags=["latency"])

WINDOWS_S = {"1m": 60.0, "5m": 300.0, "60m": 3600.0}
SLO_WINDOW = "5m"


@router.get(
    "/v1/latency",
    operation_id="latency",
    dependencies=READ_WHOLE,
    response_model=LatencyAnswer,
    responses=refusals(503, 504),
)
async def latency(services: Parts) -> dict[str, Any]:
    """Percentiles of each stage over the last 1, 5 and 60 minutes, also by kind of query.

    Queries of several kinds count as `mixed`, those by stored assets as `asset`.
    """
    return await services.workbench.run(lambda _: _latency(services))


@router.get(
    "/metrics",
    operation_id="metrics",
    dependencies=METRICS,
    response_class=Response,
    responses={
        200: {"content": {"text/plain": {"schema": {"type": "string"}}}},
        **refusals(),
    },
)
async def metrics(services: Parts) -> Response:
    """Metrics for Prometheus."""
    return Response(services.metrics.text(), headers={"Content-Type": CONTENT_TYPE})


def _latency(services: Services) -> dict[str, Any]:
    by_window = {
        name: services.latency.by_modality(window_s) for name, window_s in WINDOWS_S.items()
    }
    modalities = {modality for window in by_window.values() for modality in window} - {ALL}
    return {
        "windows": {name: _stages(window.get(ALL, {})) for name, window in by_window.items()},
        "by_modality": {
            modality: {
                name: _stages(window.get(modality, {})) for name, window in by_window.items()
            }
            for modality in sorted(modalities)
        },
        "slo": _slo(services.config.slo_p95_ms, by_window[SLO_WINDOW].get(ALL, {}).get(TOTAL)),
    }


def _slo(p95_ms: float | None, measured: Percentiles | None) -> dict[str, Any] | None:
    """Whether a target is met; None if there is none."""
    if p95_ms is None:
        return None
    measured_ms = round(measured.p95_s * 1000, 3) if measured else None
    return {
        "p95_ms": p95_ms,
        "window": SLO_WINDOW,
        "measured_p95_ms": measured_ms,
        "ok": measured_ms is None or measured_ms <= p95_ms,
    }


def _stages(stages: dict[str, Percentiles]) -> dict[str, dict[str, float]]:
    return {
        stage: {
            "n": p.n,
            "p50_ms": round(p.p50_s * 1000, 3),
            "p90_ms": round(p.p90_s * 1000, 3),
            "p95_ms": round(p.p95_s * 1000, 3),
            "p99_ms": round(p.p99_s * 1000, 3),
            "max_ms": round(p.max_s * 1000, 3),
        }
        for stage, p in stages.items()
    }
