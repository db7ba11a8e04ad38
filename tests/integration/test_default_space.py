"""The library opens what the command line stored."""

from __future__ import annotations

from pathlib import Path

from encoder import Item, MultiModalEncoder
from encoder.types import QUERY, TEXT
from search import Query, SearchEngine, open_store
from search.store.stored_spaces import stored_spaces
from tests.integration.conftest import Run


def test_the_library_asks_what_the_command_stored(
    anymodal: Run, store_uri: str, tmp_path: Path
) -> None:
    page = tmp_path / "bread.txt"
    page.write_text("Knead the dough, let it rise, and bake the loaf.")
    anymodal("ingest", page)

    encoder = MultiModalEncoder()
    assert stored_spaces(store_uri) == [encoder.space.fingerprint]
    assert encoder.space.identity["quantization"].startswith("int8 ")
    store = open_store(store_uri, encoder.space.fingerprint, encoder.embed_dim, create=False)
    engine = SearchEngine(encoder, store)
    try:
        found = engine.search(Query([Item(TEXT, "how to make bread", QUERY)]))
    finally:
        engine.close()
        store.close()
    assert [hit.title for hit in found.hits] == ["bread"]
    plain = MultiModalEncoder(quantization=None, enable_dsre=False)
    assert plain.space.fingerprint != encoder.space.fingerprint


def test_a_store_is_opened_with_the_settings_that_filled_it(anymodal: Run, tmp_path: Path) -> None:
    page = tmp_path / "bread.txt"
    page.write_text("Knead the dough, let it rise, and bake the loaf.")
    named = {"ANYMODAL_ENCODER__QUANTIZATION": "none", "ANYMODAL_ENCODER__ENABLE_DSRE": "false"}
    anymodal("ingest", page, **named)

    (hit,) = anymodal("search", "how to make bread")["hits"]
    assert hit["title"] == "bread"
    assert anymodal("ingest", page)["unchanged"] == 1
    said = anymodal("search", "bread", fails=1, ANYMODAL_ENCODER__QUANTIZATION="int8")
    assert "Leave out ANYMODAL_ENCODER__QUANTIZATION" in said
