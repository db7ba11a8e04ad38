"""What dynamic sparse inference saves and loses with the bundle's text network, on one core.

    python -m benchmarks.dsre [speed|padding|quality|quality-float] [--packages FOLDER]

Dense rows stand beside the sparse ones, so that int8 and the removal of padding are not counted
as sparsity. The queries are titles of Debian packages (the split "test") and summaries of what
SciPy and librosa document; the gate was fitted to neither.
"""

from __future__ import annotations

import argparse
import os
import time
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

from benchmarks.manuals import documented
from benchmarks.pairs import pairs
from benchmarks.results import table, write_section
from benchmarks.timing import on_one_core, take_turns
from encoder.dsre.documents import Document
from encoder.dsre.gatefile import GateFile
from encoder.dsre.retrieval import Found, compare, search
from encoder.models import bundle
from encoder.models.gates import TEXT_GATE
from encoder.models.sparsity import SPARSE_FLOAT, SPARSE_INT8
from encoder.models.text_gate import build
from encoder.networks.bert import SentenceBert, load_sentence_bert
from encoder.runtime.onnx import OnnxSession
from encoder.space import l2_normalize
from encoder.towers.text import load_tokenizer, pad
from encoder.types import Embeddings

MAX_TOKENS = 512
LENGTHS = (128, 256, 512)
BATCHES = (1, 16)
EAGER, BF16 = "dense eager fp32", "dense eager bf16"
DENSE, DENSE8 = "dense ONNX fp32", "dense ONNX int8"
SPARSE, SPARSE8 = "sparse ONNX fp32", "sparse ONNX int8"
_SAME_ENGINE = {SPARSE: DENSE, SPARSE8: DENSE8}
_LIBRARIES = ("scipy", "librosa")

Inputs = dict[str, NDArray[Any]]


def sessions(folder: Path, names: Sequence[str]) -> dict[str, OnnxSession]:
    """Networks of ONNX Runtime, on one thread; sparse ones are made if there are none."""
    gate = GateFile.load(TEXT_GATE)
    dense = {DENSE: folder / "model.onnx", DENSE8: folder / "model.int8.onnx"}
    sparse = {SPARSE: SPARSE_FLOAT, SPARSE8: SPARSE_INT8}
    return {
        name: OnnxSession(dense.get(name) or build(folder, gate, sparse[name]), n_threads=1)
        for name in names
    }


def tokens(
    folder: Path, texts: Sequence[str], max_tokens: int = MAX_TOKENS
) -> list[NDArray[np.int64]]:
    """Token ids of each text."""
    tokenizer = load_tokenizer(folder / "tokenizer.json", max_tokens=max_tokens)
    return [np.asarray(one.ids, np.int64) for one in tokenizer.encode_batch(list(texts))]


def has_bf16() -> bool:
    """Whether the processor multiplies bfloat16 itself."""
    return "avx512_bf16" in Path("/proc/cpuinfo").read_text()


def eager(model: SentenceBert, inputs: Inputs) -> Callable[[], object]:
    """A run in torch, as its modules stand."""
    import torch

    dtype = next(model.parameters()).dtype
    input_ids, mask = (torch.from_numpy(inputs[name]) for name in ("input_ids", "mask"))

    def run() -> object:
        with torch.inference_mode():
            return model(input_ids, mask.to(dtype))

    return run


def speed(folder: Path, n_rounds: int = 7) -> str:
    """Times at each length and batch size; texts of that length, so nothing is padded."""
    import torch

    torch.set_num_threads(1)
    texts = [one for one in tokens(folder, _long_texts()) if len(one) == MAX_TOKENS]
    networks = sessions(folder, (DENSE, SPARSE, DENSE8, SPARSE8))
    plain, half = load_sentence_bert(folder), load_sentence_bert(folder).bfloat16()
    rows = []
    with on_one_core():
        for n_tokens in LENGTHS:
            for n_texts in BATCHES:
                input_ids, mask = pad([one[:n_tokens] for one in texts[:n_texts]])
                inputs: Inputs = {"input_ids": input_ids, "mask": mask}
                candidates = {EAGER: eager(plain, inputs), BF16: eager(half, inputs)}
                candidates |= {n: partial(s.run, inputs) for n, s in networks.items()}
                times = take_turns(
                    candidates, n_rounds=n_rounds, n_warm_up=1, clock=time.process_time
                )
                for name in candidates:
                    own = _SAME_ENGINE.get(name)
                    rows.append(
                        (
                            n_tokens,
                            n_texts,
                            name + _emulated(name),
                            f"{times.median_ms(name):.1f}",
                            f"{times.median_ms(name) * 1e3 / (n_tokens * n_texts):.0f}",
                            times.speedup(name, EAGER),
                            times.speedup(name, own) if own else "",
                        )
                    )
    headings = (
        "tokens", "batch", "network", "ms", "µs per token", "× eager fp32", "× same engine, dense",
    )  # fmt: skip
    return _SPEED.format(table=table(headings, rows))


def _emulated(name: str) -> str:
    return " (emulated)" if name == BF16 and not has_bf16() else ""


def _long_texts() -> list[str]:
    return [f"{one.title}\n{one.body}" for one in documented("scipy")]


