"""Encoders of transformers: their own forward, ONNX and int8 against the sparse one."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor
from torch.nn.functional import cosine_similarity
from transformers import (
    BertConfig,
    BertModel,
    CamembertConfig,
    CamembertModel,
    RobertaConfig,
    RobertaModel,
    XLMRobertaConfig,
    XLMRobertaModel,
)

from encoder.dsre.gatefile import GateFile
from encoder.dsre.network import SparseEncoder
from encoder.dsre.settings import GateSettings
from encoder.models.sparsity import write_sparse
from encoder.onnx.bert import Bert, BertSize, rename_weights
from encoder.runtime.onnx import OnnxSession

N_TOKENS, N_LAYERS = 400, 4
SIZE = {
    "vocab_size": N_TOKENS, "hidden_size": 32, "num_hidden_layers": N_LAYERS,
    "num_attention_heads": 4, "intermediate_size": 64, "max_position_embeddings": 130,
}  # fmt: skip
KINDS = {
    "bert": (BertModel, BertConfig, 0),
    "roberta": (RobertaModel, RobertaConfig, 1),
    "xlm-roberta": (XLMRobertaModel, XLMRobertaConfig, 1),
    "camembert": (CamembertModel, CamembertConfig, 1),
}
IDLE = GateFile(
    np.full(N_TOKENS, 255, np.uint8), GateSettings((1.0,) * N_LAYERS, 1.0, min_tokens=10)
)
GATE = GateFile(np.zeros(N_TOKENS, np.uint8), GateSettings((None, 0.5, 0.45, None), min_tokens=30))


def make(kind: str) -> Any:
    model, config, pad = KINDS[kind]
    torch.manual_seed(0)
    made = model(config(**SIZE, pad_token_id=pad), add_pooling_layer=False).eval()
    # random states are all alike after a norm; some of these are alike and some not, like words
    torch.nn.init.normal_(made.embeddings.word_embeddings.weight, std=0.5)
    return made


@pytest.fixture(scope="module")
def batch() -> tuple[Tensor, Tensor]:
    """Two texts of 121 and 64 tokens, padded on the right."""
    ids = torch.randint(5, N_TOKENS, (2, 121), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(121) < torch.tensor([[121], [64]])).float()
    return ids * mask.long(), mask


@pytest.mark.parametrize("kind", KINDS)
@pytest.mark.parametrize("pooling", ["mean", "cls"])
def test_an_idle_gate_gives_what_the_model_gives(
    kind: str, pooling: str, batch: tuple[Tensor, Tensor]
) -> None:
    model = make(kind)
    input_ids, mask = batch
    # the reference derives positions from its own padding token
    own = torch.where(mask > 0, input_ids, KINDS[kind][2])
    with torch.inference_mode():
        states = model(own, attention_mask=mask.long()).last_hidden_state
        found, kept = SparseEncoder(model, IDLE, pooling=pooling).eval()(input_ids, mask)  # type: ignore[arg-type]
    mean = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
    assert torch.allclose(found, states[:, 0] if pooling == "cls" else mean, atol=1e-5)
    assert (kept == torch.tensor([[121], [64]])).all()


def test_a_bert_of_transformers_runs_in_int8(batch: tuple[Tensor, Tensor], tmp_path: Path) -> None:
    model = make("bert")
    size = BertSize(N_TOKENS, 130, 32, 64, N_LAYERS, 4)
    weights = rename_weights(model.state_dict(), N_LAYERS)
    ours = Bert(size, {name: tensor.numpy() for name, tensor in weights.items()})
    write_sparse(ours, GATE, tmp_path / "sparse.onnx", int8=True)
    session = OnnxSession(tmp_path / "sparse.onnx", n_threads=1)
    input_ids, mask = batch
    found, _ = session.run({"input_ids": input_ids.numpy(), "mask": mask.numpy()})
    with torch.inference_mode():
        expected, _ = SparseEncoder(model, GATE).eval()(input_ids, mask)
    assert cosine_similarity(torch.from_numpy(found), expected).min() > 0.98


def test_merging_leaves_cls_as_the_whole_last_layer_would(batch: tuple[Tensor, Tensor]) -> None:
    model = make("bert")
    cls = SparseEncoder(model, GATE, pooling="cls").eval()
    mean = SparseEncoder(model, GATE).eval()
    seen: list[Tensor] = []
    mean._pool = lambda tokens: seen.append(tokens.states[:, 0]) or tokens.states[:, 0]  # type: ignore[method-assign]
    with torch.inference_mode():
        (one, kept), (_, also) = cls(*batch), mean(*batch)
    torch.testing.assert_close(one, seen[0], rtol=1e-5, atol=1e-6)
    assert torch.equal(kept, also)
    assert (kept[0, -1] < 121).item()
