"""Queries and documents encoded differently, from files over Milvus Lite to OpenAI's client."""

from collections.abc import Iterator
from pathlib import Path

import httpx
import numpy as np
import openai
import pytest

from encoder import Item
from encoder.types import TEXT
from ingest.config import IngestConfig
from search.api.services import Services
from search.engine import SearchEngine
from search.query.query import Query
from tests.integration.api.conftest import composed
from tests.support import tiny_models as tiny
from workers.cli.query import read_term, terms_of

STORED = {"short.txt": "tin", "long.txt": "rain on tin"}


@pytest.fixture(scope="module")
def parts(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Services]:
    model = tmp_path_factory.mktemp("model")
    tiny.save_sentence_encoder(model, {"query": "rain on "})
    data = tmp_path_factory.mktemp("data")
    with composed(data, STORE=str(data / "store"), ENCODER__MODEL=f"dir:{model}") as (_, made):
        yield made


@pytest.fixture(scope="module")
def ids(client: httpx.Client) -> dict[str, str]:
    """The assets, ingested by a job of the queue."""
    found = {}
    for name, text in STORED.items():
        answer = client.post("/v1/assets", files=[("file", (name, text))], params={"wait": True})
        (found[name],) = answer.json()["job"]["asset_ids"]
    return found


def rows(client: httpx.Client, texts: list[str], **more: object) -> np.ndarray:
    connected = openai.OpenAI(base_url=f"{client.base_url}/v1", api_key="any", max_retries=0)
    model = connected.models.list().data[0].id
    answer = connected.embeddings.create(input=texts, model=model, extra_body=more)
    return np.array([entry.embedding for entry in answer.data], np.float32)


def test_what_is_ingested_is_a_document(
    parts: Services, client: httpx.Client, ids: dict[str, str]
) -> None:
    expected = rows(client, list(STORED.values()))
    for asset_id, row in zip(ids.values(), expected, strict=True):
        (segment,) = parts.store.embeddings(asset_id)
        assert segment.embedding @ row == pytest.approx(1, abs=1e-3)


@pytest.mark.parametrize(
    ("input_type", "prompt"),
    [
        ("query", "rain on "),
        ("search_query", "rain on "),
        ("document", ""),
        ("search_document", ""),
        ("passage", ""),
    ],
)
def test_an_embedding_has_the_prompt_of_its_input_type(
    parts: Services, client: httpx.Client, input_type: str, prompt: str
) -> None:
    (given,) = rows(client, ["roofs"], input_type=input_type)
    role = "query" if "query" in input_type else "document"
    expected = parts.encoder.encode_items([Item(TEXT, "roofs", role)])  # type: ignore[arg-type]
    np.testing.assert_allclose(given, expected[0], atol=1e-5)
    answer = client.post("/v1/embeddings", json={"input": "roofs", "input_type": input_type})
    n_letters = len(prompt.replace(" ", "")) + len("roofs")
    assert answer.json()["usage"]["prompt_tokens"] == n_letters + 2  # with the special tokens


def test_an_input_type_that_is_none_is_refused(client: httpx.Client) -> None:
    with pytest.raises(openai.BadRequestError, match="input_type") as caught:
        rows(client, ["roofs"], input_type="clustering")
    assert caught.value.param == "input_type"


def test_a_search_asks_as_a_query(client: httpx.Client, ids: dict[str, str]) -> None:
    """A query for "tin" is encoded as "rain on tin"."""
    short, long = rows(client, list(STORED.values()))
    asked = STORED["short.txt"]
    terms = [{"text": asked}, {"text": asked, "weight": -0.1}, {"asset_id": ids["short.txt"]}]
    plain, mixed = (
        client.post("/v1/search", json={"query": query, "lexical": False, "explain": True}).json()
        for query in (asked, terms)
    )
    assert [hit["asset_id"] for hit in plain["hits"]] == [ids["long.txt"], ids["short.txt"]]
    (hit,) = mixed["hits"]  # the asset that was searched with is not a hit
    cosines = [term["cosine"] for term in hit["explanation"]["terms"]]
    assert cosines == pytest.approx([1, 1, short @ long], abs=1e-4)
    assert short @ long < 0.999


ASKED = dict.fromkeys(
    ("words", "text", "unwanted", "image", "audio", "video", "query_file", "like"), ()
)


def test_more_like_a_file_is_more_like_a_document(parts: Services, tmp_path: Path) -> None:
    file = tmp_path / "new.txt"
    file.write_text(STORED["short.txt"] + "\n\n")
    engine = SearchEngine(parts.encoder, parts.store)
    hits = {
        given: engine.search(
            Query(
                [read_term(term, parts.store, IngestConfig()) for term in terms_of(asked)],
                lexical=False,
            )
        )
        .hits[0]
        .uri
        for given, asked in (
            ("text", ASKED | {"text": [file.read_text()]}),
            ("file", ASKED | {"like": [str(file)]}),
        )
    }
    engine.close()
    assert {given: Path(uri).name for given, uri in hits.items()} == {
        "text": "long.txt",
        "file": "short.txt",
    }
