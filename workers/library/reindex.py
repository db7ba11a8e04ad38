"""Move a store to another model, or a lane of it: copy, compare, switch, catch up; and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any, cast

from encoder.errors import InputError
from encoder.loading import precision_beside
from encoder.models.lanes import canonical, read_lanes
from encoder.types import VIDEO, Modality
from search.store.base import VectorStore
from search.store.laned import LanedStore
from search.store.open import store_name
from search.store.space_record import SearchedSpace, check_current
from search.store.stored_spaces import space_record
from workers.library.comparing import compare, sampled
from workers.library.copying import Copied, Copier, OnProgress
from workers.library.filling import Filling, recount
from workers.serving.resources import Resources, config_with, spaces_of

if TYPE_CHECKING:
    from encoder import MultiModalEncoder


@dataclass(frozen=True)
class ReindexPlan:
    """What to do.

    Args:
        precision: of the new model; None leaves it to the settings.
        queries: to compare the models by; empty for ``n_queries`` sampled ones.
        least_overlap: with a smaller mean overlap@10, the old model stays.
        leave_behind: switch even if files could not be read again.
        switch: False stops before the switch; a later call finds everything encoded.
        rollback: go back to the former model.
    """

    model: str = ""
    precision: str | None = None
    share: float = 0.5
    queries: Sequence[str] = ()
    n_queries: int = 50
    least_overlap: float = 0.0
    leave_behind: bool = False
    switch: bool = True
    rollback: bool = False


@dataclass
class Moved:
    model: str
    space: str
    switched: bool = False
    reason: str = ""
    """Why it was not switched."""
    copied: Copied = field(default_factory=Copied)
    comparison: dict[str, Any] | None = None

    def as_json(self) -> dict[str, Any]:
        copied = self.copied
        return {
            "model": self.model,
            "space": self.space,
            "switched": self.switched,
            "reason": self.reason,
            "assets": copied.n_assets,
            "encoded": copied.n_encoded,
            "known": copied.n_known,
            "removed": copied.n_removed,
            "gone": copied.n_gone,
            "failed": [asdict(failure) for failure in copied.failures],
            "comparison": self.comparison,
        }


def move(
    resources: Resources,
    plan: ReindexPlan,
    on_progress: OnProgress = lambda _done, _all: None,
    stopped: Callable[[], bool] = lambda: False,
) -> Moved:
    """Move the store of ``resources`` to another model, or back to the former one.

    Searches continue on the old spaces until the switch, which is one write; servers follow within
    seconds. An interrupted call can be repeated: what was encoded is kept. Modalities whose space
    stays are not encoded again.

    Raises:
        InputError: the store has that model already, or there is no former one.
        ModelError: the model cannot be loaded.
        StoreMovedError: another move was faster.
        StoreError: the store fails; the old model stays.
    """
    old_encoder, old_store = resources.existing_parts()
    current = resources.current() or SearchedSpace(old_encoder.space.fingerprint)
    if not current.encoder:
        current = replace(current, encoder=resources.described())
    encoder_facts = _former(current) if plan.rollback else _encoder_of(resources, plan, current)
    new = _opened(resources, encoder_facts, current, fills=not plan.rollback)
    target = spaces_of(new.encoder())
    some_stay = bool(target.spaces & current.spaces)

    def check() -> None:
        with space_record(resources.settings.store) as record:
            check_current(record, current, store_name(resources.settings.store))

    moved = Moved(encoder_facts["model"], target.space)
    with ExitStack() as stack:
        stack.callback(new.forget_store)  # not the decoders, which this process shares
        copier = Copier(old_store, new.pipeline(), check, plan.share, stopped)
        copiers = _by_space(copier, old_encoder, new, current) if some_stay else [copier]
        # A rollback to another model switches at once: what was ingested since follows it.
        if some_stay or not plan.rollback:
            for each in copiers:
                moved.copied.add(each.add(on_progress))
            if not (stopped() or plan.rollback):
                new.pipeline().calibrate_if_due()
                queries = list(plan.queries) or sampled(old_store, plan.n_queries)
                moved.comparison = compare((old_encoder, old_store), new.parts(), queries)
            moved.reason = _reason(plan, moved, stopped())
        if not moved.reason:
            former = SearchedSpace(current.space, current.encoder, lanes=current.lanes)
            target = replace(target, encoder=encoder_facts, former=former)
            if some_stay:
                _switch_some(resources, copiers, target, moved, new.store(), plan)
            else:
                if plan.rollback:
                    copier.settle()  # the most of it, so that writers wait the less
                _switch(resources, copier, target, moved)
    return moved


def _by_space(
    whole: Copier, old_encoder: MultiModalEncoder, new: Resources, current: SearchedSpace
) -> list[Copier]:
    """What encodes the modalities whose space changes, for each new space alone; home last."""
    encoder, store = new.parts()
    home = encoder.space.fingerprint
    changed: dict[str, set[Modality]] = {}
    for modality in {*whole.old.sizes(), *old_encoder.modalities, *encoder.modalities} - {VIDEO}:
        space = encoder.lane(modality).space.fingerprint
        if space != old_encoder.lane(modality).space.fingerprint:
            changed.setdefault(space, set()).add(modality)
    copiers = []
    for space, modalities in sorted(changed.items(), key=lambda each: each[0] == home):
        into = store.of(min(modalities)) if isinstance(store, LanedStore) else store
        filling = Filling(
            into,
            whole.old,
            modalities,
            modalities - old_encoder.modalities,
            is_home=space == home,
            is_searched=space in current.spaces,
        )
        beside = cast(VectorStore, filling)
        pipeline = replace(whole.new, store=beside, follow=None, only=modalities)
        copiers.append(replace(whole, new=pipeline, wanted=filling.wanted, tried=set()))
    return copiers


def _opened(
    resources: Resources, encoder_facts: dict[str, Any], current: SearchedSpace, *, fills: bool
) -> Resources:
    """The same store with another model, noted before its space has collections."""
    config = config_with(resources.settings.encoder, encoder_facts)
    new = Resources(resources.settings.model_copy(update={"encoder": config}), new_space=True)
    target = spaces_of(new.encoder())
    if target.is_like(current):
        raise InputError(
            "--model", got=encoder_facts["model"], wanted="a model other than the store's own"
        )
    filling = " ".join(sorted(target.spaces - current.spaces))
    with space_record(resources.settings.store) as record:
        if fills and current.filling != filling:
            record.write(replace(current, filling=filling))
    return new


def _switch(resources: Resources, copier: Copier, target: SearchedSpace, moved: Moved) -> None:
    """Search the new space from now on; then encode what came late."""
    with copier.old.locks.whole():
        copier.check()
        copier.old.catch_up()
        late = copier.settle()
        moved.copied.n_removed = copier.remove_others()
        with space_record(resources.settings.store) as record:
            record.write(target)
    moved.switched = True
    moved.copied.n_assets = copier.old.count()
    copier.follow(late, moved.copied)


def _switch_some(
    resources: Resources,
    copiers: Sequence[Copier],
    target: SearchedSpace,
    moved: Moved,
    store: VectorStore,
    plan: ReindexPlan,
) -> None:
    """The same where some spaces stay: what came late is encoded before, as nobody notes it."""
    old = copiers[0].old
    with old.locks.whole():
        old.catch_up()
        for copier in copiers:
            copier.check()
            late = replace(copier, share=1.0).add()
            moved.copied.add(replace(late, n_known=0))
            moved.copied.n_removed += copier.remove_others()
        moved.reason = _reason(plan, moved, copiers[0].stopped())
        if moved.reason:
            return
        left = {row.asset_id: row for copier in copiers for row in copier.left()}
        # The next ingest reads them again, since they count no segments.
        if left:
            store.write([replace(row, n_segments=0) for row in left.values()], [])
        with space_record(resources.settings.store) as record:
            record.write(target)
    moved.switched = True
    moved.copied.n_assets = old.count()
    recount(store)


def _encoder_of(resources: Resources, plan: ReindexPlan, current: SearchedSpace) -> dict[str, Any]:
    config, model = resources.settings.encoder, canonical(plan.model)
    home, lanes = read_lanes(model)
    home_now, lanes_now = read_lanes(current.encoder["model"])
    if plan.precision is None and home == home_now and lanes != lanes_now:
        return {**current.encoder, "model": model}
    beside = precision_beside(config.quantization)
    precision = beside if plan.precision is None else plan.precision
    return {
        "model": model,
        "quantization": None if precision == "none" else precision,
        "enable_dsre": "auto",
        "bindings": [],
    }


def _former(current: SearchedSpace) -> dict[str, Any]:
    if current.former is None:
        raise InputError(
            "--rollback", got="a store with one model", wanted="a store that was moved"
        )
    return dict(current.former.encoder)


def _reason(plan: ReindexPlan, moved: Moved, is_stopped: bool) -> str:
    """Why not to switch; empty if nothing is against it."""
    if is_stopped:
        return "It was stopped; run it again to continue."
    if moved.copied.lost and not plan.leave_behind:
        n = len(moved.copied.lost)
        return f"{n} assets could not be encoded; --leave-behind switches without them."
    overlap = moved.comparison["overlap_at_10"] if moved.comparison else 1.0
    if overlap < plan.least_overlap:
        return f"The overlap@10 is {overlap:.3f}, below --least-overlap {plan.least_overlap:g}."
    return (
        "" if plan.switch else "Everything is encoded; run it again without --no-switch to switch."
    )
