"""The towers of hub models as torch networks, and what calibrates them.

A quantized network is exported in float32 as artifacts are, and the codes that the `Quantizer`
chose are put into the graph. So it computes like an artifact: linear layers in int8.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any

import numpy as np

from encoder.errors import InputError, ModelError
from encoder.media.image import load_image
from encoder.media.sound import load_sound
from encoder.models.sources import ModelSource, locate
from encoder.models.spec import ModelSpec
from encoder.models.tower_folder import ONNX
from encoder.onnx.quantize import store_weights
from encoder.prepare.calibration_files import BATCH_ITEMS, PICTURES, SOUNDS, files, mixed, texts
from encoder.prepare.hub import prepare as hub
from encoder.prepare.hub.graphs import export
from encoder.prepare.hub.media import GraphPart
from encoder.prepare.prepared import space_identity
from encoder.runtime.onnx import OnnxSession
from encoder.system.batched import in_batches
from encoder.towers.joint import sound_windows
from encoder.types import AUDIO, DOCUMENT, IMAGE, TEXT, Modality

if TYPE_CHECKING:
    from torch import Tensor, nn

    from encoder.quant.calibration import Objective
    from encoder.towers.hub import JointEncoder

_MEDIA_AT_ONCE = 4


def load_network(spec: ModelSpec, tower: str, folder: Path) -> HubTower:
    """Load a tower of a hub model.

    Raises:
        ModelError: the model cannot be loaded, or no graph is made of such models.
        InputError: it has no such tower.
    """
    source = locate(spec)
    name = source.where.get("model", "")
    identity, joint, prompts = hub.load_source(source.folder, name)
    folder.mkdir(parents=True, exist_ok=True)
    parts = dict(hub.parts_of(joint, prompts, folder))
    with_network = [modality for modality, graph_part in parts.items() if graph_part.network]
    if tower not in with_network:
        raise InputError(
            "tower", got=repr(tower), wanted=f"{', '.join(with_network)}, which {spec} has"
        )
    facts = hub.facts_of(joint, identity, prompts, parts, precision=None)
    return HubTower(spec, source, joint, tower, parts[tower], facts)


class HubTower:
    """A tower of a hub model, as `encoder.prepare.bundle.networks.TowerNetwork` is of a bundle."""

    objective: Objective = "cosine"

    def __init__(
        self,
        spec: ModelSpec,
        source: ModelSource,
        joint: JointEncoder,
        tower: str,
        graph_part: GraphPart,
        facts: Mapping[str, Any],
    ) -> None:
        assert graph_part.network
        self._spec, self._source, self._joint = spec, source, joint
        self._tower, self._network, self._facts = tower, graph_part.network, facts
        _set_unused_aside(self.module, dict(graph_part.network.features))

    @property
    def module(self) -> nn.Module:
        """Takes a mapping of tensors as ``features``."""
        return self._network.module

    def read(self, source: Path | None, max_items: int) -> list[dict[str, Any]]:
        """Calibration batches, as the model's own processor makes them.

        Raises:
            InputError: there is nothing to read.
        """
        batches = self._contents(source, max_items)
        if len(batches) == 1:  # half fits and half judges; not every input has a row for each item
            (only,) = batches
            batches = [half for half in (only[::2], only[1::2]) if half]
        return [{"features": self._inputs(some)} for some in batches]

    def _contents(self, source: Path | None, max_items: int) -> list[list[Any]]:
        if self._tower == TEXT:
            # similar lengths in a batch: little padding
            in_order = sorted(texts(source, max_items), key=len)
            return mixed(
                self._joint.inputs(TEXT, some) for some in in_batches(in_order, BATCH_ITEMS)
            )
        read, kinds, what = {
            IMAGE: (self._pictures, PICTURES, "pictures"),
            AUDIO: (self._sounds, SOUNDS, "sounds"),
        }[Modality(self._tower)]  # fmt: skip
        paths = files(source, kinds, what, max_items)
        return list(in_batches(read(paths), _MEDIA_AT_ONCE))

    def _pictures(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:
        from PIL import Image

        return ({"image": Image.fromarray(load_image(path))} for path in paths)

    def _sounds(self, paths: Sequence[Path]) -> Iterator[dict[str, Any]]:

        facts = self._facts[AUDIO]
        rate, window_s = facts["sampling_rate"], facts["window_s"]
        for path in paths:
            for window in sound_windows(load_sound(path), rate, window_s):
                yield {"audio": {"array": window, "sampling_rate": rate}}

    def _inputs(self, contents: Sequence[Any]) -> dict[str, Any]:
        """What the network takes. Soft tokens are not read: these texts contain no media."""
        features = self._joint.features(contents, self._facts["prompts"][DOCUMENT][self._tower])
        example = self._network.features
        return {name: features.get(name, value) for name, value in example.items()}

    def write(
        self, module: nn.Module, folder: Path, judges: Sequence[Any], least_cosine: float
    ) -> dict[str, Any]:
        """Write what is served into ``folder``; return its entries for the manifest.

        Args:
            module: quantized.
            folder: exists.
            judges: batches that nothing was fitted to.
            least_cosine: to float32, on average over their items.

        Raises:
            ModelError: it cannot be exported, or is further from float32.
        """
        from encoder.quant.export_onnx import float_twin, stored_weights

        with TemporaryDirectory(dir=folder) as scratch:
            plain = Path(scratch) / "float32.onnx"
            export(self._joint.name, replace(self._network, module=float_twin(module)), plain)
            store_weights(plain, folder / ONNX, stored_weights(module))
        measured = self._measure(folder / ONNX, judges)
        self._check(measured["mean"], least_cosine)
        hub.write_facts(folder, self._facts)
        return {
            "source": self._source.identity,
            "revision": self._spec.revision,
            "identity": space_identity(self._facts, self._source),
            "measured": measured,
        }

    def _measure(self, path: Path, judges: Sequence[Any]) -> dict[str, float]:
        """Cosines of the graph's rows to those of float32 torch, mean and least."""
        import torch

        session, cosines = OnnxSession(path), []
        for batch in judges:
            with torch.inference_mode():
                expected = self.module(**batch).numpy()
            inputs = {name: value.numpy() for name, value in batch["features"].items()}
            (rows_of_graph,) = session.run(inputs)
            norms = np.linalg.norm(expected, axis=-1) * np.linalg.norm(rows_of_graph, axis=-1)
            cosines.append((expected * rows_of_graph).sum(-1) / norms)
        rows = np.concatenate(cosines)
        return {"mean": float(rows.mean()), "least": float(rows.min())}

    def _check(self, mean: float, least: float) -> None:
        if mean >= least:
            return
        raise ModelError(
            f"The {self._tower} tower of {self._spec} has a mean cosine of {mean:.4f} to float32, "
            f"less than {least}.",
            remedy="Give it more room (--budget, --bits, --max-loss, --keep LAYER=int8), or accept "
            "it with --least-cosine. Measurements are kept, so the next run is quick.",
        )


