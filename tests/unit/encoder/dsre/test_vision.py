"""Patches of pictures that merge, in the real classes at a small size."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from torch import Tensor, nn
from transformers import AutoConfig, AutoModel

from encoder import MultiModalEncoder
from encoder.dsre.adapters.vision import merge_patches
from encoder.errors import InputError, ModelError
from tests.support import tiny_models as tiny

SIZE = {
    "hidden_size": 32, "intermediate_size": 64, "num_hidden_layers": 4, "num_attention_heads": 2,
}  # fmt: skip
FIXED = {"image_size": 64, "patch_size": 8}
KINDS: dict[str, dict[str, int]] = {
    "clip_vision_model": FIXED,
    "siglip_vision_model": FIXED,
    "siglip2_vision_model": {"num_patches": 64, "patch_size": 8},
}


def make(kind: str) -> Any:
    torch.manual_seed(0)
    made = AutoModel.from_config(AutoConfig.for_model(kind, **SIZE, **KINDS[kind])).eval()
    for name, weight in made.named_parameters():
        if "patch_embedding" in name:
            nn.init.normal_(weight, std=0.2)
    return made


def pictures(kind: str) -> dict[str, Tensor]:
    """Two pictures; of SigLIP 2 the second one has 48 patches and padding."""
    pixels = torch.randn(2, 3, 64, 64, generator=torch.Generator().manual_seed(0))
    if kind != "siglip2_vision_model":
        return {"pixel_values": pixels}
    patches = pixels.reshape(2, 64, 192)
    mask = (torch.arange(64) < torch.tensor([[64], [48]])).long()
    shapes = torch.tensor([[8, 8], [6, 8]])
    return {"pixel_values": patches, "pixel_attention_mask": mask, "spatial_shapes": shapes}


@pytest.mark.parametrize("kind", KINDS)
def test_all_patches_give_what_the_model_gives(kind: str) -> None:
    model, inputs = make(kind), pictures(kind)
    with torch.inference_mode():
        expected = model(**inputs).pooler_output
        assert merge_patches(model, 1.0)
        found = model(**inputs).pooler_output
    torch.testing.assert_close(found, expected, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("kind", KINDS)
def test_merging_leaves_the_share_that_was_asked_for(kind: str) -> None:
    model, inputs = make(kind), pictures(kind)
    lengths = list[int]()
    for layer in model.encoder.layers:
        layer.mlp.register_forward_hook(lambda _m, x, _y: lengths.append(x[0].shape[1]))
    with torch.inference_mode():
        expected = model(**inputs)
        lengths.clear()
        merge_patches(model, 0.5)
        found = model(**inputs)
        alone = model(**{name: value[:1] for name, value in inputs.items()})
    assert lengths[:4] == [56, 48, 40, 32] if kind != "clip_vision_model" else [58, 50, 42, 34]
    assert found.last_hidden_state.shape == expected.last_hidden_state.shape
    cosines = torch.cosine_similarity(found.pooler_output, expected.pooler_output)
    assert 0.7 < cosines.min() < 0.99999
    torch.testing.assert_close(found.pooler_output[:1], alone.pooler_output, rtol=1e-4, atol=1e-5)


@pytest.mark.parametrize("share", [0.1, 0.3, 0.6, 0.8])
def test_any_share_of_an_odd_number_of_patches(share: float) -> None:
    model, inputs = make("clip_vision_model"), pictures("clip_vision_model")
    with torch.inference_mode():
        expected = model(**inputs)
        merge_patches(model, share)
        found = model(**inputs)
    assert found.last_hidden_state.shape == expected.last_hidden_state.shape
    cosines = torch.cosine_similarity(found.pooler_output, expected.pooler_output)
    assert 0.5 < cosines.min() < 0.99999


def test_a_hub_model_merges_patches_in_a_space_of_its_own(tmp_path: Path) -> None:
    spec = f"dir:{tiny.save('clip', tmp_path)}"
    dense = MultiModalEncoder(spec, device="cpu")
    merging = MultiModalEncoder(spec, device="cpu", enable_dsre={"pictures": 0.5})
    assert dense.space.fingerprint != merging.space.fingerprint
    picture = np.random.default_rng(0).integers(0, 255, (32, 32, 3), np.uint8)
    found, expected = (
        one.encode_multimodal(text="a cat", image=picture) for one in (merging, dense)
    )
    np.testing.assert_array_equal(found.text, expected.text)
    assert 0.7 < float((found.image * expected.image).sum()) < 0.99999


def test_shares_and_models_that_do_not_fit(tmp_path: Path) -> None:
    spec = f"dir:{tiny.save('sentence', tmp_path)}"
    for share in (0, 1.5, "half", True):
        with pytest.raises(InputError, match="above 0, up to 1"):
            MultiModalEncoder(spec, device="cpu", enable_dsre={"pictures": share})
    with pytest.raises(ModelError, match="no vision tower"):
        MultiModalEncoder(spec, device="cpu", enable_dsre={"pictures": 0.5})
