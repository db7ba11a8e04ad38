"""How near the towers of the bundles come to what one core can do, measured alongside.

ONNX Runtime's profile names the shapes that each operator ran on, from which the multiplications
and additions of products and convolutions are counted. What the core can do is measured in that
process too: products of large matrices in float32 (OpenBLAS) and int8 (ONNX Runtime), and a copy of
256 MB. All in CPU-seconds on one thread. Not counted: attention that is one operator, and what
CTranslate2 runs (Whisper).
"""

from __future__ import annotations

import gc
import json
import os
import sys
import tempfile
from collections.abc import Iterable, Mapping, Sequence
from itertools import count
from math import prod
from pathlib import Path
from time import process_time
from typing import TYPE_CHECKING, Any

import numpy as np

from benchmarks.harness.reporting import in_own_process
from benchmarks.harness.results_pages import table, write_section

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from encoder.types import Item

_SIDE, _COPIED_BYTES, _ROUNDS = 1024, 2**28, 5
_INT8, _RAN = {"int8", "uint8"}, "_kernel_time"
Nodes = Iterable[Mapping[str, Any]]


def operations(nodes: Nodes, kernels: Mapping[str, int]) -> dict[str, float]:
    """Multiplications and additions of products and convolutions, by ``float32`` and ``int8``.

    Args:
        nodes: events of ONNX Runtime's profile.
        kernels: how many weights each number of a convolution's output takes, by the node's name.
    """
    found = {"float32": 0.0, "int8": 0.0}
    for node in nodes:
        name, facts = str(node.get("name", "")), node.get("args", {})
        kind = facts.get("op_name", "")
        inputs = [pair for one in facts.get("input_type_shape", ()) for pair in one.items()]
        outputs = [shape for one in facts.get("output_type_shape", ()) for shape in one.values()]
        if not name.endswith(_RAN) or not inputs or not outputs:
            continue
        each = kernels.get(name.removesuffix(_RAN), 0)
        if "MatMul" in kind or kind.endswith("Gemm"):
            each = inputs[0][1][-1]
        is_int8 = any(type_ in _INT8 for type_, _ in inputs)
        found["int8" if is_int8 else "float32"] += 2 * prod(outputs[0]) * each
    return found


def kernels(path: Path) -> dict[str, int]:
    """How many weights each number of a convolution's output takes, by the node's name."""
    import onnx

    graph = onnx.load(path, load_external_data=False).graph
    dims = {one.name: list(one.dims) for one in graph.initializer}
    convolutions = [node for node in graph.node if "Conv" in node.op_type]
    return {
        node.name: prod(dims[node.input[3 if node.op_type == "QLinearConv" else 1]][1:])
        for node in convolutions
    }