def _set_unused_aside(model: nn.Module, features: dict[str, Tensor]) -> None:
    """Unregister the modules whose parameters do not affect the output, as CLIP's other half.

    They stay as attributes, so that code that runs or inspects them still works, but have no layers
    to quantize, and are not counted or saved.
    """
    import torch

    flags = {p: p.requires_grad for p in model.parameters() if p.is_floating_point()}
    for parameter in flags:
        parameter.requires_grad_(True)
    try:
        with torch.enable_grad():
            waiting = [model(features=features).grad_fn]
    finally:
        for parameter, flag in flags.items():
            parameter.requires_grad_(flag)
    visited, used = set(), set()
    while waiting:  # all that a gradient would reach
        node = waiting.pop()
        if node is not None and node not in visited:
            visited.add(node)
            used.add(id(getattr(node, "variable", None)))
            waiting += [following for following, _ in node.next_functions]
    _unregister(model, used)


def _unregister(module: nn.Module, used: set[int]) -> None:
    from torch import nn

    for name, child in list(module.named_children()):
        parameters = {id(parameter) for parameter in child.parameters()}
        # the modules of a list have fixed positions
        is_list = isinstance(module, nn.ModuleList | nn.ModuleDict | nn.Sequential)
        if parameters and used.isdisjoint(parameters) and not is_list:
            delattr(module, name)
            object.__setattr__(module, name, child)
        else:
            _unregister(child, used)
