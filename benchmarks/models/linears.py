"""Text networks of published sizes, random weights: quantized graphs against torch.

    python -m benchmarks.models.linears [bge-small modernbert-base embeddinggemma-2]

CPU-seconds of one thread, one text; candidates take turns, and each counts by its fastest round.
"""

from __future__ import annotations

import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

import numpy as np

from encoder.onnx.quantize import quantize_linears
from encoder.runtime.export import trace
from encoder.runtime.onnx import OnnxSession

N_TOKENS = 256
ROUNDS = 5
BARS = {"bge-small": 3.5, "modernbert-base": 3.5, "embeddinggemma-2": 4.0}


def main(names: list[str]) -> None:
    print("| network | | MB | ms | × torch fp32 eager | cosine | alone to in a batch |")
    print("| --- | --- | --- | --- | --- | --- | --- |")
    for name in names or BARS:
        with tempfile.TemporaryDirectory() as folder:
            for row in measure(name, Path(folder)):
                print("| " + " | ".join(row) + " |", flush=True)


def measure(name: str, folder: Path) -> list[list[str]]:
    """A row for each candidate."""
    import torch

    torch.set_num_threads(1)
    network = _network(name)
    float32 = folder / "float32.onnx"
    _export(network, float32)
    sizes = {"torch fp32 eager": float32.stat().st_size, "ONNX Runtime fp32": 0}
    runs: dict[str, Callable[[Mapping[str, Any]], Any]] = {"torch fp32 eager": _eager(network)}
    runs["ONNX Runtime fp32"] = _session(float32)
    for bits in (8, 4):
        report = quantize_linears(float32, folder / f"int{bits}.onnx", weight_bits=bits)
        sizes[f"int{bits}"] = report.target_bytes
        runs[f"int{bits}"] = _session(report.path)
    one = _texts(N_TOKENS)
    wanted = runs["torch fp32 eager"](one)
    seconds = _take_turns(runs, one)
    rows = []
    for candidate, run in runs.items():
        ratio = seconds["torch fp32 eager"] / seconds[candidate]
        bar = f" (≥ {BARS[name]}: {'met' if ratio >= BARS[name] else 'missed'})"
        rows.append([
            name, candidate, f"{sizes[candidate] / 1e6:.1f}" if sizes[candidate] else "",
            f"{seconds[candidate] * 1e3:.1f}", f"{ratio:.2f}" + bar * (candidate == "int8"),
            f"{_cosine(run(one), wanted):.4f}", f"{_batch_cosine(run):.6f}",
        ])  # fmt: skip
    return rows


def _network(name: str) -> Any:
    """A mean-pooled network in float32."""
    import torch
    import transformers
    from torch import nn

    torch.manual_seed(0)
    if name == "bge-small":
        config = transformers.BertConfig(
            hidden_size=384, num_hidden_layers=12, num_attention_heads=12, intermediate_size=1536
        )
    elif name == "modernbert-base":
        config = transformers.ModernBertConfig()
    else:
        config = transformers.EmbeddingGemma2TextConfig()
    model = transformers.AutoModel.from_config(config, attn_implementation="sdpa").float()
    for label, parameter in model.named_parameters():
        if label.endswith("q_norm.weight"):  # otherwise logits are not scaled, and saturate
            nn.init.constant_(parameter, parameter.shape[0] ** -0.5)

    class Pooled(nn.Module):
        def __init__(self) -> None:
            super().__init__()
            self.model = model

        def forward(self, input_ids: Any, attention_mask: Any) -> Any:
            inputs = {"input_ids": input_ids, "attention_mask": attention_mask}
            states = self.model(**inputs).last_hidden_state
            weights = attention_mask.unsqueeze(2).to(states.dtype)
            return (states * weights).sum(1) / weights.sum(1)

    return Pooled().eval()


def _export(network: Any, path: Path) -> None:
    import torch

    inputs = {name: torch.from_numpy(array) for name, array in _texts(12, 9).items()}
    program = trace(network, inputs, dict.fromkeys(inputs, (0, 1)))
    program.optimize()
    program.save(path)


def _eager(network: Any) -> Callable[[Mapping[str, Any]], Any]:
    import torch

    def run(inputs: Mapping[str, Any]) -> Any:
        with torch.inference_mode():
            return network(**{k: torch.from_numpy(v) for k, v in inputs.items()}).numpy()

    return run


def _session(path: Path) -> Callable[[Mapping[str, Any]], Any]:
    session = OnnxSession(path, n_threads=1)
    return lambda inputs: session.run(inputs)[0]


def _texts(*lengths: int) -> dict[str, Any]:
    width = max(lengths)
    ids = np.random.default_rng(0).integers(1000, 9000, (len(lengths), width))
    mask = np.stack([np.arange(width) < length for length in lengths]).astype(np.int64)
    return {"input_ids": ids, "attention_mask": mask}


def _take_turns(runs: Mapping[str, Callable[..., Any]], inputs: Any) -> dict[str, float]:
    best = dict.fromkeys(runs, np.inf)
    for _ in range(ROUNDS):
        for name, run in runs.items():
            start = time.process_time()
            run(inputs)
            best[name] = min(best[name], time.process_time() - start)
    return best


def _batch_cosine(run: Callable[..., Any]) -> float:
    """The least cosine of a text alone to the same text in a batch."""
    lengths = (90, 7, 200)
    together = _texts(*lengths)
    rows = run(together)
    return min(
        _cosine(rows[i : i + 1], run({k: v[i : i + 1, :n] for k, v in together.items()}))
        for i, n in enumerate(lengths)
    )


def _cosine(a: Any, b: Any) -> float:
    return float(np.sum(a * b) / np.linalg.norm(a) / np.linalg.norm(b))


if __name__ == "__main__":
    main(sys.argv[1:])
