"""The clients and shapes of OpenAI, vLLM, Cohere, Jina and Voyage."""

import base64
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore
from typing import Any

import cohere
import httpx
import numpy as np
import openai
import pytest

from encoder.types import Embeddings, Item
from ingest.config import IngestConfig
from search.api.access.keys import KeyRing
from search.api.bounded_threads import Workbench
from search.api.services import Services
from search.api.vendors.encoding import written
from search.query.terms import ItemEncoder
from tests.integration.api.conftest import served
from tests.support.http_server import files_at
from workers.serving.query_media import QueryDecoder

MODEL = "bundle:english"


def connect(client: httpx.Client, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def client_(client: httpx.Client) -> Iterator[openai.OpenAI]:
    with connect(client) as connected:
        yield connected


def test_models(client_: openai.OpenAI) -> None:
    (model,) = client_.models.list().data
    assert (model.id, model.object) == (MODEL, "model")
    assert client_.models.retrieve(MODEL).id == MODEL
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client_.models.retrieve("gpt/5")
    with pytest.raises(openai.NotFoundError, match=MODEL):
        client_.embeddings.create(input="rain", model="text-embedding-3-small")


def test_a_model_of_the_hub_is_found_by_its_name(parts: Services) -> None:
    name = "hf:org/name@main"
    with served(replace(parts, model=name)) as client, connect(client) as connected:
        assert connected.models.retrieve(name).id == name


def test_texts_in_both_formats(client_: openai.OpenAI) -> None:
    given = ["rain on a window", "a dog"]
    rows = {}
    for encoding_format in ("float", "base64"):
        answer = client_.embeddings.create(
            input=given, model=MODEL, encoding_format=encoding_format, user="me", dimensions=384
        )
        assert answer.usage.prompt_tokens == 6 + 4
        rows[encoding_format] = [entry.embedding for entry in answer.data]
    unsaid = client_.embeddings.create(input=given, model=MODEL)  # Base64 on the wire
    assert np.allclose([entry.embedding for entry in unsaid.data], rows["float"], atol=1e-6)
    encoded = rows["base64"][0]
    assert isinstance(encoded, str) or np.allclose(encoded, rows["float"][0], atol=1e-6)


def test_tokens_of_the_model_are_texts(client_: openai.OpenAI) -> None:
    ids = [101, 4542, 2006, 1037, 3332, 102]
    text, one, several = (
        client_.embeddings.create(input=given, model=MODEL)
        for given in ("rain on a window", ids, [ids, [101, 3899, 102]])
    )
    assert len(one.data) == 1
    assert len(several.data) == 2
    assert one.usage.prompt_tokens == text.usage.prompt_tokens == 6
    assert np.allclose(one.data[0].embedding, text.data[0].embedding, atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "param"),
    [
        ({"input": [15339, 1917]}, "input[0].tokens"),  # "hello world" of tiktoken
        ({"input": "rain", "dimensions": 256}, "dimensions"),
        ({"input": "rain " * 300, "extra_body": {"on_overflow": "error"}}, "input[0]"),
        ({"input": []}, "input"),
    ],
)
def test_what_is_refused_is_said(
    client_: openai.OpenAI, wrong: dict[str, object], param: str
) -> None:
    with pytest.raises(openai.BadRequestError) as caught:
        client_.embeddings.create(**{"model": MODEL, **wrong})  # type: ignore[arg-type]
    assert (caught.value.type, caught.value.code, caught.value.param) == (
        "InputError",
        "input",
        param,
    )
    assert param in caught.value.message


def test_a_key_is_asked_for_where_there_are_keys(guarded: httpx.Client, ring: KeyRing) -> None:
    with connect(guarded) as unknown, pytest.raises(openai.AuthenticationError) as caught:
        unknown.embeddings.create(input="rain", model=MODEL)
    assert caught.value.code == "unauthorized"
    assert "anymodal keys create" in caught.value.message
    _, token = ring.create("reader", ["read"], 6000)
    with connect(guarded, token) as known:
        assert known.models.list().data
        assert known.embeddings.create(input="rain", model=MODEL).data


