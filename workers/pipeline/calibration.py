"""Calibrates a store: by a command, and by itself as it grows."""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Collection, Mapping, Sequence
from contextlib import AbstractContextManager, contextmanager
from dataclasses import dataclass, replace
from datetime import UTC, datetime
from threading import Lock
from typing import TYPE_CHECKING, Any

from encoder.calibration.bank import completed, encoded_queries
from encoder.calibration.measure import (
    MAX_VECTORS,
    blended,
    constants_of,
    measure,
    sample_queries,
    shares_of_best,
    told_apart,
)
from encoder.errors import AnymodalError, InputError
from encoder.types import TEXT, VIDEO, Embeddings, Modality
from search.errors import StoreError
from search.query.terms import ItemEncoder
from search.store.base import VectorStore
from search.store.calibrated import (
    BESIDE,
    StoredCalibration,
    describe,
    is_before,
    number_of,
    plain,
)

if TYPE_CHECKING:
    from collections.abc import Iterator

    from encoder import MultiModalEncoder
    from encoder.calibration.measure import SampleQuery
    from encoder.space import Calibration

logger = logging.getLogger(__name__)

LEAST_SEGMENTS = 200
"""A store of a model without constants is calibrated once two modalities have this many each."""
LEAST_OF_NEW = 16
"""A modality without constants, while others have some, is measured alone once it has this many.

Such is the modality of a plug-in next to those of a bundle.
"""
GROWTH = 10
"""Once a modality has this many times the segments it had, it is measured again."""
LEAST_READ = 50
"""From so many segments on, a modality is measured although its model ships constants."""
CHANGED = 0.5
"""It is measured again once its segments are more or fewer by this part."""
_LOOK_EVERY_S = 60.0


def calibrate(
    encoder: MultiModalEncoder,
    store: VectorStore,
    *,
    dry_run: bool = False,
    shipped: bool = False,
) -> dict[str, Any]:
    """Measure and store the constants; return what was found, in plain values.

    Each lane of a store is measured by its own model.

    Args:
        shipped: take the model's own constants instead of measuring.

    Raises:
        InputError: the model ships no constants or takes no text, or nothing is stored.
        StoreError: the store fails.
    """
    lanes = lanes_of(encoder, store)
    if shipped:
        lanes = [lane for lane in lanes if lane.encoder.space.calibration] or lanes[:1]
    else:
        lanes = [lane for lane in lanes if lane.sizes()]
    if not lanes:
        raise InputError("store", got="nothing stored yet", wanted="some files to measure by")
    result, *further_results = (
        _calibrate_lane(lane, dry_run=dry_run, shipped=shipped) for lane in lanes
    )
    for other in further_results:
        result["calibration"]["modalities"].update(other["calibration"]["modalities"])
        result.setdefault("measured", {}).update(other.get("measured", {}))
    return result


@dataclass(frozen=True)
class LaneCalibration:
    """A model, and the calibration of its space in a store.

    Args:
        encoder: the model.
        store: of all lanes.
        space: its name there.
    """

    encoder: ItemEncoder
    store: VectorStore
    space: str

    def state(self) -> StoredCalibration:
        return self.store.calibrations.current(self.space)

    def sizes(self) -> dict[Modality, int]:
        """The number of segments in the lane, by modality."""
        lanes = self.store.lanes
        return {m: n for m, n in self.store.sizes().items() if lanes.has(self.space, m)}


def lanes_of(encoder: MultiModalEncoder, store: VectorStore) -> list[LaneCalibration]:
    """Each model of a store, home first."""
    home, *other_spaces = store.lanes.spaces
    if not other_spaces:
        return [LaneCalibration(encoder, store, home)]
    encoders = {
        store.lanes.space(modality).fingerprint: lane for modality, lane in encoder.lanes.items()
    }
    of_others = [LaneCalibration(encoders[space], store, space) for space in other_spaces]
    return [LaneCalibration(encoder.home, store, home), *of_others]


def _calibrate_lane(
    lane: LaneCalibration,
    *,
    dry_run: bool = False,
    shipped: bool = False,
    only: Collection[Modality] = (),
    beside_shipped: bool = False,
) -> dict[str, Any]:
    """Calibrate one lane; see `calibrate`.

    Args:
        only: the modalities to measure, while the others keep their constants; empty for all.
        beside_shipped: take levels between the model's and higher ones that are measured
            (`encoder.calibration.measure.blended`), for as long as the model ships these.
    """
    constants, origin, result = (
        _shipped(lane.encoder) if shipped else _measured(lane, only, beside_shipped)
    )
    if not dry_run:
        lane.store.recalibrate(constants, origin, lane.space)
    state = lane.state()
    return {"dry_run": dry_run, **result, "calibration": describe(state, state.constants)}


