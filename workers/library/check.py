"""Check a store, and the uploads beside it, and mend what can be mended."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from itertools import islice
from typing import Any

from encoder.errors import InputError
from encoder.system.batched import in_batches
from search.store.base import VectorStore
from search.store.checking import (
    INCOMPLETE,
    MEANING,
    ORPHANED,
    REPAIR,
    UPLOADS,
    Checkable,
    Findings,
)
from search.uploads import UploadFolder

_AT_ONCE = 500
_SHOWN = 20


def checked(
    store: VectorStore,
    uploads: UploadFolder,
    progress: Callable[[int, int], object],
    *,
    repair: bool = False,
) -> dict[str, Any]:
    """What is wrong with a store; with ``repair``, what is still wrong after mending it.

    Args:
        store: that nobody writes to meanwhile; a repair keeps others from it.
        repair: mend what can be mended, then check again.

    Returns:
        ``assets`` and ``segments``, their numbers; ``differences`` and, after a repair, ``left``:
        for each kind its ``kind``, ``n``, ``meaning``, ``repair`` and up to 20 ``examples``;
        ``lost``: the ids of assets that had to be given up, with a location.

    Raises:
        InputError: the store is not durable.
        StoreError: it cannot be read, or not written to.
    """
    locks = store.locks
    if not isinstance(store, Checkable):
        raise InputError("store", got="memory:", wanted="a folder, or a Milvus server's address")
    with locks.whole() if repair else nullcontext():
        findings = _found(store, uploads, progress)
        answer = _plain(findings) | {"differences": _differences(findings), "lost": {}}
        if not repair or not findings.wrong:
            return answer
        if findings.wrong.keys() != {UPLOADS}:
            store.repair(findings)
        findings_left = _found(store, uploads, progress)
    given_up = findings.wrong.get(INCOMPLETE, {}) | findings.wrong.get(ORPHANED, {})
    there = store.assets(list(given_up))
    lost = {asset_id: location for asset_id, location in given_up.items() if asset_id not in there}
    return answer | _plain(findings_left) | {"left": _differences(findings_left), "lost": lost}


def _found(
    store: Checkable, uploads: UploadFolder, progress: Callable[[int, int], object]
) -> Findings:
    findings = store.check(progress)
    files = uploads.files()
    for some in in_batches(files, _AT_ONCE):
        stored_rows = store.assets([asset_id for asset_id, _ in some])  # type: ignore[attr-defined]
        for asset_id, path in some:
            if asset_id not in stored_rows:
                findings.add(UPLOADS, asset_id, str(path))
    return findings


def _plain(findings: Findings) -> dict[str, Any]:
    return {"assets": findings.n_assets, "segments": findings.n_segments}


def _differences(findings: Findings) -> list[dict[str, Any]]:
    return [
        {
            "kind": difference,
            "n": len(wrong),
            "meaning": MEANING[difference],
            "repair": REPAIR[difference],
            "examples": dict(islice(wrong.items(), _SHOWN)),
        }
        for difference, wrong in findings.wrong.items()
    ]
