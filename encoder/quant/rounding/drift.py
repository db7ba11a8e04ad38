"""How far a layer's inputs have drifted from the original model's, and what makes up for it.

Layers before this one are quantized already; the error that they left is partly a linear
function of the inputs that arrive, so this layer's weight and bias can undo that part
(GPTAQ, Li et al., 2025; bias correction, Nagel et al., 2019). Importing this imports torch.
"""

from __future__ import annotations

from dataclasses import dataclass

from torch import Tensor

from encoder.quant.rounding.gram import Gram, to_columns, to_rows

_SHARE = 0.5
"""The share of drift that a weight makes up for; .5 gave slightly less KL than 1 on held-out
pictures."""


@dataclass(frozen=True, eq=False)
class Drift:
    """Means over a layer's inputs, x in the quantized model and x° in the original.

    Args:
        cross: of (x° − x) xᵀ, float32 [n_conv_groups, n_columns, n_columns].
        original_mean: of x°, [n_conv_groups, n_columns].
        mean: of x, [n_conv_groups, n_columns].
    """

    cross: Tensor
    original_mean: Tensor
    mean: Tensor

    def target(self, rows: Tensor, gram: Gram) -> Tensor:
        """The weight whose output on x is nearest to the output of ``rows`` on x°.

        W + share · W · cross · H⁻¹, where H is ``gram``, shrunk and damped. The share is below 1,
        since part of the drift seen on few inputs is noise. Without a factor of H it is ``rows``.
        """
        if gram.factor is None:
            return rows
        n_groups, n_columns = gram.order.shape
        missing = (rows.view(n_groups, -1, n_columns) @ self.cross).view_as(rows)
        columns = to_columns(missing, gram)
        change = gram.factor.transpose(1, 2) @ (gram.factor @ columns)
        return rows + _SHARE * to_rows(change, gram)

    def bias_change(self, rows: Tensor, now: Tensor) -> Tensor:
        """What to add to the bias, [n_rows], if ``now`` replaces ``rows``."""
        return _outputs(rows, self.original_mean) - _outputs(now, self.mean)


def _outputs(rows: Tensor, mean: Tensor) -> Tensor:
    by_group = rows.view(mean.shape[0], -1, rows.shape[1])
    return (by_group @ mean.unsqueeze(2)).reshape(-1)
