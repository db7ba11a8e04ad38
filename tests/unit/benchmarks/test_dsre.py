"""The parts of the DSRE benchmark that need no long run."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch

from benchmarks.dsre.bge import _dequantize
from benchmarks.dsre.long_ingest import averaged, halves
from benchmarks.dsre.product import DENSE as DENSE_E5
from benchmarks.dsre.product import EAGER as EAGER_E5
from benchmarks.dsre.product import SHIPPED, rarity, speed_rows
from benchmarks.dsre.quality import sentences, whole_sentences
from benchmarks.dsre.rates import fixed_rates
from benchmarks.dsre.speed import Bars, kept_shares, per_token
from benchmarks.dsre.subjects import DENSE, EAGER, SPARSE, SPARSE8, tokens
from benchmarks.harness.reporting import Bar
from benchmarks.harness.timing import Times
from encoder.dsre.fitting.documents import Document
from encoder.dsre.fitting.retrieval import Found, compare
from encoder.dsre.gatefile import GateFile
from encoder.dsre.settings import GateSettings
from encoder.networks.bert import BertSize, SentenceBert
from tests.support.manuals import documented, topics, without_signature


def test_manuals_ask_for_themselves() -> None:
    found = documented("numpy")
    titles = [one.title for one in found]
    assert len(found) > 300
    assert len(set(titles)) == len(titles)
    assert not any(title.startswith("add(") for title in titles)
    assert len(topics()) > 40


def test_a_documentation_without_a_call_is_left_alone() -> None:
    assert without_signature("Add two arrays.\n\nSlowly.") == "Add two arrays.\n\nSlowly."


def test_texts_are_cut(bundle_home: Path) -> None:
    found = tokens(bundle_home / "text", ["rain", "word " * 90], 64)
    assert [len(one) for one in found] == [3, 64]


def test_a_sentence_asks_from_the_part_that_is_encoded(bundle_home: Path) -> None:
    body = "The ferry left the harbour before dawn. " + "Gulls followed it far out to sea. " * 40
    texts = [Document("t", body), Document("t", "No end in it")]
    first, none = sentences(bundle_home / "text", texts, 16)
    assert (first, none) == ("The ferry left the harbour before dawn.", "")
    assert whole_sentences("Short one. And this goes on and on and") == []


def test_translations_of_a_question_do_not_pass_for_other_questions() -> None:
    margin = np.array([0.3, 0.2, 0.1])
    dense, sparse = Found(np.ones(3), margin), Found(np.array([1.0, 1.0, 0.4]), margin)
    once, often = compare(dense, sparse), compare(averaged([dense] * 4), averaged([sparse] * 4))
    assert often.ndcg == pytest.approx(once.ndcg)
    assert often.error == pytest.approx(once.error)


def test_fixed_rates_leave_the_share_that_is_asked_for() -> None:
    torch.manual_seed(0)
    size = BertSize(vocab_size=500, hidden_dim=32, ffn_dim=64, n_layers=4, n_heads=4)
    model = SentenceBert(size).eval()
    gate = GateFile(np.zeros(500, np.uint8), GateSettings((0.5,) * 4, min_tokens=8))
    ids = torch.randint(3, 500, (1, 200), generator=torch.Generator().manual_seed(0))
    with torch.inference_mode():
        fixed = fixed_rates(model, gate, ids, [1.0, 0.8, 0.8, 0.5])
    assert fixed.settings.thresholds[0] is fixed.settings.thresholds[2] is None
    shares, saving = kept_shares(model, fixed, [ids[0].numpy()])
    assert shares == pytest.approx([1.0, 0.8, 0.8, 0.5], abs=0.01)
    assert 1.1 < saving < 1.5


def test_int8_weights_become_float_again() -> None:
    arrays = {
        "w_quantized": np.array([[-2, 4], [6, 0]], np.int8),
        "w_scale": np.array([0.5, 0.25], np.float32),
        "w_zero_point": np.array([0, 4], np.int8),
    }
    assert _dequantize(arrays, "w_quantized").tolist() == [[-1.0, 0.0], [3.0, -1.0]]


def test_only_what_a_bar_is_about_is_judged() -> None:
    bars = Bars(Bar(at_least=1.3), Bar(at_least=2.6))
    assert bars.of(SPARSE, DENSE) == Bar(at_least=1.3)
    assert bars.of(SPARSE8, EAGER) == Bar(at_least=2.6)
    assert bars.of(SPARSE, EAGER) is bars.of(DENSE, EAGER) is None


def test_time_per_token_is_of_all_texts_of_a_batch() -> None:
    times = {(2, 100): Times(("a", "b"), np.array([[0.002], [0.0004]]))}
    assert per_token(times).splitlines()[2:] == ["| a | 10 |", "| b | 2 |"]


def test_only_gates_are_judged_in_the_product() -> None:
    times = Times((EAGER_E5, DENSE_E5, SHIPPED), np.array([[1.0], [0.5], [0.25]]))
    plain, dense, gate = speed_rows(times, 512)
    assert plain[3:] == ("", "")
    assert dense[3:] == ("2.00 (2.00–2.00)", "")
    assert [str(cell).partition("; ")[2] for cell in gate[3:]] == [
        "4.00 (≥ 5: missed)",
        "2.00 (≥ 1.68: met)",
    ]


def test_rare_pieces_are_rare_and_unnamed_ones_are_rarest(tmp_path: Path) -> None:
    vocab = {"model": {"vocab": [["<s>", 0.0], ["the", -4.0], ["ferry", -8.0]]}}
    (tmp_path / "tokenizer.json").write_text(json.dumps(vocab))
    (tmp_path / "config.json").write_text('{"vocab_size": 5}')
    assert rarity(tmp_path).tolist() == [0, 128, 255, 255, 255]


def test_halves_of_a_store_have_vectors_of_both_kinds() -> None:
    plain, merged = np.zeros((3, 2), np.float32), np.ones((3, 2), np.float32)
    even, odd = halves(plain, merged)
    assert even[:, 0].tolist() == [1.0, 0.0, 1.0]
    assert odd[:, 0].tolist() == [0.0, 1.0, 0.0]
