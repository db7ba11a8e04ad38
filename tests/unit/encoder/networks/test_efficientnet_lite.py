"""Our EfficientNet-Lite2 against logits of the reference implementation.

The golden file holds what the PyPI package efficientnet-lite-pytorch 0.1.0 gives for `waves`.
"""

from pathlib import Path

import numpy as np
import torch
from numpy.typing import NDArray

from encoder.networks.convolutions import SamePadConv, load_efficientnet_lite
from encoder.onnx.convolutions import LITE2, block_sizes

GOLDEN = Path(__file__).parents[3] / "golden" / "efficientnet_lite2.npz"


def waves() -> NDArray[np.float32]:
    """Two patterns that need no file, [2, 3, 260, 260]."""
    y, x = np.mgrid[0:260, 0:260] / 260
    patterns = [[np.sin(k * x + c + 3 * y) * np.cos(k * y * x) for c in range(3)] for k in (4, 17)]
    return np.asarray(patterns, np.float32)


def test_equals_reference_logits(bundle_home: Path) -> None:
    model = load_efficientnet_lite(bundle_home / "image" / "weights.pth", LITE2)

    with torch.inference_mode():
        logits = model(torch.from_numpy(waves())).numpy()

    with np.load(GOLDEN) as golden:
        np.testing.assert_allclose(logits, golden["logits"], atol=1e-4)


def test_lite2_has_21_blocks_from_32_to_352_channels() -> None:
    blocks = list(block_sizes(LITE2))

    assert len(blocks) == 21
    assert (blocks[0].n_in, blocks[-1].n_out) == (32, 352)
    assert [block.stride for block in blocks].count(2) == 4


def test_padding_puts_the_odd_pixel_last() -> None:
    conv = SamePadConv(1, 1, kernel=3, stride=2)
    conv.weight.data.fill_(1.0)

    found = conv(torch.ones(1, 1, 4, 4))

    # the last row and column reach one pixel outside
    assert found.squeeze().tolist() == [[9.0, 6.0], [6.0, 4.0]]
