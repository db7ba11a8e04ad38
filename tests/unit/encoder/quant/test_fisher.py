import pytest
import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.errors import ModelError
from encoder.quant.calibration import Objective, divergence
from encoder.quant.fisher import fisher_diagonals, lookup_grams
from encoder.quant.layers import find_layers

N_DRAWS = 400


def exact(objective: Objective, x: Tensor, outputs: Tensor) -> Tensor:
    """The diagonal for one linear layer, [n_out, n_in], worked out by hand."""
    if objective == "kl":
        p = outputs.softmax(1)
        of_output = p * (1 - p)
    else:
        of_output = (1 - functional.normalize(outputs).square()) / outputs.norm(dim=1)[:, None] ** 2
    return (of_output[:, :, None] * x[:, None, :].square()).mean(0)


@pytest.mark.parametrize("objective", ["kl", "cosine"])
def test_it_is_the_diagonal_of_the_outputs_fisher_information(objective: Objective) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(5, 4), torch.randn(6, 5)
    diagonal = fisher_diagonals(model, find_layers(model), [x] * N_DRAWS, objective)[""]
    expected = exact(objective, x, model(x).detach())
    assert torch.allclose(diagonal, expected, rtol=0.4, atol=0.1 * expected.mean().item())
    assert diagonal.sum().item() == pytest.approx(expected.sum().item(), rel=0.1)


@pytest.mark.parametrize("objective", ["kl", "cosine"])
def test_it_predicts_the_divergence_of_independent_changes(objective: Objective) -> None:
    torch.manual_seed(0)
    model, x = nn.Linear(64, 32), torch.randn(16, 64)
    diagonal = fisher_diagonals(model, find_layers(model), [x] * 20, objective)[""]
    change = 0.01 * torch.randn(32, 64)
    foretold = 0.5 * float((diagonal * change.square()).sum())
    with torch.no_grad():
        before = model(x).double()
        after = functional.linear(x, model.weight + change, model.bias).double()
    assert foretold == pytest.approx(divergence(objective, before, after).item(), rel=0.15)


def test_a_layer_that_no_gradient_reaches_has_none() -> None:
    model = nn.Sequential(nn.Linear(3, 3))
    model.add_module("unused", nn.Linear(3, 3))
    model.forward = lambda x: model[0](x)  # type: ignore[method-assign]
    found = fisher_diagonals(model, find_layers(model), [torch.randn(2, 3)], "kl")
    assert found["unused"].count_nonzero() == 0
    assert found["0"].count_nonzero() > 0


@pytest.mark.parametrize("objective", ["kl", "cosine"])
def test_a_table_has_the_curvature_of_the_output_at_its_rows(objective: Objective) -> None:
    torch.manual_seed(0)
    model = nn.Sequential(nn.Embedding(6, 5), nn.Linear(5, 4)).eval()
    rows, head = model[0].weight.detach(), model[1]
    grams = lookup_grams(model, find_layers(model), [torch.arange(6)] * N_DRAWS, objective)
    assert set(grams) == {"0"}
    (curvature,) = grams["0"].values / (2 * N_DRAWS * 6)  # draws of each batch, batches, rows
    for change in 0.01 * torch.randn(4, 5):
        with torch.no_grad():
            before, after = head(rows).double(), head(rows + change).double()
        foretold = 0.5 * float(change @ curvature @ change)
        assert foretold == pytest.approx(divergence(objective, before, after).item(), rel=0.2)


def test_a_table_behind_a_forward_without_gradients_has_none() -> None:
    model = nn.Sequential(nn.Embedding(6, 5), nn.Linear(5, 4)).eval()
    plain = model.forward
    model.forward = torch.no_grad()(plain)  # type: ignore[method-assign]
    assert lookup_grams(model, find_layers(model), [torch.arange(6)], "kl") == {}


def test_a_forward_without_gradients_is_refused() -> None:
    model = nn.Sequential(nn.Linear(4, 2))
    model.forward = torch.no_grad()(model.forward)  # type: ignore[method-assign]
    with pytest.raises(ModelError, match="has no gradient"):
        fisher_diagonals(model, find_layers(model), [torch.randn(4, 4)], "kl")
