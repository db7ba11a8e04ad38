"""``anymodal doctor``: its checks, and what they found."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeAlias

import click

from encoder.errors import AnymodalError
from encoder.system.disk import temporary_folder
from ingest import isolate
from ingest.pipeline import ingest
from ingest.types import Failure
from search.errors import StoreMissingError
from search.store.calibrated import describe
from search.store.milvus.link import without_password
from search.store.milvus.store import MilvusStore
from search.store.open import store_target
from workers.app import app
from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, show
from workers.config import current_settings
from workers.jobs.broker import check_broker
from workers.jobs.redis_link import BrokerError
from workers.jobs.shard import PRIORITIES, queue_name
from workers.pipeline.files import CLASSES
from workers.serving.resources import Resources

Look: TypeAlias = Callable[[Resources], tuple[str, dict[str, Any]]]

_SAMPLES = Path(__file__).with_name("samples.zip")  # by tests/support/doctor_samples.py


@dataclass(frozen=True)
class Diagnosis:
    part: str
    ok: bool
    text: str
    facts: dict[str, Any] = field(default_factory=dict)


@click.command()
@settings_options("store", "broker", "model")
@json_option
def doctor() -> None:
    """Check the model, the store and the broker; exit with 1 if one of them fails."""
    findings = diagnose(Resources(current_settings()))
    show({"findings": [asdict(finding) for finding in findings]}, _lines)
    if not all(finding.ok for finding in findings):
        raise SystemExit(1)


def _lines(answer: Mapping[str, Any]) -> Iterator[str]:
    for finding in answer["findings"]:
        mark = "[green]ok[/]  " if finding["ok"] else "[red]fails[/]"
        yield f"{mark} [bold]{finding['part']}[/] {marked(finding['text'])}"


def diagnose(resources: Resources) -> list[Diagnosis]:
    return [_look(subject, look, resources) for subject, look in _PARTS.items()]


def _look(subject: str, look: Look, resources: Resources) -> Diagnosis:
    try:
        text, facts = look(resources)
    except AnymodalError as error:
        return Diagnosis(subject, False, str(error))
    return Diagnosis(subject, True, text, facts)


def _model(resources: Resources) -> tuple[str, dict[str, Any]]:
    encoder = resources.encoder()
    space = encoder.space
    facts = {
        "model": encoder.model,
        "space": space.fingerprint,
        "embed_dim": space.embed_dim,
        "identity": dict(space.identity),
        "lanes": {
            str(modality): {"model": lane.model, "space": lane.space.fingerprint}
            for modality, lane in encoder.lanes.items()
        },
    }
    lanes = {"": encoder.home} | {f"{name}: ": lane for name, lane in encoder.lanes.items()}
    described = (
        f"{name}{lane.model}: space {lane.space.fingerprint}, {lane.space.embed_dim} dimensions"
        for name, lane in lanes.items()
    )
    return "; ".join(described), facts


def _services(resources: Resources) -> tuple[str, dict[str, Any]]:
    encoder, settings = resources.encoder(), resources.settings
    services = encoder.services.chosen(read=settings.read_pictures, hear=settings.transcripts)
    there = {"reads pictures": services.reader, "hears speech": services.speech}
    limits = list(services.limits(encoder.modalities).values())
    text = "; ".join([*(name for name, service in there.items() if service), *limits])
    facts = {"reads": bool(services.reader), "hears": bool(services.speech), "limits": limits}
    return text or "switched off", facts


def _kinds(resources: Resources) -> tuple[str, dict[str, Any]]:
    from zipfile import ZipFile

    config = resources.settings.ingest
    failed: dict[str, str] = {}

    def note(failure: Failure) -> None:
        failed[name] = failure.reason

    with temporary_folder("anymodal-") as folder, ZipFile(_SAMPLES) as samples:
        names = samples.namelist()
        config = config.model_copy(update={"kinds": (), "roots": (str(folder),)})
        for name in names:
            try:
                if not list(ingest(samples.extract(name, folder), config, note)):
                    failed.setdefault(name, "nothing was found in it")
            except Exception as error:  # noqa: BLE001 (a library that is not the one we tested)
                failed[name] = f"{type(error).__name__}: {error}"
    if failed:
        raise AnymodalError(
            f"{len(failed)} of {len(names)} small files cannot be decoded. "
            + " ".join(f"{name}: {reason}" for name, reason in failed.items()),
            remedy="Install the versions that were tested: docs/installation.md.",
        )
    return f"{len(names)} small files of all kinds were decoded", {"files": names}


def _store(resources: Resources) -> tuple[str, dict[str, Any]]:
    uri = resources.settings.store
    target = None if uri == "memory:" else store_target(uri)
    address = without_password(str(target or uri))
    try:
        store = resources.existing_store()
        n_assets = store.count()
        index = store.index_state() if isinstance(store, MilvusStore) else None
    except StoreMissingError:
        return f"{address}: nothing stored yet", {"store": address, "assets": 0}
    finally:
        resources.forget_store()
    facts = {
        "store": address,
        "assets": n_assets,
        "index": asdict(index) if index else None,
    }
    index_text = ""
    if index:
        index_text = f"; index {index.kind}: {index.built} rows built, {index.pending} pending"
        if index.pending:  # a single look cannot show whether they will be built
            index_text += " (if that persists, see the server's log)"
    return f"{address}: {n_assets} assets of this space{index_text}", facts


def _calibration(resources: Resources) -> tuple[str, dict[str, Any]]:
    try:
        state = resources.existing_store().calibrations.current()
        shipped = resources.encoder().space.calibration
        state = state.renewed(shipped)
        facts = describe(state, state.constants or shipped)
    except StoreMissingError:
        return "nothing stored yet", {}
    finally:
        resources.forget_store()
    return _told(facts), facts


def _told(calibration: dict[str, Any]) -> str:
    """One line: where the constants come from, and those of each kind."""
    kinds = [
        f"{modality} μ {constants['mu']:.3f} c {constants['c']:.3f}"
        + (f" ± {constants['spread'] / 2:.1f} c" if constants["spread"] is not None else "")
        for modality, constants in calibration["modalities"].items()
    ]
    when = f" {calibration['measured_at']}" if calibration["measured_at"] else ""
    source = {"none": "not calibrated"}.get(calibration["source"], calibration["source"])
    return f"{source}{when}{': ' if kinds else ''}{', '.join(kinds)}"


def _broker(resources: Resources) -> tuple[str, dict[str, Any]]:
    url = resources.settings.broker
    if url.startswith("memory:"):
        return "none; `anymodal ingest` works in its own process", {"broker": None}
    check_broker()
    waiting = {
        cost: resources.board.depth([queue_name(cost)], PRIORITIES.values()) for cost in CLASSES
    }
    running = resources.board.running()
    address = without_password(url)
    queues = ", ".join(f"{n} {cost}" for cost, n in waiting.items())
    facts = {"broker": address, "waiting_shards": waiting, "running_jobs": running}
    return f"{address}: {len(running)} jobs running; shards waiting: {queues}", facts


def _workers(resources: Resources) -> tuple[str, dict[str, Any]]:
    if resources.settings.broker.startswith("memory:"):
        return "none needed", {"workers": []}
    check_broker()
    names = sorted(name for answer in app.control.ping(timeout=2.0) for name in answer)
    if not names:
        raise BrokerError("No worker answers.", "Start one: anymodal worker --broker URL.")
    return ", ".join(names), {"workers": names}


def _process(_held: Resources) -> tuple[str, dict[str, Any]]:
    from importlib.metadata import version

    cpus = len(os.sched_getaffinity(0))
    facts = {"version": version("anymodal"), "cpus": cpus}
    return f"anymodal {facts['version']}, {cpus} CPUs", facts


def _decoders(resources: Resources) -> tuple[str, dict[str, Any]]:
    confined = isolate.confinement(resources.ingest_config)
    gaps = confined.gaps()
    text = f"CAN {'; '.join(gaps)}" if gaps else "read their folder alone, and change nothing"
    return f"decoder processes {text}", {**confined._asdict(), "gaps": gaps}


_PARTS: dict[str, Look] = {
    "anymodal": _process,
    "decoders": _decoders,
    "kinds": _kinds,
    "model": _model,
    "services": _services,
    "store": _store,
    "calibration": _calibration,
    "broker": _broker,
    "workers": _workers,
}