class Between:
    """Encodes only after another search has been answered, the first few times."""

    def __init__(self, encoder: ItemEncoder, n_times: int) -> None:
        self.space, self._encoder = encoder.space, encoder
        self.answered, self.n_left = Semaphore(0), n_times

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        if self.n_left:
            while self.answered.acquire(blocking=False):
                pass
            assert self.answered.acquire(timeout=60)
            self.n_left -= 1
        return self._encoder.encode_items(items)


def test_2048_inputs_while_others_search(parts: Services, client_: openai.OpenAI) -> None:
    given = [f"note {n} of the council" for n in range(2048)]
    encoder, patient = Between(parts.encoder, 4), Workbench(threads=2, queue=2, timeout_s=300)
    with (
        served(replace(parts, encoder=encoder, workbench=patient)) as client,
        connect(client) as connected,
        ThreadPoolExecutor(1) as threads,
    ):
        batch = threads.submit(connected.embeddings.create, input=given, model=MODEL)
        n_asked = 0
        while not batch.done():
            found = client.post("/v1/search", json={"query": f"query {n_asked}"})
            assert found.status_code == 200
            encoder.answered.release()
            n_asked += 1
        answer = batch.result()
    patient.close()
    assert encoder.n_left == 0
    one = client_.embeddings.create(input=given[2047], model=MODEL)
    assert np.allclose(answer.data[2047].embedding, one.data[0].embedding, atol=1e-5)
    with pytest.raises(openai.BadRequestError, match="2048"):
        client_.embeddings.create(input=[*given, "one more"], model=MODEL)


class Stuck:
    """Encodes nothing before it is let go, and takes no processor time until then."""

    def __init__(self, encoder: ItemEncoder) -> None:
        self.space, self._encoder, self.let_go = encoder.space, encoder, Event()

    def encode_items(self, items: Sequence[Item]) -> Embeddings:
        assert self.let_go.wait(60)
        return self._encoder.encode_items(items)


def test_a_batch_that_takes_too_long_is_said_to(parts: Services) -> None:
    stuck, hasty = Stuck(parts.encoder), Workbench(threads=2, queue=2, timeout_s=2)
    try:
        with (
            served(replace(parts, encoder=stuck, workbench=hasty)) as client,
            connect(client) as connected,
        ):
            with pytest.raises(openai.InternalServerError, match="finished ones") as caught:
                connected.embeddings.create(input=["a letter", "to the mayor"], model=MODEL)
            assert caught.value.status_code == 504
    finally:
        stuck.let_go.set()
        hasty.close()


FORMATS = ["float", "int8", "uint8", "binary", "ubinary", "base64"]


@pytest.fixture(scope="module")
def cohere_(client: httpx.Client) -> Iterator[cohere.ClientV2]:
    with httpx.Client() as sender:
        yield cohere.ClientV2("any", base_url=str(client.base_url), httpx_client=sender)


@pytest.fixture(scope="module")
def sky(folder: Path) -> str:
    data = base64.b64encode((folder / "sky.jpg").read_bytes()).decode()
    return f"data:image/jpeg;base64,{data}"


@pytest.fixture(scope="module")
def tone(folder: Path) -> str:
    return base64.b64encode((folder / "tone.wav").read_bytes()).decode()


def posted(client: httpx.Client, **request: Any) -> dict[str, Any]:
    answer = client.post("/v1/embeddings", json=request)
    assert answer.status_code == 200, answer.text
    return answer.json()


def rows(client: httpx.Client, **request: Any) -> np.ndarray:
    return np.array([one["embedding"] for one in posted(client, **request)["data"]])


def refused(client: httpx.Client, path: str, **request: Any) -> tuple[str, str]:
    answer = client.post(path, json=request)
    assert answer.status_code == 400, answer.text
    fault = answer.json()["error"]
    return fault["field"], fault["message"]


