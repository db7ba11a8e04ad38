"""The multilingual bundle's text network in a hub's format, which other libraries can open."""

from __future__ import annotations

from itertools import cycle
from pathlib import Path
from shutil import copy
from typing import Any

from encoder.models.bundle.declaration import location, read_bundle
from encoder.networks.bert import load_sentence_bert
from encoder.onnx.bert import rename_weights

FOLDER = Path(".demo/encoders")
"""Where models are kept."""

_WORDS = (
    "a red boat lies on the quiet lake while two children feed some hungry ducks near the old "
    "wooden bridge and a dog waits in the rain for bread that nobody has brought from the market"
).split()
_BATCH = 32


def texts_of(folder: Path) -> dict[str, list[str]]:
    """The texts to encode, by name; lengths include special tokens and the prompt.

    Args:
        folder: of the model whose tokenizer counts the tokens.
    """
    from tokenizers import Tokenizer

    tokenizer = Tokenizer.from_file(str(folder / "tokenizer.json"))
    short = [_text(tokenizer, 32, number) for number in range(_BATCH)]
    return {
        "text of 32 tokens": short[:1],
        "text of 256 tokens": [_text(tokenizer, 256, 0)],
        f"{_BATCH} texts of 32 tokens": short,
    }


def _text(tokenizer: Any, n_tokens: int, number: int) -> str:
    """A passage of as many words as fit, different for each number."""
    text = f"passage: {number}"
    for word in cycle(_WORDS[number % 7 :] + _WORDS):
        longer = f"{text} {word}"
        if len(tokenizer.encode(longer).ids) > n_tokens:
            return text
        text = longer
    raise AssertionError


def saved_e5() -> Path:
    """The folder of multilingual-e5-small in float32, in sentence-transformers' format.

    Saved in ``.demo/encoders/texts`` unless it exists.
    """
    folder = FOLDER / "texts" / "source"
    if folder.exists():
        return folder
    from sentence_transformers import SentenceTransformer
    from sentence_transformers.base.modules import Normalize, Transformer
    from sentence_transformers.sentence_transformer.modules import Pooling

    partial = folder.with_suffix(".partial")
    _save_network(partial / "network")
    network = Transformer(str(partial / "network"))
    modules = [network, Pooling(network.get_embedding_dimension()), Normalize()]
    SentenceTransformer(modules=modules, device="cpu").save_pretrained(
        str(partial), create_model_card=False
    )
    partial.rename(folder)
    return folder


def _save_network(folder: Path) -> None:
    import transformers

    source = location(read_bundle("multilingual")) / "text"
    ours = load_sentence_bert(source)
    size = ours.size
    config = transformers.BertConfig(
        vocab_size=size.vocab_size,
        hidden_size=size.hidden_dim,
        intermediate_size=size.ffn_dim,
        num_hidden_layers=size.n_layers,
        num_attention_heads=size.n_heads,
        max_position_embeddings=size.n_positions,
        layer_norm_eps=size.norm_eps,
        pad_token_id=1,
    )
    theirs = transformers.BertModel(config, add_pooling_layer=False)
    names = rename_weights({name: name for name in theirs.state_dict()}, size.n_layers)
    weights = ours.state_dict()
    theirs.load_state_dict({name: weights[our_name] for our_name, name in names.items()})
    theirs.save_pretrained(folder)
    copy(source / "tokenizer.json", folder)
    marks = {"pad_token": "<pad>", "unk_token": "<unk>", "cls_token": "<s>", "sep_token": "</s>"}
    transformers.PreTrainedTokenizerFast(
        tokenizer_file=str(folder / "tokenizer.json"), model_max_length=size.n_positions, **marks
    ).save_pretrained(folder)
