"""``/healthz``, ``/readyz`` and ``/v1/info``."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import Callable, Iterable
from contextlib import suppress
from functools import cache, partial
from importlib.metadata import PackageNotFoundError
from importlib.metadata import version as read_version
from typing import Any

import numpy as np
from anyio import to_thread
from fastapi import APIRouter, Response

from encoder.types import TEXT
from search.api.access.auth import READ
from search.api.errors import body_of, status_of
from search.api.schemas import AliveAnswer, InfoAnswer, ReadyAnswer
from search.api.services import Parts, Services, refusals
from search.errors import IndexNotReadyError
from search.store.base import VectorStore
from search.store.calibrated import describe

router = APIRouter(tags=["health"])

_PATIENCE_S = 5.0
_LIBRARIES = ("onnxruntime", "pymilvus", "fastapi", "torch")


@router.head("/healthz", include_in_schema=False)
@router.get("/healthz", operation_id="healthz", response_model=AliveAnswer)
async def healthz() -> dict[str, str]:
    """Whether the process is alive."""
    return {"status": "ok"}


@router.head("/readyz", include_in_schema=False)
@router.get(
    "/readyz",
    operation_id="readyz",
    response_model=ReadyAnswer,
    response_model_exclude_none=True,
    responses={503: {"model": ReadyAnswer, "description": "A part of the server does not answer."}},
)
async def readyz(services: Parts, response: Response) -> dict[str, Any]:
    """Whether store, jobs and model are ready; a 503 names the one that is not."""
    parts: dict[str, Callable[[], object]] = {
        "store": partial(_try_search, services.store),
        "jobs": services.jobs.ping,
        "model": services.warm,
    }
    results = await asyncio.gather(*map(_check, parts.values()))
    checks = dict(zip(parts, results, strict=True))
    is_ready = all(check["ok"] for check in results) and not services.stopping.is_set()
    response.status_code = 200 if is_ready else 503
    return {"status": "ready" if is_ready else "unavailable", "checks": checks}


@router.get(
    "/v1/info",
    operation_id="info",
    dependencies=READ,
    response_model=InfoAnswer,
    responses=refusals(503, 504),
)
async def info(services: Parts) -> dict[str, Any]:
    """The model, its space, the store's size, and versions."""
    return await services.workbench.run(lambda _: _info(services))


def _try_search(store: VectorStore) -> None:
    """A store may answer and yet not be able to search."""
    store.ping()
    store.search(np.eye(1, store.lanes.space(TEXT).embed_dim, dtype=np.float32), [TEXT], 1)
    with suppress(IndexNotReadyError):  # searches go on without, and say so
        store.lexical("ready", 1)


async def _check(ping: Callable[[], object]) -> dict[str, Any]:
    """Check a part outside the threads of requests: a busy server is not dead."""
    try:
        async with asyncio.timeout(_PATIENCE_S):
            await to_thread.run_sync(ping, abandon_on_cancel=True)
    except Exception as error:  # noqa: BLE001  whatever it is, that part does not answer
        failed = {"ok": False, "error": type(error).__name__}
        return failed | (
            {"remedy": body_of(error)["error"]["remedy"]} if status_of(error) == 503 else {}
        )
    return {"ok": True}


def _info(services: Services) -> dict[str, Any]:
    space = services.engine.space()
    return {
        "version": version("anymodal"),
        "model": services.model,
        "space": {
            "fingerprint": space.fingerprint,
            "embed_dim": space.embed_dim,
            "identity": dict(space.identity),
            "calibration": describe(services.store.calibrations.current(), space.calibration),
        },
        "modalities": services.modalities,
        "kinds": list(services.kinds),
        "assets": services.store.count(),
        "versions": {"python": sys.version.split()[0], **versions(_LIBRARIES)},
    }


@cache
def version(name: str) -> str:
    """A package's version, read once: that takes a millisecond, and the page waits for it.

    >>> version("fastapi") is version("fastapi")
    True
    """
    return read_version(name)


def versions(names: Iterable[str]) -> dict[str, str]:
    """The versions of packages that are installed; serving needs no torch.

    >>> versions(["no-such-package"])
    {}
    """
    versions = {}
    for name in names:
        with suppress(PackageNotFoundError):
            versions[name] = version(name)
    return versions
