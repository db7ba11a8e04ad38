"""Embeddings in OpenAI's shape."""

import base64
from pathlib import Path
from typing import Any

import httpx
import numpy as np
import pytest


def embedded(client: httpx.Client, given: Any, **more: Any) -> dict[str, Any]:
    answer = client.post("/v1/embeddings", json={"input": given, **more})
    assert answer.status_code == 200, answer.text
    return answer.json()


def test_texts(client: httpx.Client) -> None:
    one = embedded(client, "rain on a window", model="bundle:default")
    two = embedded(client, ["rain on a window", "a dog"])
    assert (one["object"], one["data"][0]["object"], one["model"]) == (
        "list",
        "embedding",
        "bundle:default",
    )
    assert [entry["index"] for entry in two["data"]] == [0, 1]
    rows = np.array([entry["embedding"] for entry in two["data"]])
    assert rows.shape == (2, 384)
    assert np.linalg.norm(rows, axis=1) == pytest.approx(1)
    assert rows[0] @ np.array(one["data"][0]["embedding"]) == pytest.approx(1, abs=1e-3)
    assert one["usage"] == {"prompt_tokens": 6, "total_tokens": 6}


def test_base64_holds_the_same_numbers(client: httpx.Client) -> None:
    numbers = embedded(client, "rain")["data"][0]["embedding"]
    text = embedded(client, "rain", encoding_format="base64")["data"][0]["embedding"]
    assert np.frombuffer(base64.b64decode(text), "<f4").tolist() == pytest.approx(numbers)


def test_other_kinds(client: httpx.Client, folder: Path) -> None:
    picture = base64.b64encode((folder / "sky.jpg").read_bytes()).decode()
    sound = base64.b64encode((folder / "tone.wav").read_bytes()).decode()
    found = embedded(client, [{"image": picture}, {"audio": sound}, {"text": "sky"}])
    assert len(found["data"]) == 3
    assert found["usage"]["total_tokens"] == 3


@pytest.mark.parametrize(
    ("request_", "status"),
    [
        ({"input": []}, 422),
        ({"input": ["a"] * 257}, 422),
        ({"input": [{}]}, 422),
        ({"input": "a", "model": "gpt"}, 404),
        ({"input": "a", "dimensions": 7}, 422),
        ({"input": [{"image": "aGVsbG8="}]}, 415),
    ],
)
def test_wrong_requests(client: httpx.Client, request_: dict[str, Any], status: int) -> None:
    answer = client.post("/v1/embeddings", json=request_)
    assert answer.status_code == status, answer.text
