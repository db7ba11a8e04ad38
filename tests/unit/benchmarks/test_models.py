"""The benchmark of hub models: back-ends that run in another environment."""

import json
import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer
from tokenizers.pre_tokenizers import Sequence

from benchmarks.encoders.__main__ import Way
from benchmarks.encoders.checkpoint import texts_of
from benchmarks.models import peers
from benchmarks.models.older import for_infinity
from tests.support import tiny_models as tiny


@pytest.mark.slow
def test_a_peer_answers_from_a_process_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = tiny.save("sentence", tmp_path / "source")
    monkeypatch.setenv("PEERS", sys.executable)
    torch = peers.BACKENDS[0]
    monkeypatch.setattr(peers, "BACKENDS", (torch,))
    with peers.peers(source, 1) as (opened, missing):
        before_s = opened[torch].cpu_s()
        vector = opened[torch]("a red\ncar")
        used_s = opened[torch].cpu_s() - before_s
        both = opened[torch].encode(["a red\ncar", "a cat"])
    expected = SentenceTransformer(str(source), device="cpu").encode("a red\ncar")
    np.testing.assert_allclose(vector, expected, atol=1e-5)
    np.testing.assert_allclose(both[0], expected, atol=1e-5)
    assert both.shape == (2, len(expected))
    assert 0 < used_s < 5
    assert not missing


def test_a_peer_that_does_not_open_is_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("PEERS", "false")  # ends at once
    with peers.peers(tiny.save("sentence", tmp_path / "source"), 1) as (opened, missing):
        assert not opened
        assert missing == dict.fromkeys(peers.BACKENDS, "ended with 1: it printed nothing")


def test_a_peer_that_is_not_installed_is_named(tmp_path: Path) -> None:
    source = tiny.save("sentence", tmp_path / "source")
    python = str(tmp_path / "python")
    with peers.peers(source, 1, {"fastembed": python}) as (opened, missing):
        assert not opened
        assert missing == {"fastembed": f"there is no {python}"}


def test_a_peer_that_fails_is_quoted(tmp_path: Path) -> None:
    source = tiny.save("sentence", tmp_path / "source")
    with peers.peers(source, 1, {"vapour onnx": sys.executable}) as (_, missing):
        assert missing == {"vapour onnx": "ended with 1: KeyError: 'vapour'"}


def test_a_peer_that_hangs_is_ended(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    source = tiny.save("sentence", tmp_path / "source")
    python = tmp_path / "python"
    python.write_text("#!/bin/sh\nexec sleep 600\n")
    python.chmod(0o755)
    monkeypatch.setattr(peers, "OPENS_S", 0.2)
    with peers.peers(source, 1, {"fastembed": str(python)}) as (opened, missing):
        assert not opened
        assert missing == {"fastembed": "did not answer within 0.2 s"}


def test_what_fails_between_rounds_keeps_its_reason() -> None:
    answers = iter([np.ones((1, 2)), RuntimeError("did not answer within 3 s")])

    def encode(_: list[str]) -> np.ndarray:
        answer = next(answers)
        if isinstance(answer, RuntimeError):
            raise answer
        return answer

    way = Way(encode, ["a"])
    for _ in range(3):
        way()
    assert way.failure == "did not answer within 3 s"
    assert len(way.walls_s) == 2


@pytest.mark.slow
def test_an_older_folder_has_the_same_vectors(tmp_path: Path) -> None:
    source = tiny.save("sentence", tmp_path / "source")
    wanted = SentenceTransformer(str(source), device="cpu").encode("a red car")
    older = for_infinity(source)
    found = SentenceTransformer(str(older), device="cpu").encode("a red car")
    np.testing.assert_allclose(found, wanted, atol=1e-6)
    types = [one["type"] for one in json.loads((older / "modules.json").read_text())]
    assert types[:2] == [
        f"sentence_transformers.models.{one}" for one in ("Transformer", "Pooling")
    ]
    pooling = json.loads((older / "1_Pooling" / "config.json").read_text())
    assert pooling["word_embedding_dimension"] == len(wanted)
    assert [key for key, is_on in pooling.items() if is_on is True] == ["pooling_mode_mean_tokens"]


def test_an_older_clip_has_a_tokenizer_of_its_kind(tmp_path: Path) -> None:
    source = tiny.save("clip", tmp_path / "source")
    older = for_infinity(source)
    after = Tokenizer.from_file(str(older / "tokenizer.json"))
    assert isinstance(after.pre_tokenizer, Sequence)
    assert getattr(after.model, "end_of_word_suffix", None) == "</w>"
    assert len(after.encode("a red car").ids) > 2
    images = json.loads((older / "preprocessor_config.json").read_text())
    assert images["image_processor_type"] == "CLIPImageProcessor"
    assert not (older / "processor_config.json").exists()


def test_a_text_has_as_many_tokens_as_it_says(tmp_path: Path) -> None:
    tiny.tokenizer(["<s>", "</s>", "<unk>"], "<s> $A </s>").save(str(tmp_path / "tokenizer.json"))
    texts = texts_of(tmp_path)
    tokenizer = Tokenizer.from_file(str(tmp_path / "tokenizer.json"))
    longest = {
        what: max(len(tokenizer.encode(one).ids) for one in some) for what, some in texts.items()
    }
    assert 24 <= longest["text of 32 tokens"] <= 32
    assert 248 <= longest["text of 256 tokens"] <= 256
    assert len(set(texts["32 texts of 32 tokens"])) == 32


def test_no_peer_runs_unless_asked_for(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("PEERS", raising=False)
    with peers.peers(tmp_path, 1) as (opened, missing):
        assert not opened
        assert not missing
