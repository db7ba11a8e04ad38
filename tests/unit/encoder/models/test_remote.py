"""Models that a server runs: what is sent, and that no lie becomes a vector."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator
from typing import Any

import numpy as np
import pytest
from pydantic import SecretStr, ValidationError

from encoder import MultiModalEncoder
from encoder.config import EncoderConfig
from encoder.errors import InputError, ModelError, ModelTimeoutError, ModelUnavailableError
from encoder.models.prompts import served_prompts
from encoder.models.remote import load
from encoder.models.spec import ModelSpec
from encoder.types import DOCUMENT, QUERY, TEXT, Item
from tests.support.embedding_server import EmbeddingServer, embedding_server, instead, refuse


@pytest.fixture
def server() -> Iterator[EmbeddingServer]:
    with embedding_server() as server:
        yield server


@pytest.fixture
def encoder(server: EmbeddingServer) -> MultiModalEncoder:
    return MultiModalEncoder(server.spec)


def rows(encoder: MultiModalEncoder, *texts: str, role: Any = DOCUMENT) -> Any:
    return encoder.encode_multimodal(text=list(texts), role=role).text


def each(change: Callable[[list[float]], Any]) -> Any:
    """A lie about each vector."""

    def lie(answer: dict[str, Any]) -> None:
        for row in answer["data"]:
            row["embedding"] = change(row["embedding"])

    return instead(lie)


def test_texts_become_unit_vectors_in_their_order(
    server: EmbeddingServer, encoder: MultiModalEncoder
) -> None:
    texts = [f"boat number {n}" for n in range(100)]
    expected = np.array([server.row(text) for text in texts])
    expected /= np.linalg.norm(expected, axis=1, keepdims=True)
    assert (encoder.embed_dim, encoder.modalities) == (server.size, {TEXT})
    assert np.allclose(rows(encoder, *texts), expected, atol=1e-6)
    assert max(len(body["input"]) for body in server.bodies) <= 32
    server.lies.append(instead(lambda answer: answer["data"].reverse()))
    assert np.allclose(rows(encoder, *texts[:9]), expected[:9], atol=1e-6)


def test_a_long_text_is_sent_in_windows(
    server: EmbeddingServer, encoder: MultiModalEncoder
) -> None:
    text = "the sea is blue and bread is warm. " * 300 + "火星的表面为什么是红色的？" * 100
    assert np.linalg.norm(rows(encoder, text)) == pytest.approx(1, abs=1e-5)
    sent = [text for body in server.bodies for text in body["input"]]
    assert max(len(text.encode()) for text in sent) <= 1500
    assert len(encoder.window_lengths(text)) > 5
    assert np.linalg.norm(encoder.encode_items([Item(TEXT, " \n" * 2000)])) > 0.99
    rows(encoder, "half a \udcff pair")


@pytest.mark.parametrize(
    ("name", "query", "document"),
    [
        ("intfloat/multilingual-e5-small", "query: ", "passage: "),
        ("nomic-embed-text:latest", "search_query: ", "search_document: "),
        ("embeddinggemma:300m", "task: search result | query: ", "title: none | text: "),
        ("snowflake-arctic-embed2", "query: ", ""),
        ("bge-m3", "", ""),
    ],
)
def test_the_name_says_the_prompts(
    server: EmbeddingServer, name: str, query: str, document: str
) -> None:
    prompts = served_prompts(name)
    assert (prompts.of(TEXT, QUERY), prompts.of(TEXT, DOCUMENT)) == (query, document)
    encoder = MultiModalEncoder(f"remote:{name}@{server.url}")
    server.bodies.clear()
    rows(encoder, "rain", role=QUERY)
    rows(encoder, "rain")
    assert [body["input"][-1] for body in server.bodies] == [f"{query}rain", f"{document}rain"]
    assert {body["model"] for body in server.bodies} == {name}


def test_the_space_is_the_models_wherever_it_runs_and_whatever_the_key(
    server: EmbeddingServer, encoder: MultiModalEncoder
) -> None:
    with embedding_server() as other:
        other.key = "sk-very-secret"
        with pytest.raises(ModelError, match=r"401: Incorrect API key\.") as refused:
            MultiModalEncoder(other.spec)
        assert "ANYMODAL_ENCODER__KEYS" in refused.value.remedy
        config = EncoderConfig(keys={f"{other.url}/": SecretStr("sk-very-secret")})
        elsewhere = MultiModalEncoder(other.spec, config=config)
    assert elsewhere.space.fingerprint == encoder.space.fingerprint
    assert "sk-very" not in f"{config!r} {elsewhere.space!r} {elsewhere.model}"
    renamed = MultiModalEncoder(f"remote:others@{server.url}")
    assert renamed.space.fingerprint != encoder.space.fingerprint
    server.size = 33
    assert MultiModalEncoder(server.spec).space.fingerprint != encoder.space.fingerprint


@pytest.mark.parametrize("key", ["", "two words", "sk-1\r\nX-Other: 1", "schlüssel"])
def test_a_key_that_fits_no_header_is_refused(key: str) -> None:
    with pytest.raises(ValidationError, match="http://a"):
        EncoderConfig(keys={"http://a/v1": SecretStr(key)})


LIES = {
    "wrong size": each(lambda row: row[:-1]),
    "several sizes": instead(lambda a: a["data"][0].update(embedding=[1.0])),
    "too few": instead(lambda a: a["data"].pop()),
    "too many": instead(lambda a: a["data"].append(dict(a["data"][0], index=len(a["data"])))),
    "one place twice": instead(lambda a: a["data"][0].update(index=1)),
    "NaN": each(lambda row: [float("nan"), *row[1:]]),
    "infinite": each(lambda row: [float("inf"), *row[1:]]),
    "zeros": each(lambda row: [0.0] * len(row)),
    "words": each(lambda row: ["a"] * len(row)),
    "null": each(lambda _: None),
    "nothing": each(lambda _: []),
    "no data": instead(lambda _: {"object": "list"}),
    "a page": refuse(200, b"<html>Welcome</html>"),
    "empty": refuse(200, b""),
    "broken": refuse(200, b'{"data": [{"index": 0, "embedding": [0.1, '),
}


@pytest.mark.parametrize("role", [DOCUMENT, QUERY])
@pytest.mark.parametrize("lie", LIES.values(), ids=LIES.keys())
def test_a_lie_is_an_error(
    server: EmbeddingServer, encoder: MultiModalEncoder, lie: Any, role: Any
) -> None:
    server.lies.append(lie)
    with pytest.raises(ModelError) as told:
        rows(encoder, "rain", "snow", role=role)
    assert server.spec in told.value.problem
    assert told.value.remedy
    assert not told.value.retryable
    assert rows(encoder, "rain", role=role).shape == (1, server.size)
    server.lies.append(lie)
    if lie not in (LIES["wrong size"],):  # which nobody knows at the first opening
        with pytest.raises(ModelError):
            MultiModalEncoder(server.spec)


@pytest.mark.parametrize("status", [400, 404, 413, 422, 302])
def test_a_refusal_is_told_in_short(
    server: EmbeddingServer, encoder: MultiModalEncoder, status: int
) -> None:
    n_before = len(server.bodies)
    message = "\x1b[31mInput is too long. " + "words " * 500
    server.lies.append(refuse(status, {"error": {"message": message}}, Location="/other"))
    with pytest.raises(ModelError, match=f"{status}:.*Input is too long") as told:
        rows(encoder, "rain")
    assert len(str(told.value)) < 500
    assert "\x1b" not in str(told.value)
    assert len(server.bodies) == n_before + 1, "what is refused is not sent again"


@pytest.mark.parametrize("status", [429, 500, 502, 503, 504])
def test_a_busy_server_is_asked_again(
    server: EmbeddingServer, encoder: MultiModalEncoder, status: int
) -> None:
    server.lies.extend([refuse(status, {"detail": "busy"}, Retry_After="0")] * 3)
    assert rows(encoder, "rain").shape == (1, server.size)
    server.lies.extend([refuse(status, {"detail": "busy"})] * 4)
    with pytest.raises(ModelError, match="busy") as told:
        rows(encoder, "rain")
    # an input may be why a server fails, or takes long, but not why it is away
    assert isinstance(told.value, ModelUnavailableError) == (status in (429, 502, 503))
    assert told.value.retryable == (status != 500)
    server.lies.append(refuse(429, {"detail": "busy"}, Retry_After="3600"))
    with pytest.raises(ModelUnavailableError):
        rows(encoder, "rain")
    assert rows(encoder, "rain").shape == (1, server.size)


def test_a_slow_server_is_not_waited_for_forever(server: EmbeddingServer) -> None:
    def slow(answer: dict[str, Any]) -> tuple[int, dict[str, str], bytes]:
        time.sleep(1)
        return refuse(200, answer)(answer)

    server.lies.append(slow)
    started = time.monotonic()
    with pytest.raises(ModelTimeoutError, match=r"within 0\.3 s"):
        load(ModelSpec.parse(server.spec), {}, deadline_s=0.3)
    assert time.monotonic() - started < 0.9


def test_a_server_that_is_away_is_unavailable() -> None:
    with embedding_server() as gone:
        pass
    with pytest.raises(ModelUnavailableError, match=gone.url):
        MultiModalEncoder(gone.spec)


@pytest.mark.parametrize("role", [DOCUMENT, QUERY])
def test_another_model_under_the_name_is_noticed(
    server: EmbeddingServer, encoder: MultiModalEncoder, role: Any
) -> None:
    server.seed = 1
    with pytest.raises(ModelError, match="another model"):
        rows(encoder, "rain", role=role)
    server.seed = 0
    assert rows(encoder, "rain", role=role).shape == (1, server.size)


@pytest.mark.parametrize(
    "name",
    ["", "words", "@http://a/v1", "words@", "words@ftp://a/v1", "words@http://", "words@http:///v1",
     "words@http://me:secret@a/v1", "words@http://a/v1?key=secret"],
)  # fmt: skip
def test_a_name_needs_a_plain_url(name: str) -> None:
    with pytest.raises(ModelError, match="server's URL") as refused:
        ModelSpec.parse(f"remote:{name}")
    assert "secret" not in str(refused.value)


def test_names_are_kept_whole() -> None:
    spec = ModelSpec.parse("remote:org/a@b:v1@http://host:8080/v1/#256")
    assert (spec.name, spec.url, spec.cut) == ("org/a@b:v1", "http://host:8080/v1", 256)
    assert ModelSpec.parse(str(spec)) == spec


def test_what_the_server_decides_cannot_be_asked_for(
    server: EmbeddingServer, encoder: MultiModalEncoder
) -> None:
    for options in ({"quantization": "int8"}, {"device": "cpu"}, {"enable_dsre": True}):
        with pytest.raises(ModelError, match="decides"):
            MultiModalEncoder(server.spec, **options)
    with pytest.raises(ModelError, match="Matryoshka"):
        MultiModalEncoder(f"{server.spec}#8")
    with pytest.raises(InputError, match="ids"):
        encoder.text_of_tokens([1, 2])
    with pytest.raises(InputError, match="no tower"):
        encoder.encode_items([Item("image", np.zeros((8, 8, 3), np.uint8))])