def peaks() -> dict[str, float]:
    """Operations a second in ``float32`` and ``int8``, and ``bytes`` copied a second."""
    import onnxruntime
    from onnx import TensorProto, helper

    square = (_SIDE, _SIDE)
    left = np.random.default_rng(0).normal(size=square).astype(np.float32)
    data = left.astype(np.int8).tobytes()
    weights = helper.make_tensor("b", TensorProto.INT8, square, data, raw=True)
    graph = helper.make_graph(
        [helper.make_node("MatMulInteger", ["a", "b"], ["c"])],
        "product",
        [helper.make_tensor_value_info("a", TensorProto.UINT8, square)],
        [helper.make_tensor_value_info("c", TensorProto.INT32, square)],
        [weights],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    options = onnxruntime.SessionOptions()
    options.intra_op_num_threads = 1
    session = onnxruntime.InferenceSession(model.SerializeToString(), options)
    small = left.astype(np.uint8)
    source, target = np.ones(_COPIED_BYTES, np.uint8), np.zeros(_COPIED_BYTES, np.uint8)
    return {
        "float32": 2 * _SIDE**3 / _least_s(lambda: left @ left),
        "int8": 2 * _SIDE**3 / _least_s(lambda: session.run(None, {"a": small})),
        "bytes": 2 * _COPIED_BYTES / _least_s(lambda: np.copyto(target, source)),
    }


def _least_s(run: Any) -> float:
    times = []
    for _ in range(_ROUNDS + 1):
        start = process_time()
        run()
        times.append(process_time() - start)
    return min(times[1:])


def measure(bundle: str, content: str) -> dict[str, float]:
    """CPU-seconds and operations an item, and what the core can do."""
    from benchmarks.towers.throughput import CONTENT

    items = CONTENT[content]()
    plain = _opened(bundle)
    seconds = _least_s(lambda: plain.encode_items(items))
    found = _counted(bundle, items)
    n = len(items)
    able = {f"peak_{name}": value for name, value in peaks().items()}
    return {"cpu_s": seconds / n, **{kind: ran / n for kind, ran in found.items()}, **able}


def _opened(bundle: str) -> MultiModalEncoder:
    from encoder import MultiModalEncoder
    from encoder.config import EncoderConfig

    config = EncoderConfig(n_threads=1)
    name = f"bundle:{bundle}"
    return MultiModalEncoder(name, quantization="int8", enable_dsre=False, config=config)


def _counted(bundle: str, items: Sequence[Item]) -> dict[str, float]:
    """The operations of a run, by an encoder whose sessions write profiles."""
    from encoder.runtime import onnx

    made, found = onnx.session_options, {"float32": 0.0, "int8": 0.0}
    with tempfile.TemporaryDirectory() as folder:
        numbers = count()

        def profiled(n_threads: int | None = None) -> Any:
            options = made(n_threads)
            options.enable_profiling = True
            options.profile_file_prefix = f"{folder}/{next(numbers)}"
            return options

        onnx.session_options = profiled
        watched = _opened(bundle)
        watched.encode_items(items)
        onnx.session_options = made
        sessions = [one for one in gc.get_objects() if isinstance(one, onnx.OnnxSession)]
        for session in [one._session for one in sessions]:
            if not session.get_session_options().enable_profiling:
                continue
            nodes = json.loads(Path(session.end_profiling()).read_text())
            for kind, ran in operations(nodes, kernels(Path(session._model_path))).items():
                found[kind] += ran
    return found


def main() -> None:
    """Measure, print and write the section."""
    if len(sys.argv) == 3:
        print(json.dumps(measure(*sys.argv[1:])))
        return
    contents = ("texts of 32 tokens", "pictures", "sounds")
    rows = [
        _row(bundle, content, in_own_process("benchmarks.towers.limits", bundle, content))
        for bundle in ("english", "multilingual")
        for content in contents
    ]
    about = (__doc__ or "").partition("\n")[2].strip()
    load = f"Batches of 32, with what prepares them; load of the machine {os.getloadavg()[0]:.0f}."
    body = "\n\n".join([about, load, table(_HEAD, rows)])
    print(body)
    write_section("Towers and the processor's limit", "make bench-profile", body)


_HEAD = (
    *("bundle", "content", "GFLOP an item", "of them int8, %", "CPU-ms", "CPU-ms at the limit"),
    *("distance", "float32 GFLOP/s", "int8 GOP/s", "copied GB/s"),
)


def _row(bundle: str, content: str, found: Mapping[str, float]) -> list[str]:
    all_ = found["float32"] + found["int8"]
    least_s = sum(found[kind] / found[f"peak_{kind}"] for kind in ("float32", "int8"))
    return [
        bundle,
        content,
        f"{all_ / 1e9:.3f}",
        f"{100 * found['int8'] / all_:.0f}",
        f"{1e3 * found['cpu_s']:.2f}",
        f"{1e3 * least_s:.2f}",
        f"{found['cpu_s'] / least_s:.1f}",
        *(f"{found[f'peak_{name}'] / 1e9:.0f}" for name in ("float32", "int8", "bytes")),
    ]


if __name__ == "__main__":
    main()
