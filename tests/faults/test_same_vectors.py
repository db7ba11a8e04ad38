"""One content has one vector: in one process, in prefork workers, alone or in a batch."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.runtime.shared import WEIGHTS
from encoder.system.cache import cache_home
from examples.speech import Speaker
from ingest import IngestConfig
from search.store.base import VectorStore
from search.store.memory import MemoryStore
from search.store.open import open_store
from tests.faults.cluster import BIN
from tests.faults.rounds import running
from tests.support.media import picture, tone
from tests.support.smaps import mapped_kb
from workers.pipeline.ingest_job import IngestJob

Vectors = Mapping[str, NDArray[np.float32]]


@pytest.fixture(scope="module")
def media(bundle_home: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Texts, pictures and sounds of different lengths and sizes, and a spoken sentence."""
    assert bundle_home.is_dir()
    folder = tmp_path_factory.mktemp("media")
    for number in range(8):
        text = f"Note {number}: the harvest of field {number} was weighed. " * (1 + number**2)
        (folder / f"{number}.txt").write_text(text)
    for number in range(4):
        size = (60 + 150 * number, 90 + 70 * number)
        Image.fromarray(picture(*size, seed=number)).save(folder / f"{number}.png")
    for seconds in (0.4, 3.0, 11.0):
        soundfile.write(folder / f"{seconds}.wav", tone(seconds), 44_100)
    speaker = Speaker(cache_home())
    said = speaker.say("The telescope discovered a planet which is twice as large as our own.")
    soundfile.write(folder / "said.wav", said, speaker.sampling_rate)
    return folder


@pytest.fixture(scope="module")
def one_by_one(media: Path) -> Vectors:
    """Each segment alone, in this process."""
    return in_this_process(media, EncoderConfig(batch_items=1), batch_segments=1)


def in_this_process(media: Path, config: EncoderConfig, batch_segments: int) -> Vectors:
    encoder = MultiModalEncoder(quantization="int8", enable_dsre=False, config=config)
    store = MemoryStore(encoder.embed_dim)
    job = IngestJob(encoder, store, IngestConfig(), batch_segments=batch_segments)
    report = job.run(sorted(map(str, media.iterdir())))
    assert (report.ingested, report.failures) == (16, [])
    return vectors_of(store)


def vectors_of(store: VectorStore) -> Vectors:
    return {
        row.key: row.embedding for asset in store.scan() for row in store.embeddings(asset.asset_id)
    }


def assert_same(one: Vectors, other: Vectors) -> None:
    assert one.keys() == other.keys()
    assert len(one) > 20
    cosines = [float(one[key] @ other[key]) for key in one]
    assert min(cosines) >= 0.99999


def test_in_batches(media: Path, one_by_one: Vectors) -> None:
    assert_same(in_this_process(media, EncoderConfig(), batch_segments=64), one_by_one)


def test_in_prefork_workers(media: Path, one_by_one: Vectors, tmp_path: Path) -> None:
    """Which map one copy of the weights."""
    cache = tmp_path / "cache"
    env = {"ANYMODAL_ENCODER__QUANTIZATION": "int8", "ANYMODAL_ENCODER__ENABLE_DSRE": "false"}
    env |= {"ANYMODAL_CACHE": str(cache), "ANYMODAL_SHARD_FILES": "2"}
    with running(tmp_path / "cluster", command=(BIN / "anymodal", "worker"), **env) as cluster:
        out, err = cluster.ingest(media, "--json").communicate(timeout=240)
        assert '"ingested": 16' in out, err
        mapped = [mapped_kb(pid, WEIGHTS) for pid in cluster.workers[0].children()]
        encoder = MultiModalEncoder(quantization="int8", enable_dsre=False)
        store = open_store(cluster.milvus.uri, encoder.space.fingerprint, encoder.embed_dim)
        try:
            assert_same(vectors_of(store), one_by_one)
        finally:
            store.close()
    assert [bool(kb["Rss"]) for kb in mapped] == [True] * 2, cluster.workers[0].log()
    assert [kb["Anonymous"] for kb in mapped] == [0] * 2, "no page is one's own"
    assert (
        len(list(cache.glob(f"shared/*/{WEIGHTS}"))) == 4
    )  # of text, pictures, sounds and their classes
