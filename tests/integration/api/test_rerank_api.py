"""The second stage over HTTP, by Cohere's client and in searches."""

from collections.abc import Iterator
from contextlib import closing
from dataclasses import replace

import cohere
import httpx
import pytest

from encoder.prepare.reranker import open_reranker
from search.api.services import Services
from search.client import Anymodal, BadRequestError
from search.engine import SearchEngine
from tests.integration.api.conftest import served
from tests.support import overlap_reranker

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
        served(replace(parts, engine=engine, reranker=reranker)) as client,
    ):
        yield client


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
