"""A cross-encoder from weights to scores."""

from pathlib import Path

import pytest
import torch
import transformers
from tokenizers import processors

from encoder.errors import ModelError
from encoder.models import artifacts as artifact
from encoder.prepare.reranker import open_reranker
from tests.support import overlap_reranker
from tests.support.tiny_models import _fast, tokenizer


def save(folder: Path, n_labels: int = 1) -> Path:
    """A tiny random BERT that reads pairs."""
    made = tokenizer(["[PAD]", "[UNK]", "[CLS]", "[SEP]"], "[CLS] $A [SEP]")
    made.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    config = transformers.BertConfig(
        vocab_size=made.get_vocab_size(),
        hidden_size=32,
        intermediate_size=64,
        num_hidden_layers=1,
        num_attention_heads=2,
        num_labels=n_labels,
    )
    with torch.random.fork_rng():
        torch.manual_seed(7)
        transformers.BertForSequenceClassification(config).save_pretrained(folder)
    marks = {"unk_token": "[UNK]", "cls_token": "[CLS]", "sep_token": "[SEP]"}
    _fast(made, pad_token="[PAD]", **marks).save_pretrained(folder)
    return folder


@pytest.mark.slow
def test_weights_are_prepared_in_int8_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    folder = save(tmp_path / "model")
    reranker = open_reranker(f"dir:{folder}")
    (made,) = artifact.all_artifacts()
    assert sorted(made.manifest["files"]) == ["model.onnx", "tokenizer.json"]
    assert made.manifest["measured"]["largest_difference"] < 0.05
    network = transformers.BertForSequenceClassification.from_pretrained(folder).eval()
    words = transformers.AutoTokenizer.from_pretrained(folder)
    with torch.inference_mode():
        logit = network(**words("a dog", "it barks", return_tensors="pt")).logits
    assert reranker.scores("a dog", ["it barks"])[0] == pytest.approx(
        float(torch.sigmoid(logit)), abs=0.01
    )
    monkeypatch.setattr(artifact, "make", None)
    again = open_reranker(f"dir:{folder}")
    assert again.scores("a dog", ["it barks"]) == reranker.scores("a dog", ["it barks"])


@pytest.mark.slow
def test_a_model_of_two_labels_is_none(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("ANYMODAL_CACHE", str(tmp_path / "cache"))
    with pytest.raises(ModelError, match="2 labels"):
        open_reranker(f"dir:{save(tmp_path / 'model', n_labels=2)}")


def test_bundles_and_strange_folders_are_refused(tmp_path: Path) -> None:
    with pytest.raises(ModelError, match="has no reranker"):
        open_reranker("bundle:default")
    overlap_reranker.write(tmp_path, "a b")
    (tmp_path / "model.onnx").write_bytes(b"no graph")
    with pytest.raises(ModelError, match=r"model\.onnx"):
        open_reranker(f"dir:{tmp_path}")


def test_it_stops_between_two_texts(tmp_path: Path) -> None:
    seen = []

    def check() -> None:
        seen.append(1)
        if len(seen) == 2:
            raise TimeoutError

    reranker = open_reranker(f"dir:{overlap_reranker.write(tmp_path, 'a b')}")
    with pytest.raises(TimeoutError):
        reranker.scores("a", ["b", "a", "b"], check)
    assert len(seen) == 2
