"""The children of a worker's pool map one copy of the weights."""

from __future__ import annotations

from pathlib import Path

import pytest
from PIL import Image

from encoder.runtime.shared import WEIGHTS
from tests.faults.cluster import BIN
from tests.faults.rounds import running
from tests.support.media import picture
from tests.support.smaps import mapped_kb

pytestmark = pytest.mark.skipif(not Path("/proc/self/smaps").exists(), reason="reads /proc")


def test_prefork_children_map_one_copy(bundle_home: Path, tmp_path: Path) -> None:
    assert bundle_home.is_dir()
    media, cache = tmp_path / "media", tmp_path / "cache"
    media.mkdir()
    for number in range(12):
        (media / f"{number}.txt").write_text(f"Note {number}: a field was weighed.")
        Image.fromarray(picture(seed=number)).save(media / f"{number}.png")
    env = {"ANYMODAL_CACHE": str(cache), "ANYMODAL_SHARD_FILES": "2"}

    with running(tmp_path / "cluster", command=(BIN / "anymodal", "worker"), **env) as cluster:
        out, err = cluster.ingest(media, "--json").communicate(timeout=240)
        assert '"ingested": 24' in out, err
        found = [mapped_kb(pid, WEIGHTS) for pid in cluster.workers[0].children()]

    mapped = [kb for kb in found if kb["Rss"]]
    assert len(mapped) == 2, cluster.workers[0].log()
    assert all(kb["Anonymous"] == 0 for kb in mapped), "no page is one's own"
    assert len(list(cache.glob(f"shared/*/{WEIGHTS}"))) == 2
