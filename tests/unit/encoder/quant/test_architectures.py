"""Well-known architectures with random weights: every layer is found, stored, and runs."""

from __future__ import annotations

from collections.abc import Callable

import pytest
import torch
from torch import Tensor, nn

from encoder.quant.calibration import Batch, run
from encoder.quant.fit import quantize
from encoder.quant.layers import find_layers, unsupported
from encoder.quant.quantized import model_nbytes
from encoder.quant.schemes import FP32, INT4, INT8, Scheme
from encoder.quant.stored import stored_layers
from encoder.quant.synthetic import synthetic
from tests.unit.encoder.quant.zoo import ZOO


def resnet() -> nn.Module:
    """ResNet-50's blocks, a stage of each, a quarter of the inner width."""
    from torchvision.models.resnet import Bottleneck, ResNet

    torch.manual_seed(0)
    return ResNet(Bottleneck, [1, 1, 1, 1], width_per_group=16).eval()


def vit() -> nn.Module:
    """ViT-B's blocks, two of them, a quarter of the width."""
    from torchvision.models import VisionTransformer

    torch.manual_seed(0)
    model = VisionTransformer(
        image_size=64, patch_size=16, num_layers=2, num_heads=3, hidden_dim=192, mlp_dim=768
    )
    nn.init.normal_(model.heads.head.weight, std=0.02)
    return model.eval()


def bert() -> nn.Module:
    from transformers import BertConfig, BertModel

    torch.manual_seed(0)
    config = BertConfig(
        vocab_size=999, hidden_size=96, num_hidden_layers=2, num_attention_heads=4,
        intermediate_size=384,
    )  # fmt: skip
    return BertModel(config).eval()


def tokens(seed: int) -> dict[str, Tensor]:
    made = torch.Generator().manual_seed(seed)
    return {"input_ids": torch.randint(0, 999, (4, 32), generator=made)}


def pictures(seed: int, side: int = 64) -> Tensor:
    return torch.randn(4, 3, side, side, generator=torch.Generator().manual_seed(seed))


CASES: dict[str, tuple[Callable[[], nn.Module], Callable[[int], Batch], int]] = {
    "resnet": (resnet, pictures, 18),
    "vit": (vit, pictures, 10),
    "bert": (bert, tokens, 16),
}


def cosine(a: Tensor, b: Tensor) -> float:
    return float(torch.nn.functional.cosine_similarity(a.flatten(1), b.flatten(1)).min())


@pytest.mark.slow
@pytest.mark.parametrize("name", CASES)
def test_mixed_int4_int8_of_known_architectures(name: str) -> None:
    make, batch, n_layers = CASES[name]
    model = make()
    layers = find_layers(model)
    assert len(layers) == n_layers
    schemes = {layer: (INT8, INT4)[i % 2] for i, layer in enumerate(layers)}

    fitted = quantize(model, schemes, [batch(1), batch(2)])

    stored = dict(stored_layers(fitted.module))
    assert {layer: stored[layer].scheme for layer in layers} == schemes
    packed = sum(module.packed_weight.nbytes for module in stored.values())
    assert packed == sum(layers[layer].nbytes(scheme) for layer, scheme in schemes.items())
    assert packed < sum(layer.nbytes(FP32) for layer in layers.values()) / 5
    assert cosine(run(model, batch(3)), run(fitted.module, batch(3))) > 0.97


@pytest.mark.parametrize("name", CASES)
def test_int8_without_data_is_near(name: str) -> None:
    make, batch, _ = CASES[name]
    model = make()
    fitted = quantize(model, dict.fromkeys(find_layers(model), INT8), rounding="rtn")
    assert fitted.notes == []
    assert cosine(run(model, batch(3)), run(fitted.module, batch(3))) > 0.999


@pytest.mark.slow
def test_vit_attention_output_is_rounded_without_inputs_and_listed() -> None:
    model = vit()
    schemes = dict.fromkeys(find_layers(model), Scheme(4, 64))
    notes = quantize(model, schemes, [pictures(1)]).notes
    assert [note.split(":")[0] for note in notes] == [
        "encoder.layers.encoder_layer_0.self_attention.out_proj",
        "encoder.layers.encoder_layer_1.self_attention.out_proj",
    ]


@pytest.mark.parametrize("name", ZOO)
@pytest.mark.slow
def test_any_architecture_runs_in_int8_on_inputs_made_from_it(name: str) -> None:
    make, n_layers, left = ZOO[name]
    torch.manual_seed(0)
    model = make().eval()
    layers = find_layers(model)
    assert len(layers) == n_layers
    assert sorted({each.rpartition(".")[2] for each in unsupported(model)}) == left
    data = synthetic(model, n_steps=0)
    assert data

    fitted = quantize(model, dict.fromkeys(layers, INT8), rounding="rtn").module

    kept = {layer.packed.data_ptr() for _, layer in stored_layers(fitted)}
    assert len(kept) == len(layers)  # what is tied stays tied
    assert model_nbytes(fitted) < model_nbytes(model)
    before, after = run(model, data.score[0]), run(fitted, data.score[0])
    assert cosine(before, after) > 0.99
