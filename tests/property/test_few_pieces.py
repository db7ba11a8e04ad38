"""A short text is cut into the same tokens by the few pieces that occur in it as by all of them."""

from __future__ import annotations

import sqlite3
from contextlib import closing
from io import BytesIO
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from sentencepiece import SentencePieceProcessor, SentencePieceTrainer

from encoder.models.bundle.kinds import PIECES
from encoder.system.cache import machine_cache
from encoder.towers.sentence_pieces import FewPieces, SentencePieces, open_few

SENTENCES = (
    "Zwölf Boxkämpfer jagen Viktor quer über den großen Sylter Deich.",
    "敏捷的棕色狐狸跳过了懒狗。ｆｕｌｌ　ｗｉｄｔｈ", "いろはにほへと ちりぬるを",
    "키스의 고유조건은 입술끼리 만나야", "Съешь ещё этих мягких булок", "نص حكيم له سر قاطع",
    "ऋषियों को सताने वाले", "Ξεσκεπάζω την ψυχοφθόρα", "เป็นมนุษย์สุดประเสริฐ กินข้าวหรือยัง",
    "naïve cafe\u0301\tand\n\nmany   spaces …", "x = [1, 2, 3]; print(f'{x!r}')  # ½ ™ ﬁ",
    "🦊🦊 👩‍👩‍👧 𐍈 ꙮ unknown", "a\u0300\u0316\u0489 z\u200d\u200b\ufeff\u00ad",
    "<s> </s> <unk> <pad> ▁▁ <0x41>",
    "\x00\x01\x1b[31m\x7f\x85\u2028", "", " ", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa",
    "query: how to bake a loaf of bread",
)  # fmt: skip

WORDS = sorted({word for sentence in SENTENCES for word in sentence.split(" ")})
TEXTS = st.one_of(
    st.text(max_size=60),
    st.lists(st.sampled_from(WORDS) | st.text(max_size=3), max_size=12).map(" ".join),
    st.text(st.characters(categories=["Mn", "Cc", "Zs", "So", "Lo"]), max_size=40),
)


@pytest.fixture(scope="module", params=[True, False], ids=["bytes", "unknown"])
def model(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A model of our sentences; unknown characters become bytes, or the unknown token."""
    written = BytesIO()
    SentencePieceTrainer.train(
        sentence_iterator=iter(SENTENCES * 20),
        model_writer=written,
        vocab_size=600,
        byte_fallback=request.param,
        hard_vocab_limit=False,
        user_defined_symbols=["cafe", "🦊"],
        minloglevel=2,
    )
    path = tmp_path_factory.mktemp("model") / "tokens.model"
    path.write_bytes(written.getvalue())
    return path


def opened(model: Path, folder: Path) -> FewPieces:
    few = open_few(model, folder)
    assert few is not None
    return few


def agree(model: Path, few: FewPieces) -> None:
    whole = SentencePieceProcessor(model_file=str(model), add_bos=True, add_eos=True)
    for text in SENTENCES:
        assert few.encode(text) == whole.encode(text), text

    @settings(max_examples=50)
    @given(TEXTS)
    def same(text: str) -> None:
        assert few.encode(text) == whole.encode(text)

    same()


def test_a_small_model(model: Path) -> None:
    agree(model, opened(model, model.parent))


@pytest.mark.slow
def test_the_bundle(e5_folder: Path) -> None:
    model = e5_folder / PIECES
    agree(model, opened(model, machine_cache() / "pieces"))


def test_a_table_is_written_once(model: Path, tmp_path: Path) -> None:
    opened(model, tmp_path)
    (table,) = tmp_path.glob("*.sqlite")
    before = table.stat().st_ino
    opened(model, tmp_path)
    assert table.stat().st_ino == before


@pytest.mark.parametrize("n_bytes", [0, 100, 4096])
def test_a_damaged_table_is_written_again(model: Path, tmp_path: Path, n_bytes: int) -> None:
    wanted = opened(model, tmp_path).encode(SENTENCES[0])
    (table,) = tmp_path.glob("*.sqlite")
    table.write_bytes(table.read_bytes()[:n_bytes])
    assert opened(model, tmp_path).encode(SENTENCES[0]) == wanted


def test_damage_that_is_met_late_costs_no_text(model: Path, tmp_path: Path) -> None:
    wanted = SentencePieces(model).encode(SENTENCES[0])
    tokens = SentencePieces(model, tmp_path)
    (table,) = tmp_path.glob("*.sqlite")
    with closing(sqlite3.connect(table)) as rows, rows:
        rows.execute("DROP TABLE pieces")
    assert tokens.encode(SENTENCES[0]) == wanted
    assert not table.exists()


def test_many_texts_and_long_ones_are_cut_by_the_whole_model(
    model: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    plain, texts = SentencePieces(model), [*SENTENCES, "a long text " * 100, *SENTENCES]
    tokens = SentencePieces(model, tmp_path)
    few: list[str] = []
    cut = FewPieces.encode

    def noted(self: FewPieces, text: str) -> list[int] | None:
        few.append(text)
        return cut(self, text)

    monkeypatch.setattr(FewPieces, "encode", noted)
    assert [tokens.encode(text) for text in texts] == [plain.encode(text) for text in texts]
    assert few == list(SENTENCES[:16])


def test_where_nothing_can_be_written_the_whole_model_serves(
    model: Path, tmp_path: Path, caplog: pytest.LogCaptureFixture
) -> None:
    file = tmp_path / "file"
    file.touch()
    assert SentencePieces(model, file).encode("cafe") == SentencePieces(model).encode("cafe")
    assert "cannot be kept in" in caplog.text
