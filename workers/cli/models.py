"""``anymodal models list``, ``use``, ``prepare``, ``show``, ``verify``, ``remove``, ``prune``."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from typing import TYPE_CHECKING, Any, TypeVar

import click
from rich.console import RenderableType

from encoder.errors import InputError, ModelError
from encoder.registry import registered_modalities
from encoder.types import AUDIO, IMAGE, TEXT, VIDEO, Modality
from search.errors import StoreError
from workers.cli.options import json_option, settings_options
from workers.cli.output import marked, show, size, stages, table

if TYPE_CHECKING:
    from encoder.models.artifacts import Artifact
    from workers.config import Settings

F = TypeVar("F", bound=Callable[..., Any])


def _named(command: F) -> F:
    """The arguments that name a prepared model."""
    precision = click.option("--precision", help="The precision, if there are several.")
    return click.argument("name")(precision(command))


@click.command("list")
@settings_options("store", "model")
@json_option
def list_models() -> None:
    """List the models in use, one for each lane, and those that were prepared."""
    from encoder.models.catalogue import all_models
    from workers.config import current_settings
    from workers.serving.resources import Resources

    settings = current_settings()
    try:
        in_use = _in_use(Resources(settings).model_name(), settings)
        _add_speeds(in_use, settings)
    except (ModelError, StoreError) as error:  # what is prepared can be listed all the same
        in_use = {"model": None, "lanes": [], "off": [str(error)]}
    show({**in_use, "models": [_summary(artifact) for artifact in all_models()]}, _list_lines)


@click.command()
@settings_options("store")
@click.argument("choices", metavar="[MODALITY=SPEC]...", nargs=-1)
@click.option("--reset", is_flag=True, help="Forget what was chosen.")
@json_option
def use(choices: tuple[str, ...], reset: bool) -> None:
    """Choose the models of new stores, such as text=bundle:default image=hf:org/name.

    They are written to the settings file. A modality that is not named keeps its model; without
    any, that of texts. Options and variables go before it, and a store that exists keeps its own.
    """
    from encoder.models.lanes import canonical, choose, chosen_models, chosen_name, settings_file
    from encoder.models.spec import ModelSpec
    from workers.config import current_settings
    from workers.serving.resources import Resources

    if not choices and not reset:
        raise click.UsageError("Name a model, as image=hf:org/name, or --reset.")
    models = {} if reset else chosen_models()
    modalities = {TEXT, IMAGE, AUDIO, VIDEO, *registered_modalities()}
    for choice in choices:
        modality, is_named, spec = choice.partition("=")
        if not is_named or modality not in modalities:
            raise click.UsageError(f"{choice!r} is not MODALITY=SPEC, as image=hf:org/name.")
        models[str(Modality(modality))] = str(ModelSpec.parse(spec))
    name = canonical(chosen_name(models))
    for lane in (lanes := _in_use(name, current_settings())["lanes"]):
        if missing := [m for m in lane["finds"] if lane["takes"] and m not in lane["takes"]]:
            raise InputError(
                f"{missing[0]}=", got=lane["model"], wanted=f"a model with a tower for {missing[0]}"
            )
    choose(models)
    settings = current_settings()
    current, store = Resources(settings).current(), settings.store or "your own"
    stays = ""
    if current and (not current.encoder or canonical(current.encoder["model"]) != name):
        stays = f"The store ({store}) keeps its models: anymodal store reindex --model '{name}'"
    facts = {**_in_use(name, settings), "file": str(settings_file()), "store": stays}
    show(facts | {"lanes": lanes}, _used_lines)


@click.command()
@click.argument("spec")
@click.option(
    "--precision",
    default="int8",
    show_default=True,
    help="float32, bf16, int8 or int4; a bundle comes in its own.",
)
@click.option(
    "--dsre",
    is_flag=True,
    help="Fit a gate that merges tokens of long texts, and measure its speed and its loss.",
)
@json_option
def prepare(spec: str, precision: str, dsre: bool) -> None:
    """Make SPEC (bundle:NAME, hf:org/name@revision or dir:path) ready to run.

    An existing one is kept. Ctrl-C leaves nothing behind.
    """
    from encoder.models.spec import ModelSpec

    parsed = ModelSpec.parse(spec)
    if parsed.kind == "bundle":
        from encoder.models.bundle.declaration import read_bundle
        from encoder.models.catalogue import find_model
        from workers.cli.bundle import fetch_all

        fetch_all(read_bundle(parsed.name))
        _show(find_model(str(parsed)))
    else:
        from encoder.prepare import merging, prepared

        with stages(str(parsed)) as say:
            if dsre:
                artifact = merging.prepare(parsed, precision, True, say)
            else:
                artifact = prepared.prepare(parsed, precision, say)
        _show(artifact)


@click.command("show")
@_named
@json_option
def show_model(name: str, precision: str | None) -> None:
    """Show the sources, inputs and measurements of NAME (a spec, a folder or its hash)."""
    from encoder.models.catalogue import find_model

    _show(find_model(name, precision))


@click.command()
@_named
def verify(name: str, precision: str | None) -> None:
    """Check the hash of every file of NAME."""
    from encoder.models.artifacts import verify as verify_artifact
    from encoder.models.catalogue import find_model

    artifact = find_model(name, precision)
    verify_artifact(artifact)
    click.echo(
        f"The hashes of all {len(artifact.manifest['files'])} files match in {artifact.folder}"
    )


@click.command()
@_named
def remove(name: str, precision: str | None) -> None:
    """Remove NAME from this machine; refused while a process has it open."""
    from encoder.models.artifacts import remove as remove_artifact
    from encoder.models.catalogue import find_model

    artifact = find_model(name, precision)
    remove_artifact(artifact)
    click.echo(f"Removed {artifact.folder}, {artifact.size_bytes / 1e6:.1f} MB")


@click.command()
@click.option(
    "--unused-days",
    type=click.FloatRange(min=0),
    default=30.0,
    show_default=True,
    help="Keep what was opened since.",
)
@click.option("--max-gb", type=click.FloatRange(min=0), help="How much may stay at most.")
@json_option
def prune(unused_days: float, max_gb: float | None) -> None:
    """Remove copies of networks, vocabularies and trials: they are made again when needed.

    Bundles, prepared models and gates stay.
    """
    from encoder.system.cache import prune_cache

    most_bytes = None if max_gb is None else round(max_gb * 1e9)
    removed = prune_cache(unused_days * 86400, most_bytes)
    freed_bytes = sum(entry.size_bytes for entry in removed)
    summary = f"Removed {len(removed)} entries of the cache, {freed_bytes / 1e6:.1f} MB"
    facts = {"removed": [str(entry.path) for entry in removed], "bytes": freed_bytes}
    show(facts, lambda _: [summary])


def _in_use(name: str, settings: Settings) -> dict[str, Any]:
    """The lanes of a model's name, and what cannot be found with them or is switched off."""
    from encoder.models.bundle.services import open_services
    from encoder.models.catalogue import all_models
    from encoder.models.lanes import canonical, read_lanes

    prepared = {artifact.manifest["spec"]: artifact for artifact in all_models()}
    home, other_models = read_lanes(canonical(name))
    lanes: list[dict[str, Any]] = []
    for model in dict.fromkeys([home, *other_models.values()]):
        artifact = prepared.get(model.partition("#")[0])
        facts = artifact.manifest if artifact else {}
        takes = list(facts.get("modalities", []))
        own_modalities = [str(modality) for modality, spec in other_models.items() if spec == model]
        licence = facts.get("licence") or ""
        licences = licence.values() if isinstance(licence, Mapping) else [licence]
        lane = {
            "model": model,
            "finds": own_modalities
            or [kind for kind in takes or ["text"] if kind not in other_models],
            "takes": takes,
            "prepared": artifact is not None,
            "embed_dim": facts["space"]["embed_dim"] if facts else None,
            "size_bytes": artifact.size_bytes if artifact else None,
            "languages": facts.get("languages"),
            "licence": ", ".join(dict.fromkeys(licences)) or None,
        }
        lanes.append(lane)
    services = open_services(home).chosen(read=settings.read_pictures, hear=settings.transcripts)
    finds = {Modality(kind) for lane in lanes for kind in lane["finds"]}
    switches = {IMAGE: "reading pictures", AUDIO: "hearing speech"}
    off = [f"{switches[kind]} is switched off" for kind in sorted(services.off)]
    limits = services.limits(finds).values() if lanes[0]["prepared"] else ()
    return {"model": canonical(name), "lanes": lanes, "off": [*off, *limits]}


