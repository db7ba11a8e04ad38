"""OpenAI's own client over HTTP, on a server without keys and on one with."""

import re
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from pathlib import Path
from threading import Event, Semaphore

import httpx
import numpy as np
import openai
import pytest

from encoder.types import Embeddings, Item
from search.api.access.keys import KeyRing
from search.api.middleware.bounded_threads import Workbench
from search.api.services import Services
from search.query.terms import ItemEncoder
from tests.integration.api.conftest import served

MODEL = "bundle:english"
DOCS = Path(__file__).parents[3] / "docs" / "api.md"


def connect(client: httpx.Client, key: str = "any") -> openai.OpenAI:
    return openai.OpenAI(base_url=f"{client.base_url}/v1", api_key=key, max_retries=0)


@pytest.fixture(scope="module")
def client_(client: httpx.Client) -> openai.OpenAI:
    return connect(client)


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
    with served(replace(parts, model=name)) as client:
        assert connect(client).models.retrieve(name).id == name


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
    with pytest.raises(openai.AuthenticationError) as caught:
        connect(guarded).embeddings.create(input="rain", model=MODEL)
    assert caught.value.code == "unauthorized"
    assert "anymodal keys create" in caught.value.message
    _, token = ring.create("reader", ["read"], 6000)
    known = connect(guarded, token)
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
        ThreadPoolExecutor(1) as threads,
    ):
        batch = threads.submit(connect(client).embeddings.create, input=given, model=MODEL)
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
        with served(replace(parts, encoder=stuck, workbench=hasty)) as client:
            with pytest.raises(openai.InternalServerError, match="finished ones") as caught:
                connect(client).embeddings.create(input=["a letter", "to the mayor"], model=MODEL)
            assert caught.value.status_code == 504
    finally:
        stuck.let_go.set()
        hasty.close()


def test_the_example_of_the_docs_runs(client: httpx.Client) -> None:
    examples = re.findall(r"^```python\n(.*?)^```", DOCS.read_text(), re.MULTILINE | re.DOTALL)
    (example,) = (one for one in examples if "import OpenAI" in one)
    names: dict[str, openai.types.CreateEmbeddingResponse] = {}
    exec(example.replace("http://localhost:8080", str(client.base_url)), names)
    assert len(names["answer"].data) == 2
    assert len(names["asked"].data) == 1