def test_a_message_of_several_parts_is_one_embedding(
    client: httpx.Client, sky: str, tone: str
) -> None:
    text, picture, sound = rows(
        client, input=[{"text": "a blue sky"}, {"image": sky}, {"audio": tone}]
    )
    parts = [
        {"type": "text", "text": "a blue sky"},
        {"type": "image_url", "image_url": {"url": sky, "detail": "low"}},
        {"type": "input_audio", "input_audio": {"data": tone, "format": "wav"}},
    ]
    answer = posted(client, messages=[{"role": "user", "content": parts}])
    (one,) = answer["data"]
    expected = text + picture + sound
    assert one["embedding"] == pytest.approx(expected / np.linalg.norm(expected), abs=1e-5)
    assert one["windows"] == 1
    (word,) = rows(client, messages=[{"role": "user", "content": "a blue sky"}])
    assert word == pytest.approx(text, abs=1e-5)


@pytest.mark.parametrize(
    ("wrong", "field", "said"),
    [
        ({"messages": [{"role": "system", "content": "Be kind."}]}, "messages[0].role", "user"),
        ({"messages": [], "model": MODEL}, "messages", "at least 1"),
        ({"input": "a", "messages": [{"role": "user", "content": "b"}]}, None, "exactly one"),
        ({"model": MODEL}, None, "exactly one of input, messages"),
        ({"input": "a", "task": "retrieval.query", "input_type": "query"}, None, "another name"),
        ({"input": "a", "normalized": False}, "normalized", "True"),
    ],
)
def test_messages_and_tasks_that_are_refused(
    client: httpx.Client, wrong: dict[str, Any], field: str | None, said: str
) -> None:
    found, message = refused(client, "/v1/embeddings", **wrong)
    assert found == field
    assert said in message


def test_objects_of_jina(client: httpx.Client, sky: str) -> None:
    picture, same = rows(
        client,
        input=[{"image": sky}, {"bytes": sky.partition(",")[2]}],
        task="retrieval.passage",
        normalized=True,
    )
    assert picture == pytest.approx(same, abs=1e-5)
    bits = rows(client, input=[{"image": sky}], embedding_type="ubinary")[0]
    assert bits.tolist() == np.packbits(picture > 0).tolist()


def test_a_picture_at_a_url_passes_the_guard_of_ingest(
    parts: Services, client: httpx.Client, folder: Path, sky: str
) -> None:
    """By `url`, as a picture, in a message and in a search; only where the host is allowed."""

    config = IngestConfig(url_hosts=("127.0.0.1",), url_networks=("127.0.0.0/8",))
    with files_at(folder) as home:
        part = {"type": "image_url", "image_url": {"url": f"{home}/sky.jpg"}}
        with served(replace(parts, decoder=QueryDecoder(config, config))) as open_:
            sent, named, fetched = rows(
                open_,
                input=[{"image": sky}, {"url": f"{home}/sky.jpg"}, {"image": f"{home}/sky.jpg"}],
            )
            (told,) = rows(open_, messages=[{"role": "user", "content": [part]}])
            for row in (named, fetched, told):
                assert row == pytest.approx(sent, abs=1e-5)
            term = {"image": f"{home}/sky.jpg"}
            found = open_.post("/v1/search", json={"query": [term], "modalities": ["image"]})
            assert found.json()["hits"][0]["name"] == "sky.jpg"
            field, message = refused(open_, "/v1/embeddings", input=[{"image": f"{home}/tone.wav"}])
            assert (field, "audio" in message) == ("input[0].image", True)
    strange = client.post("/v1/embeddings", json={"input": [{"image": "http://192.0.2.7/a.jpg"}]})
    assert strange.status_code == 400
    assert "192.0.2.7" in strange.json()["error"]["message"]


