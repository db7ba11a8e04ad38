"""A cross-encoder as a folder: it counts the tokens that question and text share."""

from pathlib import Path

import onnx
from onnx import TensorProto, helper
from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors


def write(folder: Path, words: str) -> Path:
    """Write ``model.onnx`` and ``tokenizer.json``, which knows these words."""
    known = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", *dict.fromkeys(words.lower().split())]
    tokenizer = Tokenizer(models.WordLevel({word: n for n, word in enumerate(known)}, "[UNK]"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="[CLS] $A [SEP]",
        pair="[CLS] $A [SEP] $B:1 [SEP]:1",
        special_tokens=[("[CLS]", 2), ("[SEP]", 3)],
    )
    tokenizer.save(str(folder / "tokenizer.json"))
    ints, floats = TensorProto.INT64, TensorProto.FLOAT
    nodes = [
        helper.make_node("Unsqueeze", ["input_ids", "last"], ["rows"]),
        helper.make_node("Unsqueeze", ["input_ids", "middle"], ["columns"]),
        helper.make_node("Equal", ["rows", "columns"], ["same"]),
        helper.make_node("Cast", ["same"], ["equal"], to=floats),
        helper.make_node("Greater", ["input_ids", "marks"], ["word"]),
        helper.make_node("Cast", ["word"], ["words"], to=floats),
        helper.make_node("Cast", ["token_type_ids"], ["second"], to=floats),
        helper.make_node("Sub", ["one", "second"], ["first"]),
        helper.make_node("Mul", ["first", "words"], ["asked"]),
        helper.make_node("Unsqueeze", ["asked", "last"], ["asked_rows"]),
        helper.make_node("Unsqueeze", ["second", "middle"], ["text_columns"]),
        helper.make_node("Mul", ["equal", "asked_rows"], ["half"]),
        helper.make_node("Mul", ["half", "text_columns"], ["pairs"]),
        helper.make_node("ReduceSum", ["pairs", "both"], ["shared"], keepdims=0),
        helper.make_node("Sub", ["shared", "one"], ["centred"]),
        helper.make_node("Unsqueeze", ["centred", "middle"], ["logits"]),
    ]
    constants = [
        helper.make_tensor("last", ints, [1], [2]),
        helper.make_tensor("middle", ints, [1], [1]),
        helper.make_tensor("both", ints, [2], [1, 2]),
        helper.make_tensor("marks", ints, [1], [3]),
        helper.make_tensor("one", floats, [1], [1.0]),
    ]
    given = [
        helper.make_tensor_value_info(name, ints, ["n", "length"])
        for name in ("input_ids", "token_type_ids")
    ]
    answer = [helper.make_tensor_value_info("logits", floats, ["n", 1])]
    graph = helper.make_graph(nodes, "overlap", given, answer, constants)
    made = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=10)
    onnx.save(made, folder / "model.onnx")
    return folder
