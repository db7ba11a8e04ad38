"""A script without a pipeline: one item after the other, float32 in torch, one insert for each.

The decoders are the pipeline's own, and Whisper runs in float32 on its runtime.
``python -m benchmarks.pipeline.plain_script FOLDER STORE`` prints its seconds and counts as JSON.
"""

from __future__ import annotations

import json
import sys
from collections import Counter
from pathlib import Path
from time import perf_counter
from typing import Any

from encoder.models.bundle.declaration import read_bundle
from encoder.models.bundle.model import load
from encoder.runtime.onnx import OnnxSession
from encoder.runtime.torch import TorchSession
from encoder.services.sound_classes import SoundClasses
from encoder.services.speech import Speech
from encoder.towers.audio.labels import load_class_places, load_sound_labels
from encoder.towers.audio.tower import AudioTower
from encoder.towers.base import LazyTower, loaded
from encoder.towers.image import ImageTower
from encoder.towers.model import Model
from encoder.towers.text import TextTower, load_tokenizer
from encoder.types import AUDIO, IMAGE, TEXT


def torch_model() -> Model:
    """The English bundle's towers in torch, all float32, in its own space."""
    model = lazy_torch_model(compute_type="float32")
    return Model(model.space, {kind: loaded(tower) for kind, tower in model.towers.items()})


def lazy_torch_model(**of_speech: Any) -> Model:
    """The same, each tower opened when it is first needed.

    Args:
        of_speech: as `Speech` takes it, which is recognised by CTranslate2.
    """
    from encoder.models.bundle.declaration import IMAGE_LABELS, SOUND_LABELS, TABLES, location
    from encoder.models.bundle.kinds import image_labels
    from encoder.prepare.bundle.networks import load_network

    bundle = read_bundle("english")
    folder = location(bundle)

    def session(part: str) -> TorchSession:
        return TorchSession(load_network(bundle.spec, part).module)

    def open_text() -> TextTower:
        return TextTower(load_tokenizer(folder / "text" / "tokenizer.json"), session("text"))

    def open_image() -> ImageTower:
        return ImageTower(session("image"), image_labels(IMAGE_LABELS))

    def open_audio() -> AudioTower:
        speech, labels = Speech(folder / "speech", **of_speech), load_sound_labels(SOUND_LABELS)
        # YAMNet is an ONNX file from the start
        classes = SoundClasses(lambda: OnnxSession(folder / "sounds" / "model.onnx"))
        places = load_class_places(TABLES / "sound_classes.npz")
        return AudioTower(session("audio"), classes, places, speech, labels, text)

    text = LazyTower(open_text)
    towers = {TEXT: text, IMAGE: LazyTower(open_image), AUDIO: LazyTower(open_audio)}
    return Model(load(bundle).space, towers)


def ingest(folder: Path, store: str) -> dict[str, object]:
    """Encode and insert each segment of each file, in order."""
    from pymilvus import DataType, MilvusClient

    from ingest import IngestConfig, identify, segments

    model, config = torch_model(), IngestConfig()
    client = MilvusClient(store)
    schema = MilvusClient.create_schema(auto_id=True)
    schema.add_field("id", DataType.INT64, is_primary=True)
    schema.add_field("path", DataType.VARCHAR, max_length=1024)
    schema.add_field("embedding", DataType.FLOAT_VECTOR, dim=model.space.embed_dim)
    client.create_collection("plain", schema=schema)
    counts: Counter[str] = Counter()
    started = perf_counter()
    for path in sorted(folder.iterdir()):
        for segment in segments(identify(path, config), config):
            tower = model.towers[segment.modality]
            embedding = tower.forward([tower.prepare(segment.content)]).rows[0]
            client.insert("plain", {"path": str(path), "embedding": embedding.tolist()})
            counts[str(segment.modality)] += 1
    return {"wall_s": perf_counter() - started, "segments": dict(counts)}


if __name__ == "__main__":
    print(json.dumps(ingest(Path(sys.argv[1]), sys.argv[2])))
