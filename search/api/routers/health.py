"""``/healthz``, ``/readyz`` and ``/v1/info``."""

from __future__ import annotations

from importlib.metadata import version
from typing import Any

from fastapi import APIRouter

from search.api.depends import Parts, refusals

router = APIRouter(tags=["health"])


@router.get("/healthz", operation_id="healthz")
async def healthz() -> dict[str, str]:
    """The process answers."""
    return {"status": "ok"}


@router.get("/readyz", operation_id="readyz", responses=refusals(503))
async def readyz(services: Parts) -> dict[str, str]:
    """The store answers."""
    await services.workbench.run(lambda _: services.store.assets(["ready"]))
    return {"status": "ok"}


@router.get("/v1/info", operation_id="info")
async def info(services: Parts) -> dict[str, Any]:
    """The model, its space, and versions."""
    space = services.encoder.space
    return {
        "version": version("anymodal"),
        "model": services.model,
        "space": {
            "fingerprint": space.fingerprint,
            "embed_dim": space.embed_dim,
            "identity": dict(space.identity),
        },
        "modalities": sorted(space.calibration),
    }
