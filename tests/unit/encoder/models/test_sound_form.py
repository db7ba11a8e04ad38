"""EmbeddingGemma 2's sound tower in the form in which it is exported."""

import pytest
import torch
import transformers
from torch.export import Dim, export

from encoder.prepare.hub.forms import traceable

pytestmark = pytest.mark.slow


def test_no_layer_adds_to_the_sizes_that_the_exporter_reasons_about() -> None:
    """Else the export of the twelve published layers takes an hour."""
    config = transformers.Gemma4AudioConfig(
        hidden_size=32, num_attention_heads=2, num_hidden_layers=3, output_proj_dims=16
    )
    tower = transformers.Gemma4AudioModel(config).eval()
    inputs = (torch.randn(2, 90, 128), torch.ones(2, 90, dtype=torch.bool))
    axes = ({0: Dim.DYNAMIC, 1: Dim.DYNAMIC},) * 2
    with traceable(tower), torch.no_grad():
        program = export(tower, inputs, dynamic_shapes=axes, strict=False)
    linear = torch.ops.aten.linear.default
    sizes = [
        {str(size) for size in node.meta["val"].shape if not isinstance(size, int)}
        for node in program.graph.nodes
        if node.target is linear
    ]
    a_third = (len(sizes) - 2) // 3  # one before the layers, one after them
    assert sizes[1 : 1 + a_third] == sizes[1 + a_third : 1 + 2 * a_third]
    assert max(len(str(size)) for found in sizes for size in found) < 60
    with torch.no_grad():
        assert torch.allclose(
            program.module()(*inputs)["last_hidden_state"],
            tower(*inputs).last_hidden_state,
            atol=1e-5,
        )
