"""What oneDNN and bfloat16 gain for text models that run through torch on the CPU.

Run by ``make bench-hub``: networks at their published sizes with random weights, on one core.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Mapping
from functools import partial
from time import process_time
from typing import Any

import numpy as np
import torch
from torch import Tensor, nn
from transformers import BertConfig, BertModel, ModernBertConfig, ModernBertModel

from benchmarks.harness.results_pages import table, write_section
from benchmarks.harness.timing import on_one_core, take_turns
from encoder.models.in_torch import run_in_bf16
from encoder.networks.first_use import PackedLinear, change_on_first_use

_LENGTHS = (32, 256)
_N_ROUNDS = 9
Make = Callable[[], nn.Module]


def _bge_small() -> nn.Module:
    sizes = {"hidden_size": 384, "intermediate_size": 1536, "num_attention_heads": 12}
    return BertModel(BertConfig(**sizes, num_hidden_layers=12))


MODELS: Mapping[str, Make] = {
    "bge-small (BERT, 33M)": _bge_small,
    "ModernBERT base (149M)": lambda: ModernBertModel(ModernBertConfig()),
}


class Network(nn.Sequential):
    """A transformer, then mean pooling, as sentence-transformers lays them out."""

    device = torch.device("cpu")


class Transformer(nn.Module):
    """Token ids to ``token_embeddings``."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, ids: Tensor) -> dict[str, Tensor]:
        """Float [n, length, width]."""
        return {"token_embeddings": self.network(input_ids=ids).last_hidden_state}


class Pooling(nn.Module):
    """The mean, scaled to unit length."""

    def forward(self, features: dict[str, Tensor]) -> Tensor:
        """Float32 [n, width]."""
        return nn.functional.normalize(features["token_embeddings"].mean(1))


def ways(make: Make) -> dict[str, Network]:
    """The same network as torch runs it, with packed layers, and in bfloat16."""
    torch.manual_seed(0)
    plain = Network(Transformer(make().eval()), Pooling())
    packed, half = copy.deepcopy(plain), copy.deepcopy(plain)
    change_on_first_use(packed, PackedLinear)
    run_in_bf16("half", half)  # type: ignore[arg-type]
    return {"torch": plain, "oneDNN": packed, "bf16": half}


def compare(make: Make, length: int, n_rounds: int = _N_ROUNDS) -> tuple[Any, dict[str, float]]:
    """The times of all ways, taken in turn, and their cosines to torch's float32."""
    networks = ways(make)
    ids = torch.from_numpy(np.random.default_rng(0).integers(1000, 20_000, (1, length)))
    with torch.inference_mode():
        rows = {name: network(ids).double()[0] for name, network in networks.items()}
        runs = {name: partial(network, ids) for name, network in networks.items()}
        times = take_turns(runs, n_rounds=n_rounds, n_warm_up=1, clock=process_time)
    cosine = nn.functional.cosine_similarity
    return times, {name: float(cosine(row, rows["torch"], dim=0)) for name, row in rows.items()}


def main() -> None:
    """Measure and write the section."""
    torch.set_num_threads(1)
    lines = []
    with on_one_core():
        for model, make in MODELS.items():
            for length in _LENGTHS:
                times, cosines = compare(make, length)
                for name in ("oneDNN", "bf16"):
                    gain = times.speedup(name, "torch")
                    each = f"{times.median_ms('torch'):.1f}", f"{times.median_ms(name):.1f}"
                    lines.append([model, length, name, *each, gain, f"{cosines[name]:.8f}"])
    head = [
        "model",
        "tokens",
        "way",
        "torch float32, CPU-ms",
        "CPU-ms",
        "gain",
        "cosine to float32",
    ]
    body = f"One text, random weights, medians of {_N_ROUNDS} rounds.\n\n" + table(head, lines)
    print(body)
    write_section("Hub models in torch", "make bench-hub", body)


if __name__ == "__main__":
    main()
