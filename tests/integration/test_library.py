"""``anymodal list``, ``stats`` and ``info``: alone and beside a server."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.integration.conftest import Run
from tests.integration.test_serve import serving


@pytest.mark.slow
def test_what_is_stored_is_listed_counted_and_shown(here: Run, media: Path, tmp_path: Path) -> None:
    here("ingest", media, "--tag", "sea")
    bread = media / "texts" / "bread.txt"
    with serving(tmp_path):
        pages = [here("list", "--limit", 4)]
        pages.append(here("list", "--limit", 4, "--page", pages[0]["next_page"]))
        assert [len(page["assets"]) for page in pages] == [4, 2]
        assert pages[1]["next_page"] == ""
        ids = [one["asset_id"] for page in pages for one in page["assets"]]
        assert ids == sorted(set(ids))
        chosen = here("list", "--modality", "image,text", "--path", media / "texts")
        assert {Path(one["uri"]).name for one in chosen["assets"]} == {"bread.txt", "space.md"}
        assert here("list", "--tag", "none") == {"assets": [], "next_page": ""}
        stats = here("store", "stats")
        shown = here("info", bread)
        assert "Nothing is stored for" in here("info", media / "broken.png", fails=1)
    assert (stats["assets"], stats["gone"], stats["languages"]) == (6, 0, {"en": 2})
    assert {kind: one["assets"] for kind, one in stats["kinds"].items()} == {
        "audio": 2,
        "image": 2,
        "text": 2,
    }
    assert stats["kinds"]["text"]["bytes"] == sum(
        path.stat().st_size for path in (media / "texts").iterdir()
    )
    assert shown["locations"] == [str(bread)]
    assert shown["metadata"]["tags"] == ["sea"]
    assert [one["snippet"] for one in shown["segments"]] == [bread.read_text()]
    assert here("store", "stats") == stats
    assert here("info", shown["asset_id"]) == shown
