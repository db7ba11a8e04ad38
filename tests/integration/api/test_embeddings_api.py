"""Embeddings in OpenAI's shape."""

import re
from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any

import cohere
import httpx
import numpy as np
import pytest

from encoder.prepare.reranker import open_reranker
from encoder.towers.text import load_tokenizer
from search.api.services import Services
from search.client import Anymodal, BadRequestError
from search.engine import SearchEngine
from tests.integration.api.conftest import served
from tests.support import overlap_reranker
from workers.config import Settings
from workers.serving.search_pool import SearchPool


def embedded(client: httpx.Client, given: Any, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/embeddings", json={"input": given, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_texts(client: httpx.Client) -> None:
    one = embedded(client, "rain on a window", model="bundle:english")
    two = embedded(client, ["rain on a window", "a dog"])
    assert (one["object"], one["data"][0]["object"], one["model"]) == (
        "list",
        "embedding",
        "bundle:english",
    )
    assert [entry["index"] for entry in two["data"]] == [0, 1]
    rows = np.array([entry["embedding"] for entry in two["data"]])
    assert rows.shape == (2, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    assert rows[0] @ np.array(one["data"][0]["embedding"]) == pytest.approx(1, abs=1e-3)
    assert one["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_a_long_text_is_read_to_its_end_and_counted(
    client: httpx.Client, bundle_home: Path
) -> None:
    beginning = "The council voted on the budget. " * 100
    walrus = "A walrus basks on the ice floe. "
    answer = embedded(client, [beginning, beginning + walrus * 100, walrus])
    short, long, query = (np.array(entry["embedding"]) for entry in answer["data"])
    assert query @ long > query @ short + 0.2
    assert [entry["windows"] for entry in answer["data"]] == [3, 8, 1]
    tokenizer = load_tokenizer(bundle_home / "text" / "tokenizer.json", max_tokens=None)
    marked = [tokenizer.encode(text).ids for text in (beginning, beginning + walrus * 100, walrus)]
    n_words = sum(len(ids) - 2 for ids in marked)
    assert answer["usage"]["prompt_tokens"] == n_words + 2 * (3 + 8 + 1)


def test_how_many_tokens_were_merged_is_in_a_header(client: httpx.Client) -> None:
    story = "The tide came in and the boats went out. " * 20
    answer = client.post("/v1/embeddings", json={"input": story})
    encoded, kept = map(int, re.findall(r"\d+", answer.headers["server-timing"]))
    assert 0 < kept < encoded == answer.json()["usage"]["prompt_tokens"]


def test_cuts_are_those_of_the_model(parts: Services) -> None:
    class Nested:
        cuts = (64, 128)
        window_lengths = staticmethod(parts.tokens.window_lengths)

    with served(replace(parts, tokens=Nested())) as client:
        whole, cut = (
            np.array(embedded(client, "rain", dimensions=n)["data"][0]["embedding"])
            for n in (384, 64)
        )
        assert cut == pytest.approx(whole[:64] / np.linalg.norm(whole[:64]))
        assert client.get("/v1/models").json()["data"][0]["dimensions"] == [64, 128, 384]
        refused = client.post("/v1/embeddings", json={"input": "rain", "dimensions": 65})
        assert refused.status_code == 400
        assert "64, 128, 384" in refused.json()["error"]["remedy"]


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"input": []}, 400),
        ({"input": ["a"] * 2049}, 400),
        ({"input": [{}]}, 400),
        ({"input": [[]]}, 400),
        ({"input": [1.5]}, 400),
        ({"input": " "}, 400),
        ({"input": [-1]}, 400),
        ({"input": "a", "model": "gpt"}, 404),
        ({"input": "a", "dimensions": 7}, 400),
        ({"input": [{"image": "aGVsbG8="}]}, 415),
    ],
)
def test_wrong_requests(client: httpx.Client, request_: dict[str, Any], status: int) -> None:
    answer = client.post("/v1/embeddings", json=request_)
    assert answer.status_code == status, answer.text


WORDS = "knead the dough then bake loaf a rocket in orbit is hot red blue"
TEXTS = ["a red loaf", "a rocket in orbit", " ", "blue " * 1000 + "rocket"]


@pytest.fixture(scope="module")
def name(tmp_path_factory: pytest.TempPathFactory) -> str:
    return f"dir:{overlap_reranker.write(tmp_path_factory.mktemp('reranker'), WORDS)}"


