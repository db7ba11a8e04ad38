"""Our BERT against the reference implementation, on the bundle's weights."""

from pathlib import Path

import numpy as np
import torch
from transformers import BertModel

from encoder.networks.bert import load_sentence_bert
from encoder.onnx.bert import BertSize, read_size, rename_weights


def test_equals_reference_bert(bundle_home: Path) -> None:
    folder = bundle_home / "text"
    rng = np.random.default_rng(3)
    ids = torch.from_numpy(rng.integers(1000, 9000, (3, 40)))
    mask = torch.ones(3, 40)
    mask[0, 7:] = 0
    mask[1, 1:] = 0

    reference = BertModel.from_pretrained(folder).eval()
    with torch.inference_mode():
        states = reference(ids, attention_mask=mask.long()).last_hidden_state
        expected = (states * mask[:, :, None]).sum(1) / mask.sum(1, keepdim=True)
        found = load_sentence_bert(folder)(ids, mask)

    assert torch.allclose(found, expected, atol=2e-6)


def test_reads_the_architecture(bundle_home: Path) -> None:
    assert read_size(bundle_home / "text" / "config.json") == BertSize()


def test_renames_layers_and_leaves_the_pooler() -> None:
    checkpoint = {
        "embeddings.LayerNorm.bias": torch.tensor(1.0),
        "encoder.layer.1.attention.self.key.weight": torch.tensor(2.0),
        "encoder.layer.1.output.LayerNorm.bias": torch.tensor(3.0),
        "pooler.dense.weight": torch.tensor(4.0),
    }

    renamed = rename_weights(checkpoint, n_layers=2)

    assert {name: value.item() for name, value in renamed.items()} == {
        "norm.bias": 1.0,
        "layers.1.key.weight": 2.0,
        "layers.1.ffn_norm.bias": 3.0,
    }