def test_the_client_of_cohere_gets_all_types(
    client: httpx.Client, cohere_: cohere.ClientV2
) -> None:
    texts = ["rain on a window", "a dog"]
    answer = cohere_.embed(
        model=MODEL,
        texts=texts,
        input_type="search_document",
        embedding_types=FORMATS,
        output_dimension=384,
        truncate="END",
    )
    expected = rows(client, input=texts)
    found = answer.embeddings
    assert np.allclose(found.float_, expected, atol=1e-5)
    assert [np.frombuffer(base64.b64decode(one), "<f4").tolist() for one in found.base64 or []] == [
        pytest.approx(row, abs=1e-5) for row in expected.tolist()
    ]
    small = np.array(found.int8)
    assert small.min() >= -128
    assert (np.array(found.uint8) - 128 == small).all()
    assert (small * expected).sum(1) / np.linalg.norm(small, axis=1) == pytest.approx(1, abs=1e-3)
    bits = np.packbits(expected > 0, axis=1)
    assert (np.array(found.ubinary) == bits).all()
    assert (np.array(found.binary) == bits.astype(int) - 128).all()
    assert answer.texts == texts
    assert answer.id
    assert answer.meta.billed_units.input_tokens == 6 + 4


def test_cohere_s_pictures_and_mixed_inputs(
    client: httpx.Client, cohere_: cohere.ClientV2, sky: str
) -> None:
    words, picture = rows(client, input=[{"text": "a blue sky"}, {"image": sky}])
    pictures = cohere_.embed(model=MODEL, images=[sky], input_type="image")
    assert np.allclose(pictures.embeddings.float_, [picture], atol=1e-5)
    content = [
        {"type": "text", "text": "a blue sky"},
        {"type": "image_url", "image_url": {"url": sky}},
    ]
    mixed = cohere_.embed(
        model=MODEL,
        inputs=[{"content": content}, {"content": content[:1]}],
        input_type="search_document",
        embedding_types=["float"],
    )
    both = (words + picture) / np.linalg.norm(words + picture)
    assert np.allclose(mixed.embeddings.float_, [both, words], atol=1e-5)


@pytest.mark.parametrize(
    ("wrong", "said"),
    [
        ({"texts": ["a"], "images": ["b"]}, "exactly one of texts, images, inputs"),
        ({"texts": ["a"], "output_dimension": 100}, "output_dimension"),
        ({"texts": ["rain " * 300], "truncate": "NONE"}, "texts[0]"),
        ({"texts": ["a"], "truncate": "MIDDLE"}, "'START' or 'END'"),
        ({"inputs": [{"content": [{"type": "image_url", "image_url": {"url": "?"}}]}]}, "Base64"),
    ],
)
def test_what_cohere_s_client_is_refused(
    cohere_: cohere.ClientV2, wrong: dict[str, Any], said: str
) -> None:
    with pytest.raises(cohere.BadRequestError) as caught:
        cohere_.embed(model=MODEL, input_type="search_document", **wrong)
    assert said in caught.value.body["error"]["message"]


@pytest.mark.filterwarnings("ignore::DeprecationWarning")  # in the client's own code
def test_the_first_version_of_cohere_s_client(client: httpx.Client) -> None:
    texts = ["rain on a window", "a dog"]
    with httpx.Client() as sender:
        first = cohere.Client("any", base_url=str(client.base_url), httpx_client=sender)
        plain = first.embed(model=MODEL, texts=texts)
        asked = first.embed(
            model=MODEL, texts=texts[:1], input_type="search_query", truncate="START"
        )
        typed = first.embed(model=MODEL, texts=texts, embedding_types=["int8"])
    assert np.allclose(plain.embeddings, rows(client, input=texts), atol=1e-5)
    assert np.allclose(
        asked.embeddings, rows(client, input=texts[:1], input_type="query"), atol=1e-5
    )
    assert np.array(typed.embeddings.int8).shape == (2, 384)