def _add_speeds(in_use: dict[str, Any], settings: Settings) -> None:
    """Add to each lane what a text, a photo and a sound cost, of what it encodes."""
    from encoder.lane import config_beside
    from encoder.prepare.speed import speeds_ms

    for number, lane in enumerate(in_use["lanes"]):
        towers = {*lane["takes"]} & {TEXT, *lane["finds"]}
        config = config_beside(settings.encoder) if number else settings.encoder
        try:
            lane["cpu_ms"] = speeds_ms(lane["model"], config, towers) if lane["prepared"] else {}
        except ModelError as error:
            lane["cpu_ms"] = {}
            in_use["off"].append(str(error))


def _lane_lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    rows = [
        (
            ", ".join(lane["finds"]),
            lane["model"],
            lane["embed_dim"],
            size(lane["size_bytes"]) if lane["prepared"] else None,
            ", ".join(f"{name} {ms:.0f}" for name, ms in lane.get("cpu_ms", {}).items()),
            _few(lane["languages"] or ""),
            lane["licence"],
        )
        for lane in answer["lanes"]
    ]
    headings = ("finds", "in use", "dim", "size", "CPU-ms", "languages", "licence")
    if rows:
        yield table(headings, rows, n_left=len(headings))
    for lane in answer["lanes"]:
        if not lane["prepared"] and not lane["model"].startswith("remote:"):
            yield f"Not prepared: anymodal models prepare {marked(lane['model'])}"
    yield from map(marked, answer["off"])