def calibrate_if_due(
    encoder: MultiModalEncoder,
    store: VectorStore,
    alone: Callable[[], AbstractContextManager[bool]],
) -> bool:
    """Calibrate a store if it has changed enough; return whether.

    If the model ships constants, modalities without any are measured, and the others beside the
    shipped ones. Errors are logged: the files that were ingested are stored all the same.
    """
    try:
        with alone() as is_alone:
            if not is_alone or store.read_only:
                return False
            lanes = lanes_of(encoder, store)
            done = [_lane_if_due(lane, is_one_of_several=len(lanes) > 1) for lane in lanes]
            return any(done)
    except Exception as error:  # whatever went wrong, the files are stored
        unexpected = not isinstance(error, AnymodalError)
        logger.warning("the store is not calibrated: %s", error, exc_info=unexpected)
        return False


def _lane_if_due(lane: LaneCalibration, *, is_one_of_several: bool) -> bool:
    shipped = lane.encoder.space.calibration
    state, sizes = lane.state(), lane.sizes()
    new = kinds_due(state, sizes, shipped) if shipped else set()
    due = new or (not shipped and is_due(state, sizes, is_one_of_several))
    changed = set() if due else kinds_changed(state, sizes, shipped)
    if not ((due or changed) and TEXT in lane.encoder.modalities):
        return False
    started_s = time.monotonic()
    result = _calibrate_lane(lane, only=new or changed, beside_shipped=bool(changed))
    kinds = result["calibration"]["modalities"].items()
    constants_text = ", ".join(
        f"{modality} mu {measures['mu']:.3f} c {measures['c']:.3f}" for modality, measures in kinds
    )
    took_s = time.monotonic() - started_s
    logger.info("calibrated in %.1f s: %s", took_s, constants_text)
    return True


def is_due(
    state: StoredCalibration, sizes: Mapping[Modality, int], is_one_of_several: bool = False
) -> bool:
    """Whether to measure a store of a model without constants.

    One of several lanes is compared with others as soon as it holds anything.
    """
    least, least_kinds = (LEAST_OF_NEW, 1) if is_one_of_several else (LEAST_SEGMENTS, 2)
    plenty = {modality: n for modality, n in sizes.items() if n >= least}
    if len(plenty) < least_kinds:
        return False
    former = state.about.get("modalities", {})
    return any(
        str(modality) not in former or n >= GROWTH * former[str(modality)]["n_segments"]
        for modality, n in plenty.items()
    )


def kinds_due(
    state: StoredCalibration, sizes: Mapping[Modality, int], shipped: Mapping[Modality, Calibration]
) -> set[Modality]:
    """The modalities to measure in a store of a model that ships constants for others."""
    constants = state.constants or shipped
    former = state.about.get("modalities", {})
    alone = state.about.get("measured_alone", [])
    return {
        modality
        for modality, n in sizes.items()
        if (modality not in constants and n >= LEAST_OF_NEW)
        or (str(modality) in alone and n >= GROWTH * former[str(modality)]["n_segments"])
    }


def kinds_changed(
    state: StoredCalibration, sizes: Mapping[Modality, int], shipped: Mapping[Modality, Calibration]
) -> set[Modality]:
    """The modalities to measure beside the constants that the model ships.

    None where somebody chose those by `calibrate`.
    """
    if state.about.get("chosen"):
        return set()
    state = state.renewed(shipped)
    former = {} if is_before(state.constants, shipped) else state.about.get("modalities", {})
    n_before = {m: former.get(str(m), {}).get("n_segments", 0) for m in sizes}
    plenty = {m: n for m, n in sizes.items() if m in shipped and n >= LEAST_READ}
    return {m for m, n in plenty.items() if abs(n - n_before[m]) >= CHANGED * n_before[m]}


class Watch:
    """Calibrates a store after a shard, if that is due."""

    def __init__(self, alone: Callable[[], AbstractContextManager[bool]]) -> None:
        self._alone = alone
        self._look_at_s = 0.0

    def after_shard(
        self, encoder: MultiModalEncoder, store: VectorStore, *, is_last: bool = False
    ) -> None:
        """Calibrate if it is due.

        A calibrated store is checked once a minute and after the last shard, but always while a
        modality lacks constants that the others have from their model. Errors are logged, as in
        `calibrate_if_due`.
        """
        if time.monotonic() < self._look_at_s and not is_last:
            return
        calibrate_if_due(encoder, store, self._alone)
        try:
            calibrations = [store.calibrations.current(space) for space in store.lanes.spaces]
        except StoreError as error:  # away since; the next shard looks again
            logger.warning("the store's calibration was not read: %s", error)
            return
        # Films are found by their pictures and sounds.
        constants = {m for calibration in calibrations for m in calibration.constants}
        missing = encoder.modalities - {VIDEO} - constants
        if constants and not (missing and encoder.space.calibration):
            self._look_at_s = time.monotonic() + _LOOK_EVERY_S


