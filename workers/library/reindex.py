"""Move a store to another model: copy, compare, switch, catch up; and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import Any

from encoder.errors import InputError
from encoder.loading import precision_beside
from encoder.models.lanes import canonical
from search.store.open import store_name
from search.store.space_record import SearchedSpace, check_current
from search.store.stored_spaces import space_record
from workers.library.comparing import compare, sampled
from workers.library.copying import Copied, Copier, OnProgress
from workers.serving.resources import Resources, config_with, spaces_of


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

    Searches continue on the old space until the switch, which is one write; servers follow within
    seconds. An interrupted call can be repeated: what was encoded is kept.

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
    encoder_facts = _former(current) if plan.rollback else _encoder_of(resources, plan)
    new = _opened(resources, encoder_facts, current, fills=not plan.rollback)

    def check() -> None:
        with space_record(resources.settings.store) as record:
            check_current(record, current, store_name(resources.settings.store))

    moved = Moved(encoder_facts["model"], new.encoder().space.fingerprint)
    with ExitStack() as stack:
        stack.callback(new.forget_store)  # not the decoders, which this process shares
        copier = Copier(old_store, new.pipeline(), check, plan.share, stopped)
        if not plan.rollback:  # a rollback switches at once: what was ingested since follows it
            moved.copied = copier.add(on_progress)
            if not stopped():
                new.pipeline().calibrate_if_due()
                queries = list(plan.queries) or sampled(old_store, plan.n_queries)
                moved.comparison = compare((old_encoder, old_store), new.parts(), queries)
            moved.reason = _reason(plan, moved, stopped())
        if not moved.reason:
            if plan.rollback:
                copier.settle()  # the most of it, so that writers wait the less
            former = SearchedSpace(current.space, current.encoder, lanes=current.lanes)
            target = replace(spaces_of(new.encoder()), encoder=encoder_facts, former=former)
            _switch(resources, copier, target, moved)
    return moved


def _opened(
    resources: Resources, encoder_facts: dict[str, Any], current: SearchedSpace, *, fills: bool
) -> Resources:
    """The same store with another model, noted before its space has collections."""
    config = config_with(resources.settings.encoder, encoder_facts)
    new = Resources(resources.settings.model_copy(update={"encoder": config}), new_space=True)
    target = spaces_of(new.encoder())
    space = target.space
    if space == current.space:
        wanted = "a model other than the store's own"
        if not target.is_like(current):
            wanted += " for texts too: to change others alone, ingest into another --store"
        raise InputError("--model", got=encoder_facts["model"], wanted=wanted)
    with space_record(resources.settings.store) as record:
        if fills and current.filling != space:
            record.write(replace(current, filling=space))
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


def _encoder_of(resources: Resources, plan: ReindexPlan) -> dict[str, Any]:
    config = resources.settings.encoder
    beside = precision_beside(config.quantization)
    precision = beside if plan.precision is None else plan.precision
    return {
        "model": canonical(plan.model),
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