def test_what_voyage_s_client_sends(client: httpx.Client) -> None:
    fields = {"input": ["a dog"], "truncation": True, "output_dimension": 384}
    (plain,) = rows(client, input=["a dog"])
    (row,) = rows(client, **fields)
    assert row == pytest.approx(plain, abs=1e-5)
    sent = posted(client, **fields, output_dtype="int8", encoding_format="base64")
    packed = np.frombuffer(base64.b64decode(sent["data"][0]["embedding"]), np.int8)
    assert packed.tolist() == written(plain.astype(np.float32), "int8")
    long = {"input": ["rain " * 300], "truncation": False}
    assert refused(client, "/v1/embeddings", **long)[0] == "input[0]"


@pytest.mark.parametrize(
    ("path", "request_"),
    [
        ("/v1/embeddings", {"input": "a"}),
        ("/v1/embed", {"texts": ["a"]}),
        ("/v2/embed", {"texts": ["a"], "input_type": "search_query"}),
    ],
)
def test_fields_of_other_servers_are_ignored_and_named(
    client: httpx.Client, path: str, request_: dict[str, Any]
) -> None:
    answer = client.post(path, json={**request_, "late_chunking": True, "a\r\nb": 1, "model": None})
    assert answer.status_code == 200, answer.text
    assert answer.headers["ignored-fields"] == "late_chunking, a%0D%0Ab"
    assert "ignored-fields" not in client.post(path, json=request_).headers


def test_whole_numbers_keep_the_order_of_products() -> None:
    random = np.random.default_rng(0).normal(size=(50, 384))
    unit = (random / np.linalg.norm(random, axis=1, keepdims=True)).astype(np.float32)
    small = np.array([written(row, "int8") for row in unit], np.float32)
    exact, rounded = (unit @ unit.T).ravel(), (small @ small.T).ravel()
    assert np.corrcoef(exact, rounded)[0, 1] > 0.999


def test_servers_of_texts_alone(client: httpx.Client, client_: openai.OpenAI) -> None:
    """The shapes of Ollama and text-embeddings-inference have the embeddings of the others."""
    rows = {}
    for kind in ("document", "query"):
        answer = client_.embeddings.create(
            model=MODEL, input=["rain", "a dog"], extra_body={"input_type": kind}
        )
        rows[kind] = np.array([row.embedding for row in answer.data])
    sent = {"model": MODEL, "input": ["rain", "a dog"], "keep_alive": "5m"}
    ollama = client.post("/api/embed", json=sent)
    assert ollama.headers["Ignored-Fields"] == "keep_alive"
    np.testing.assert_allclose(ollama.json()["embeddings"], rows["document"], atol=1e-6)
    assert ollama.json()["prompt_eval_count"] == answer.usage.prompt_tokens
    [alone] = client.post("/api/embed", json={**sent, "input": "rain"}).json()["embeddings"]
    np.testing.assert_allclose(alone, rows["document"][0], atol=1e-6)
    for name, kind in (("passage", "document"), ("query", "query"), (None, "document")):
        tei = client.post("/embed", json={"inputs": ["rain", "a dog"], "prompt_name": name})
        np.testing.assert_allclose(tei.json(), rows[kind], atol=1e-6)
    long = "the rain in the harbour " * 2000
    assert client.post("/embed", json={"inputs": long}).status_code == 400
    assert len(client.post("/embed", json={"inputs": long, "truncate": True}).json()) == 1
    assert client.post("/api/embed", json={**sent, "truncate": False, "input": long}).is_error
    nothing = client.post("/api/embed", json={**sent, "input": ["rain", ""]})
    assert (nothing.status_code, nothing.json()["error"]["field"]) == (400, "input[1]")
    too_much = ["the rain in the harbour " * 4000] * 20  # more than a body of plain JSON may have
    for path, field in (("/embed", "inputs"), ("/api/embed", "input")):
        refused = client.post(path, json={"model": MODEL, field: too_much, "truncate": False})
        assert refused.status_code == 400, refused.text
    unknown = client.post("/api/embed", json={**sent, "model": "nomic-embed-text"})
    assert unknown.status_code == 404
    assert MODEL in unknown.text