_here = Lock()


@contextmanager
def alone_here() -> Iterator[bool]:
    """Whether no other thread of this process is calibrating."""
    taken = _here.acquire(blocking=False)
    try:
        yield taken
    finally:
        if taken:
            _here.release()


def _shipped(
    encoder: ItemEncoder,
) -> tuple[Mapping[Modality, Calibration], dict[str, Any], dict[str, Any]]:
    if not encoder.space.calibration:
        raise InputError(
            "--shipped",
            got="a model that ships no constants",
            wanted="anymodal store calibrate alone",
        )
    return encoder.space.calibration, {"source": "shipped", "chosen": True}, {}


def _measured(
    lane: LaneCalibration,
    only: Collection[Modality],
    beside_shipped: bool,
) -> tuple[Mapping[Modality, Calibration], dict[str, Any], dict[str, Any]]:
    """Constants, the record of where they came from, and what they change."""
    encoder, state = lane.encoder, lane.state()
    sizes = {modality: n for modality, n in lane.sizes().items() if not only or modality in only}
    if not sizes:
        raise InputError("store", got="nothing stored yet", wanted="some files to measure by")
    queries, unit_rows = told_apart(sample_queries(), _sample_rows(encoder))
    shipped = encoder.space.calibration
    former = unchanged = state.renewed(shipped).constants or shipped
    if is_before(unchanged, shipped) and (beside_shipped or not only):
        unchanged = {**unchanged, **shipped}
    space = replace(encoder.space, calibration=unchanged)
    query_rows, levels = space.asked(unit_rows)
    samples: dict[Modality, Embeddings] = {
        modality: lane.store.sample(modality, MAX_VECTORS) for modality in sorted(sizes)
    }
    measured = measure(queries, query_rows, samples, levels[:, None])
    constants = constants_of(measured)
    if TEXT in constants:
        constants[TEXT] = replace(constants[TEXT], share=space.share)
    if beside_shipped:
        constants = {m: blended(each, shipped[m], sizes[m]) for m, each in constants.items()}
    constants = {**unchanged, **constants}
    shares = {
        when: shares_of_best(query_rows, samples, figures, levels[:, None])
        for when, figures in (("before", former), ("after", constants))
    }
    facts, summary = {}, {}
    for modality, figures in measured.items():
        former_figures = former.get(modality)
        of_modality = {
            "spread": round(figures.spread, 3),
            "spread_of_languages": round(figures.spread_of_languages, 3),
            "n_vectors": figures.n_vectors,
            "n_segments": sizes[modality],
        }
        facts[str(modality)] = of_modality
        summary[str(modality)] = {
            **plain(figures.calibration),
            "before": plain(former_figures) if former_figures else None,
            "by_kind": dict(figures.by_kind),
            "by_language": dict(figures.by_language),
            **of_modality,
            "share_of_best": {when: round(of[modality], 3) for when, of in shares.items()},
        }
    earlier = state.about if only else None
    beside = number_of(shipped) if beside_shipped else None
    return constants, _record(queries, facts, earlier, beside), {"measured": summary}


def _record(
    queries: Sequence[SampleQuery],
    facts: dict[str, Any],
    earlier: Mapping[str, Any] | None,
    beside: int | None,
) -> dict[str, Any]:
    """Where the constants came from; what an earlier record says of other modalities is kept.

    ``beside`` is the number of the model's constants that they were measured beside, if any.
    """
    record: dict[str, Any] = {
        "source": "measured",
        "measured_at": datetime.now(UTC).isoformat(timespec="seconds"),
        "n_queries": len(queries),
        "languages": sorted({query.language for query in queries}),
        "modalities": facts,
    }
    if earlier is None:
        return record
    modalities = {**earlier.get("modalities", {}), **facts}
    if beside is not None:
        return {**earlier, **record, "modalities": modalities, BESIDE: beside}
    alone = sorted({*earlier.get("measured_alone", []), *facts})
    return {**earlier, "modalities": modalities, "measured_alone": alone}


def _sample_rows(encoder: ItemEncoder) -> Embeddings:
    """The vectors of the shipped queries: those of the model's bank, if it has one."""
    bank = completed(encoder).bank
    return bank.questions if bank else encoded_queries(encoder)
