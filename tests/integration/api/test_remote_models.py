"""Another process encodes on this server, by ``remote:``: as if the model were there."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import httpx
import numpy as np
import pytest
from pydantic import SecretStr

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import ModelError
from encoder.types import AUDIO, DOCUMENT, IMAGE, QUERY, TEXT, Item, Waveform
from search.api.access.auth import Access
from search.api.access.keys import KeyRing
from search.api.services import Services
from search.store.memory import MemoryStore
from tests.integration.api.conftest import served
from workers.pipeline import calibration as calibrating
from workers.pipeline.calibration import alone_here, calibrate_if_due
from workers.pipeline.ingest_job import IngestJob


@pytest.fixture(scope="module")
def remote(client: httpx.Client) -> Iterator[MultiModalEncoder]:
    return MultiModalEncoder(f"remote:bundle:default@{client.base_url}/v1")


def items() -> list[Item]:
    rng = np.random.default_rng(0)
    waves = np.sin(np.outer([300, 2000], np.arange(40_000)) * 2 * np.pi / 16_000)
    return [
        *(Item(TEXT, text, role) for text in ("rain", "a loaf") for role in (QUERY, DOCUMENT)),
        Item(TEXT, "the dough rests under a cloth, " * 300),
        *(Item(IMAGE, rng.integers(0, 255, (90, 120, 3)).astype(np.uint8)) for _ in range(6)),
        *(Item(AUDIO, Waveform(0.3 * wave.astype(np.float32), 16_000)) for wave in waves),
    ]


def test_every_kind_gets_the_vectors_of_the_model(
    remote: MultiModalEncoder, parts: Services
) -> None:
    here = parts.encoder.encode_items(items())
    # A sound is sent in 16 bits, which its int8 networks hear.
    assert ((remote.encode_items(items()) * here).sum(axis=1) > 0.999).all()
    assert (remote.embed_dim, remote.cuts) == (here.shape[1], tuple(parts.tokens.cuts))
    assert remote.space.identity["remote"] == parts.model


def test_a_key_is_needed_and_sent(parts: Services, tmp_path: Path) -> None:
    ring = KeyRing(tmp_path / "keys.json")
    with served(replace(parts, access=Access(ring, required=True))) as client:
        spec = f"remote:{parts.model}@{client.base_url}/v1"
        with pytest.raises(ModelError, match="401"):
            MultiModalEncoder(spec)
        _, key = ring.create("reader", ["read"], 600)
        config = EncoderConfig(keys={f"{client.base_url}/v1": SecretStr(key)})
        assert MultiModalEncoder(spec, config=config).modalities >= {TEXT, IMAGE, AUDIO}


def test_a_model_that_is_not_served_is_named(client: httpx.Client) -> None:
    with pytest.raises(ModelError, match=r"404.*other.*not served"):
        MultiModalEncoder(f"remote:other@{client.base_url}/v1")


def test_its_store_is_calibrated_by_itself(
    remote: MultiModalEncoder, folder: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(calibrating, "LEAST_SEGMENTS", 3)
    for n in range(4):
        (tmp_path / f"{n}.txt").write_text(f"Day {n}: the bread, the boat and the sea.")
        (tmp_path / f"{n}.jpg").write_bytes((folder / "sky.jpg").read_bytes() + bytes([n]))
    store = MemoryStore(remote.embed_dim)
    report = IngestJob(remote, store).run([str(path) for path in sorted(tmp_path.iterdir())])
    assert report.ingested == 8
    assert not remote.space.calibration
    assert calibrate_if_due(remote, store, alone_here)
    assert {TEXT, IMAGE} <= store.calibrations.current().constants.keys()