@pytest.fixture(scope="module")
def judging(parts: Services, name: str) -> Iterator[httpx.Client]:
    reranker = open_reranker(name)
    with (
        closing(SearchEngine(parts.encoder, parts.store, reranker=reranker)) as engine,
        served(replace(parts, searches=_alone(engine), reranker=reranker)) as client,
    ):
        yield client


def _alone(engine: SearchEngine) -> SearchPool:
    return SearchPool(engine, Settings(), "", 0, lambda *_: None)


def test_texts_come_in_the_order_of_the_network(judging: httpx.Client, name: str) -> None:
    """A long text counts by its best window; one without words is last."""
    with httpx.Client() as sender:
        client = cohere.ClientV2("any", base_url=str(judging.base_url), httpx_client=sender)
        answer = client.rerank(model=name, query="rocket in orbit", documents=TEXTS)
        best = client.rerank(model=name, query="rocket in orbit", documents=TEXTS, top_n=1)
    assert [one.index for one in answer.results] == [1, 3, 0, 2]
    scores = [one.relevance_score for one in answer.results]
    assert scores == pytest.approx([0.8808, 0.5, 0.2689, 0.0], abs=1e-4)
    assert [one.index for one in best.results] == [1]
    assert answer.id


def test_jina_s_objects_come_back(judging: httpx.Client) -> None:
    documents = [{"text": text} for text in TEXTS[:2]]
    request = {"query": "a rocket", "documents": documents, "return_documents": True}
    answer = judging.post("/v1/rerank", json=request)
    assert [one["document"]["text"] for one in answer.json()["results"]] == [TEXTS[1], TEXTS[0]]
    assert "rerank;dur=" in answer.headers["server-timing"]


def test_voyage_s_names_are_understood(judging: httpx.Client) -> None:
    request = {"query": "a rocket", "documents": TEXTS[:2], "top_k": 1, "truncation": True}
    answer = judging.post("/v1/rerank", json=request).json()
    assert [one["index"] for one in answer["data"]] == [1]
    assert answer["usage"]["total_tokens"] > 4
    models = judging.get("/v1/models").json()["models"]
    (reranker,) = [model for model in models if model["endpoints"] == ["rerank"]]
    assert answer["model"] == reranker["name"]


def test_a_page_is_ordered_again(judging: httpx.Client) -> None:
    """The text on the rocket is judged a better answer; hits without words keep their places."""
    with Anymodal(str(judging.base_url)) as client:
        asked = {"lexical": False, "limit": 10}
        before = client.search("baking bread with a rocket in orbit", **asked)
        after = client.search("baking bread with a rocket in orbit", rerank=True, **asked)
        with pytest.raises(BadRequestError, match="a query without text"):
            client.similar(before.hits[0].asset_id, rerank=True)
        with pytest.raises(BadRequestError, match="one of them"):
            client.search("a rocket", rerank=True, sort="name")
    assert [hit.modality for hit in before.hits] == [hit.modality for hit in after.hits]
    texts = [hit for hit in after.hits if hit.modality == "text"]
    scores = [hit.rerank_score for hit in texts]
    assert texts[0].name == "page.html"
    assert scores == sorted(scores, key=lambda score: -(score or 0))
    assert {hit.rerank_score for hit in after.hits if hit.modality != "text"} == {None}
    assert "rerank" in after.latency_ms
    assert "rerank" not in before.latency_ms


def test_a_server_without_one_says_so(parts: Services) -> None:
    request = {"query": "a", "documents": ["b"]}
    with served(replace(parts, reranker=None)) as client:
        missing = client.post("/v2/rerank", json=request)
        refused = client.post("/v1/search", json={"query": "a", "rerank": True})
    assert (missing.status_code, refused.status_code) == (404, 422)
    for answer in (missing, refused):
        assert "ANYMODAL_RERANKER" in str(answer.json())


@pytest.mark.parametrize(
    ("change", "status", "said"),
    [
        ({"model": "rerank-v4"}, 404, "rerank-v4"),
        ({"query": "rocket " * 600}, 400, "448 at most"),
        ({"query": " "}, 400, "query"),
        ({"documents": []}, 400, "documents"),
    ],
)
def test_what_is_refused(
    judging: httpx.Client, change: dict[str, object], status: int, said: str
) -> None:
    request = {"query": "a", "documents": ["b"], **change}
    answer = judging.post("/v1/rerank", json=request)
    assert answer.status_code == status
    assert said in answer.json()["error"]["message"]