def _few(languages: str) -> str:
    n_languages = languages.count(",") + 1
    return languages if n_languages <= 6 else f"{n_languages} languages"


def _used_lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield from _lane_lines(answer)
    yield f"New stores get these models, by {marked(answer['file'])}"
    if answer["store"]:
        yield marked(answer["store"])


def _summary(artifact: Artifact) -> dict[str, Any]:
    from encoder.models.bundle.services import open_services

    manifest = artifact.manifest
    limits = open_services(manifest["spec"]).limits(manifest["modalities"])
    return {
        "spec": manifest["spec"],
        "precision": manifest["key"]["precision"],
        "modalities": list(manifest["modalities"]),
        "limits": list(limits.values()),
        "embed_dim": manifest["space"]["embed_dim"],
        "size_bytes": artifact.size_bytes,
        "made_at": manifest["made_at"],
        "folder": str(artifact.folder),
    }


def _list_lines(answer: Mapping[str, Any]) -> Iterator[RenderableType]:
    yield from _lane_lines(answer)
    if not answer["models"]:
        yield "No models yet; `anymodal models prepare bundle:default` fetches the offline model."
        return
    rows = [
        (
            summary["spec"],
            summary["precision"],
            ", ".join(summary["modalities"]),
            summary["embed_dim"],
            size(summary["size_bytes"]),
            summary["made_at"][:10],
            summary["folder"].rpartition("/")[2],
        )
        for summary in answer["models"]
    ]
    headings = ("model", "precision", "takes", "dim", "size", "made", "folder")
    yield table(headings, rows, n_left=len(headings))
    for summary in answer["models"]:
        for limit in summary["limits"]:
            yield f"{marked(summary['spec'])}: {marked(limit)}"


def _show(artifact: Artifact) -> None:
    facts = {
        **artifact.manifest,
        "folder": str(artifact.folder),
        "size_bytes": artifact.size_bytes,
    }
    show(facts, _fact_lines)


def _fact_lines(facts: Mapping[str, Any]) -> Iterator[RenderableType]:
    """One line for each fact; the files as a count."""
    facts_by_name = {**facts, "files": len(facts["files"])}.items()
    rows = [row for name, value in facts_by_name for row in _lines(name.replace("_", " "), value)]
    yield table(("fact", "value"), rows, n_left=2)


def _lines(name: str, value: object) -> Iterator[tuple[str, str]]:
    if isinstance(value, Mapping):
        for key, inner in value.items():
            yield from _lines(f"{name} {key.replace('_', ' ')}", inner)
    elif isinstance(value, list):
        yield from _lines(name, ", ".join(map(str, value)))
    elif value not in (None, ""):
        yield name, str(round(value, 4) if isinstance(value, float) else value)
