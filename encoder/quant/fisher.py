"""What errors of weights cost in the output, from its gradients.

To second order the divergence of a model's output is ½ δᵀFδ for a change δ of its weights, with
F the Fisher information of the output. Importing this imports torch.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.quant.calibration import Batch, Objective, forward
from encoder.quant.inputs import Gram
from encoder.quant.layers import Layer
from encoder.quant.uses import lookups

_SEED = 0
_DRAWS = 2


def lookup_grams(
    model: nn.Module, layers: Mapping[str, Layer], batches: Sequence[Batch], objective: Objective
) -> dict[str, Gram]:
    """What rounding an embedding table needs to know: the mean of g gᵀ over all rows looked up.

    A table has no varying inputs that show which errors in a row the next layers forget. The
    output's gradient g at the looked-up row shows it: an error e costs (e · g)² on average
    over g, just as it costs (e · x)² in a layer with inputs x.

    Returns:
        The matrices by name, without tables that no gradient reaches.
    """
    generator = torch.Generator().manual_seed(_SEED)
    tables = {name: layer for name, layer in layers.items() if layer.kind == "embedding"}
    totals: dict[str, Tensor] = {}
    with ExitStack() as stack:
        stack.enter_context(_differentiable([layer.weight for layer in tables.values()]))
        names = {layer.weight.data_ptr(): name for name, layer in tables.items()}
        rows_by_table: dict[str, list[Tensor]] = {name: [] for name in tables}

        def note(table: Tensor, _ids: Tensor, rows: Tensor) -> None:
            if name := names.get(table.data_ptr()):
                rows_by_table[name].append(rows)

        stack.enter_context(lookups(note))
        for batch in batches if tables else ():
            for rows in rows_by_table.values():
                rows.clear()
            _add_squares(totals, forward(model, batch).float(), rows_by_table, objective, generator)
    return {name: Gram(total[None]) for name, total in totals.items() if total.any()}


def _add_squares(
    totals: dict[str, Tensor],
    output: Tensor,
    rows_by_table: Mapping[str, list[Tensor]],
    objective: Objective,
    generator: torch.Generator,
) -> None:
    rows = [
        (name, row)
        for name, outputs in rows_by_table.items()
        for row in outputs
        if row.requires_grad
    ]
    if not rows or not output.requires_grad:
        return
    for _ in range(_DRAWS):
        target = (output * _probe(output.detach(), objective, generator)).sum()
        inputs = [row for _, row in rows]
        gradients = torch.autograd.grad(target, inputs, retain_graph=True, allow_unused=True)
        for (name, _), gradient in zip(rows, gradients, strict=True):
            if gradient is not None:
                flat = gradient.float().reshape(-1, gradient.shape[-1])
                totals[name] = totals.get(name, torch.zeros(())) + flat.T @ flat


def _probe(output: Tensor, objective: Objective, generator: torch.Generator) -> Tensor:
    """What to multiply the output [..., d] by: random, with the output's Fisher as covariance.

    For logits that is diag(p) − p pᵀ. 1 − cosine is half the squared distance between unit vectors:
    (I − u uᵀ) / ‖z‖².
    """
    signs = torch.randint(0, 2, output.shape, generator=generator).float().mul_(2).sub_(1)
    if objective == "kl":
        p = output.softmax(-1)
        spread = p.sqrt() * signs
        return spread - p * spread.sum(-1, keepdim=True)
    unit = functional.normalize(output, dim=-1)
    across = signs - unit * (unit * signs).sum(-1, keepdim=True)
    probe: Tensor = across / output.norm(dim=-1, keepdim=True).clamp_min(1e-12)
    return probe


@contextmanager
def _differentiable(weights: Sequence[Tensor]) -> Iterator[None]:
    """While entered, gradients are on and reach these weights; no other weight is affected."""
    flags = [weight.requires_grad for weight in weights]
    try:
        with torch.inference_mode(mode=False), torch.enable_grad():
            for weight in weights:
                weight.requires_grad_(True)
            yield
    finally:
        for weight, flag in zip(weights, flags, strict=True):
            weight.requires_grad_(flag)