def padding(folder: Path, n_texts: int = 64) -> str:
    """Batches of 16 as they come, against the same texts by length; nothing is merged."""
    documents = [one.body for one in documented(*_LIBRARIES)]
    ids = tokens(folder, documents)
    picked = [ids[i] for i in np.random.default_rng(0).permutation(len(ids))[:n_texts]]
    ordered = sorted(picked, key=len)
    session = OnnxSession(folder / "model.int8.onnx", n_threads=1)

    def run(texts: list[NDArray[np.int64]], at_once: int) -> None:
        for start in range(0, len(texts), at_once):
            input_ids, mask = pad(texts[start : start + at_once])
            session.run({"input_ids": input_ids, "mask": mask})

    candidates = {
        "as they come": partial(run, picked, 16),
        "by length": partial(run, ordered, 16),
        "one by one": partial(run, picked, 1),
    }
    with on_one_core():
        times = take_turns(candidates, n_rounds=3, n_warm_up=1, clock=time.process_time)
    rows = [(n, f"{times.median_ms(n):.0f}", times.speedup(n, "as they come")) for n in candidates]
    return _PADDING.format(n=n_texts, table=table(("batches", "ms", "× as they come"), rows))


def quality(
    folder: Path, packages: Path, dense: str, sparse: str, n_queries: int, max_tokens: int
) -> str:
    """nDCG@10 of a sparse network against the dense one with the same weights."""
    gate = GateFile.load(TEXT_GATE)
    manuals = documented(*_LIBRARIES)
    documents = [*manuals, *(Document(one.title, one.body) for one in pairs(packages, "test"))]
    ids = tokens(folder, [one.body for one in documents], max_tokens)
    long = [i for i, one in enumerate(ids) if len(one) >= gate.settings.min_tokens][:n_queries]
    bodies = [ids[i] for i in long]
    networks = sessions(folder, (dense, sparse))
    queries = embed(networks[dense], tokens(folder, [documents[i].title for i in long]))
    texts, merged = (embed(networks[name], bodies) for name in (dense, sparse))
    found = [search(queries, one, np.arange(len(long))) for one in (texts, merged)]
    is_manual = np.array(long) < len(manuals)
    parts = {"manuals": is_manual, "packages": ~is_manual, "all": is_manual | ~is_manual}
    rows = [
        (kind, *_figures(*(one.take(some) for one in found)))
        for kind, some in parts.items()
        if some.any()
    ]
    headings = ("queries", "number", "dense nDCG@10", "change", "margin, sd")
    return _QUALITY.format(
        table=table(headings, rows), least=gate.settings.min_tokens, most=max_tokens,
        dense=dense, sparse=sparse, shift=gate.facts["shift"],
    )  # fmt: skip


def _figures(dense: Found, sparse: Found) -> tuple[object, ...]:
    loss, level = compare(dense, sparse), dense.ndcg.mean()
    change = f"{-loss.ndcg:+.2%} ± {loss.error:.2%}"
    return loss.n_queries, f"{level:.3f}", change, f"{-loss.margin:+.3f}"


def embed(session: OnnxSession, texts: Sequence[NDArray[np.int64]]) -> Embeddings:
    """Unit rows [n, embed_dim]; texts one by one, so nothing is padded."""
    rows = [
        session.run({"input_ids": one[None], "mask": np.ones((1, len(one)), np.float32)})[0][0]
        for one in texts
    ]
    return l2_normalize(np.stack(rows))


_SPEED = """Seconds of the processor, {turns}. Texts are documentation of SciPy, cut to the length;
"same engine" compares with the dense network of the same kind. The encoder itself cuts texts at
256 tokens and runs those below the gate's shortest length in the dense network.

{{table}}""".format(turns="candidates taking turns; medians and the middle 80 % of the rounds")

_PADDING = """{n} texts of different lengths in the dense int8 network, in batches of 16. This is
free of loss and no sparsity: the encoder sorts by length anyway.

{table}"""

_QUALITY = """{sparse} against {dense}, texts of {least} to {most} tokens, searched by their titles.
Thresholds: preset I1, shift {shift:+.2f}. No text was used to fit the gate. The change is
relative, with its standard error over the queries; "margin" is what the right text's lead over
the best wrong one changes, in standard deviations.

{table}"""

_TITLES = {
    "speed": "Dynamic sparse inference: speed",
    "padding": "Dynamic sparse inference: padding",
    "quality": "Dynamic sparse inference: quality in int8",
    "quality-float": "Dynamic sparse inference: quality in float32",
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("part", nargs="*", choices=list(_TITLES), help="all if none is named")
    parser.add_argument("--queries", type=int, default=5000, help="of float32: a fourth of it")
    parser.add_argument("--max-tokens", type=int, default=256, help="where quality cuts texts")
    parser.add_argument("--packages", type=Path, default=Path(".demo") / "packages")
    args = parser.parse_args()
    folder = bundle.fetch() / "text"
    makers: dict[str, Callable[[], str]] = {
        "speed": partial(speed, folder),
        "padding": partial(padding, folder),
        "quality": partial(
            quality, folder, args.packages, DENSE8, SPARSE8, args.queries, args.max_tokens
        ),
        "quality-float": partial(
            quality, folder, args.packages, DENSE, SPARSE, args.queries // 4, args.max_tokens
        ),
    }
    for part in args.part or _TITLES:
        body = makers[part]()
        print(body)
        write_section(_TITLES[part], f"python -m benchmarks.dsre {part}", body)


if __name__ == "__main__":
    os.environ.setdefault("OMP_NUM_THREADS", "1")
    main()
