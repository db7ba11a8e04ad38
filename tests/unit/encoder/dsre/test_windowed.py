"""Attention block by block against attention under a mask over all pairs."""

from __future__ import annotations

from copy import deepcopy
from pathlib import Path

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import ModernBertConfig, ModernBertModel

from encoder import MultiModalEncoder
from encoder.dsre.adapters.modernbert import use_windows, windowed_attention
from tests.support.tiny_models import save_modernbert


def dense(q: Tensor, k: Tensor, v: Tensor, reach: int, real: Tensor | None) -> Tensor:
    place = torch.arange(q.shape[2])
    mask = ((place[:, None] - place).abs() <= reach)[None, None]
    if real is not None:
        mask = (mask & real[:, None, None, :]) | torch.eye(len(place), dtype=torch.bool)
    return scaled_dot_product_attention(q, k, v, attn_mask=mask, scale=0.3)


@pytest.mark.parametrize("length", [1, 63, 192, 300, 641])
@pytest.mark.parametrize("reach", [1, 16, 64, 200])
@pytest.mark.parametrize("padded", [False, True])
def test_equals_attention_under_a_mask(length: int, reach: int, padded: bool) -> None:
    random = torch.Generator().manual_seed(length * reach)
    q, k, v = torch.randn(3, 2, 3, length, 8, generator=random)
    real = torch.arange(length) < torch.tensor([[length], [max(1, length // 3)]])
    found = windowed_attention(q, k, v, reach, real=real if padded else None, scale=0.3)
    expected = dense(q, k, v, reach, real if padded else None)
    assert found.shape == expected.shape
    torch.testing.assert_close(found, expected, rtol=1e-5, atol=1e-6)


@pytest.fixture(scope="module")
def model() -> ModernBertModel:
    torch.manual_seed(0)
    config = ModernBertConfig(
        vocab_size=200, hidden_size=32, intermediate_size=64, num_hidden_layers=4,
        num_attention_heads=4, local_attention=32, pad_token_id=0,
    )  # fmt: skip
    return ModernBertModel(config).eval()


def test_a_modernbert_gives_the_same_states(model: ModernBertModel) -> None:
    switched = deepcopy(model)
    assert use_windows(nn.Sequential(switched))
    ids = torch.randint(1, 200, (2, 400), generator=torch.Generator().manual_seed(0))
    mask = (torch.arange(400) < torch.tensor([[400], [150]])).long()
    with torch.inference_mode():
        expected = model(ids, attention_mask=mask).last_hidden_state
        found = switched(ids, attention_mask=mask).last_hidden_state
        alone = switched(ids[1:, :150]).last_hidden_state
    assert found.isfinite().all()
    real = mask.bool()
    torch.testing.assert_close(found[real], expected[real], rtol=1e-4, atol=1e-5)
    torch.testing.assert_close(found[1:, :150], alone, rtol=1e-4, atol=1e-5)


def test_local_layers_never_meet_a_mask_over_all_pairs(
    model: ModernBertModel, monkeypatch: pytest.MonkeyPatch
) -> None:
    switched = deepcopy(model)
    use_windows(switched)
    shapes: list[int] = []

    def noting(*args: Tensor, attn_mask: Tensor | None = None, **settings: float) -> Tensor:
        shapes.append(0 if attn_mask is None else attn_mask.shape[-1])
        return scaled_dot_product_attention(*args, attn_mask=attn_mask, **settings)

    monkeypatch.setattr(torch.nn.functional, "scaled_dot_product_attention", noting)
    with torch.inference_mode():
        switched(torch.ones(1, 400, dtype=torch.long))
    assert [shape < 400 for shape in shapes] == [True] * 4
    assert shapes.count(0) == model.config.layer_types.count("full_attention")


def test_other_networks_are_left_alone() -> None:
    assert not use_windows(nn.Linear(2, 2))


def test_a_hub_model_takes_windows_and_keeps_its_space(tmp_path: Path) -> None:
    save_modernbert(tmp_path)
    spec = f"dir:{tmp_path}"
    text = "a ferry left the harbour and the gulls went with it " * 12
    plain = MultiModalEncoder(spec, device="cpu", enable_dsre=False)
    encoder = MultiModalEncoder(spec, device="cpu", enable_dsre="auto")
    assert encoder.space.fingerprint == plain.space.fingerprint
    found, expected = (one.encode_multimodal(text=text).text for one in (encoder, plain))
    np.testing.assert_allclose(found, expected, atol=1e-5)  # type: ignore[arg-type]
