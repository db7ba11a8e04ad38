"""Move a store to another model, or a lane of it: copy, compare, switch, catch up; and back."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import asdict, dataclass, field, replace
from typing import TYPE_CHECKING, Any

from encoder.errors import InputError
from encoder.loading import precision_beside
from encoder.models.lanes import canonical, read_lanes
from encoder.types import TEXT, VIDEO, Modality
from search.store.base import VectorStore
from search.store.lanes import Filling
from search.store.open import store_name
from search.store.space_record import SearchedSpace, check_current
from search.store.stored_spaces import space_record
from workers.library.comparing import compare, sampled
from workers.library.copying import Copied, Copier, OnProgress
from workers.serving.resources import Resources, config_with, lanes_of, spaces_of

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

    Searches continue in the old lanes until the switch, which is one write; servers follow within
    seconds. Nobody waits: what is ingested just before the switch is encoded after it. Any call can
    be repeated: what was encoded is kept, and after the switch what still lacks embeddings gets
    them. Lanes that stay are not touched.

    Raises:
        InputError: there is no former model.
        ModelError: the model cannot be loaded.
        StoreMovedError: another move was faster.
        StoreError: the store fails; the old model stays.
    """
    old_encoder, old_store = resources.existing_parts()
    current = resources.current()
    assert current is not None
    if not current.encoder:
        current = replace(current, encoder=resources.described())
    encoder_facts = _former(current) if plan.rollback else _encoder_of(resources, plan, current)
    new = _opened(resources, encoder_facts, old_encoder)
    target = replace(spaces_of(new.encoder()), encoder=encoder_facts)
    moved = Moved(encoder_facts["model"], target.space, switched=target.is_like(current))
    with ExitStack() as stack:
        stack.callback(new.forget_store)  # not the decoders, which this process shares
        record = stack.enter_context(space_record(resources.settings.store))
        name = store_name(resources.settings.store)
        if not (plan.rollback or moved.switched):
            check_current(record, current, name)
            record.write(replace(current, filling=" ".join(sorted(target.spaces - current.spaces))))
        copier = Copier(
            old_store,
            replace(new.pipeline(), follow=None, only=_only(new.store())),
            lambda: check_current(record, current, name),
            plan.share,
            stopped,
        )
        if moved.switched:
            moved.copied = copier.add(on_progress)
            return moved
        # The former lanes lack only what was ingested since, which follows the switch.
        if not plan.rollback:
            moved.copied = copier.add(on_progress)
            if not stopped():
                new.pipeline().calibrate_if_due()
                queries = list(plan.queries) or sampled(old_store, plan.n_queries)
                moved.comparison = compare((old_encoder, old_store), new.parts(), queries)
            moved.reason = _reason(plan, moved, stopped())
        if not moved.reason:
            former = SearchedSpace(current.space, current.encoder, lanes=current.lanes)
            with old_store.locks.whole():
                copier.check()
                record.write(replace(target, former=former))
            moved.switched = True
            moved.copied.add(replace(copier, check=bool, share=1.0).add())
    return moved


def _opened(
    resources: Resources,
    encoder_facts: dict[str, Any],
    old_encoder: MultiModalEncoder,
) -> Resources:
    """The same store, to be filled by another model, or by its own where that was cut off."""

    def filling(encoder: MultiModalEncoder) -> Filling:
        old, lanes = lanes_of(old_encoder), lanes_of(encoder)
        modalities = (old_encoder.modalities | encoder.modalities) - {VIDEO}
        new = {m for m in modalities if not old.has(lanes.space(m).fingerprint, m)}
        changed = new or modalities
        return Filling(frozenset(changed), frozenset(changed - old_encoder.modalities))

    config = config_with(resources.settings.encoder, encoder_facts)
    settings = resources.settings.model_copy(update={"encoder": config})
    return Resources(settings, filling=filling)


def _only(store: VectorStore) -> frozenset[Modality]:
    """The modalities to encode; empty for all."""
    filling = store.lanes.filling
    assert filling is not None
    modalities = {*store.lanes.others, *filling.modalities}
    return (
        frozenset()
        if modalities == filling.modalities and TEXT in modalities
        else filling.modalities
    )


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
    if (n := moved.copied.n_missed) and not plan.leave_behind:
        return f"{n} assets could not be encoded; --leave-behind switches without them."
    overlap = moved.comparison["overlap_at_10"] if moved.comparison else 1.0
    if overlap < plan.least_overlap:
        return f"The overlap@10 is {overlap:.3f}, below --least-overlap {plan.least_overlap:g}."
    return (
        "" if plan.switch else "Everything is encoded; run it again without --no-switch to switch."
    )
