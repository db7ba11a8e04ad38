"""The benchmark of hub models: back-ends that run in another environment."""

import sys
from pathlib import Path

import numpy as np
import pytest
from sentence_transformers import SentenceTransformer
from tokenizers import Tokenizer

from benchmarks.encoders.checkpoint import texts_of
from benchmarks.models import peers
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
        assert missing == [f"{one} (ended with 1; see what it printed)" for one in peers.BACKENDS]


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
