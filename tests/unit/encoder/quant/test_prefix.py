from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional

from encoder.quant.layers import find_layers
from encoder.quant.prefix import PrefixRuns, changed


class Net(nn.Module):
    """Skips, an output that is changed in place, a block used twice, a weight used uncalled."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.bias_table = nn.Linear(8, 8)
        self.blocks = nn.ModuleList(
            nn.Sequential(nn.Linear(8, 8), nn.ReLU(), nn.Linear(8, 8)) for _ in range(4)
        )
        self.twice = nn.Linear(8, 8)
        self.spoiled = nn.Linear(8, 8)
        self.head = nn.Linear(8, 5)
        self.calls: list[str] = []

    def forward(self, ids: Tensor) -> Tensor:
        x = self.embed(ids).mean(1)
        x = self.twice(x) + functional.linear(x, self.bias_table.weight)
        for block in self.blocks:
            x = x + block(x)
        x = self.spoiled(self.twice(x))
        x = functional.relu(x, inplace=True)
        return self.head(x)


def make() -> tuple[Net, list[Tensor]]:
    torch.manual_seed(0)
    return Net().eval(), [torch.randint(0, 20, (3, 6)) for _ in range(2)]


def test_a_run_from_the_middle_gives_what_a_whole_run_gives() -> None:
    model, batches = make()
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches)
    for name, layer in layers.items():
        weight = torch.randn_like(layer.weight)
        with changed(layer, weight), torch.no_grad():
            expected = [model(batch) for batch in batches]
        found = list(runs.run(layer, weight))
        assert all(map(torch.equal, found, expected)), name
        assert not torch.equal(found[0], runs.outputs[0]), name


def test_what_comes_before_is_not_run_again() -> None:
    model, batches = make()
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches[:1])
    ran: list[str] = []
    for name, layer in layers.items():
        layer.module.register_forward_pre_hook(lambda *_, name=name: ran.append(name))
    whole = {}
    for name in ("blocks.3.0", "head", "embed"):
        ran.clear()
        list(runs.run(layers[name], layers[name].weight.detach()))
        whole[name] = set(ran)
    assert not whole["blocks.3.0"] & {"blocks.0.0", "blocks.1.2", "blocks.2.0"}
    assert {"blocks.3.0", "blocks.3.2", "spoiled", "head"} <= whole["blocks.3.0"]
    assert "blocks.0.0" not in whole["head"]
    assert set(layers) - {"bias_table"} == whole["embed"]


def test_without_room_all_is_run_and_right() -> None:
    model, batches = make()
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches, max_bytes=0)
    weight = torch.randn_like(layers["head"].weight)
    kept = list(PrefixRuns(model, layers, batches).run(layers["head"], weight))
    assert all(map(torch.equal, runs.run(layers["head"], weight), kept))


def test_the_model_comes_back_as_it_was() -> None:
    model, batches = make()
    before = {name: value.clone() for name, value in model.state_dict().items()}
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches)
    running = runs.run(layers["head"], torch.zeros_like(layers["head"].weight))
    next(running)
    running.close()
    assert all(torch.equal(before[name], value) for name, value in model.state_dict().items())
    assert all("forward" not in vars(module) for module in model.modules())
    assert not any(module._forward_hooks or module._forward_pre_hooks for module in model.modules())


def test_rows_that_are_looked_up_are_known() -> None:
    model, batches = make()
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches)
    used = runs.looked_up(layers["embed"])
    assert set(used.tolist()) == set(torch.cat(batches).flatten().tolist())
    assert runs.looked_up(layers["bias_table"]) is None
    assert runs.looked_up(layers["head"]) is None


class Passed(nn.Module):
    """Modules that pass one dictionary through, as those of sentence-transformers do."""

    def __init__(self) -> None:
        super().__init__()
        self.embed = nn.Embedding(20, 8)
        self.pool, self.dense = Pool(), nn.Linear(8, 8)

    def forward(self, ids: Tensor) -> Tensor:
        found = self.pool({"tokens": self.embed(ids)})
        found["vector"] = self.dense(found["vector"]).tanh()
        vector: Tensor = found["vector"]
        return vector


class Pool(nn.Module):
    def forward(self, found: dict[str, Tensor]) -> dict[str, Tensor]:
        found["vector"] = found["tokens"].mean(1)
        return found


def test_what_later_modules_add_to_an_output_is_not_kept() -> None:
    torch.manual_seed(0)
    model = Passed().eval()
    batches = [torch.randint(0, 20, (3, 6)) for _ in range(2)]
    layers = find_layers(model, batches[0])
    runs = PrefixRuns(model, layers, batches)
    for _ in range(2):
        weight = torch.randn_like(layers["dense"].weight)
        with changed(layers["dense"], weight), torch.no_grad():
            expected = [model(batch) for batch in batches]
        assert all(map(torch.equal, runs.run(layers["dense"], weight), expected))
