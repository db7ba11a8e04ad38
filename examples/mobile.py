"""Search pictures by words, with a folder of ``models export``, onnxruntime and numpy only.

    anymodal models export --model bundle:english phone
    python examples/mobile.py phone "a red bicycle" one.ppm two.ppm

It is what an application on a phone does; ONNX Runtime has the same calls in Kotlin and Swift. The
tokenizer is BERT's, in thirty lines; for ``bundle:multilingual`` take the library `tokenizers`.
"""

from __future__ import annotations

import hashlib
import json
import sys
import unicodedata
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import onnxruntime


class Phone:
    """The towers in a folder; refuses files that were changed."""

    def __init__(self, folder: Path) -> None:
        self.about: dict[str, Any] = json.loads((folder / "manifest.json").read_text("utf-8"))
        for name, facts in self.about["files"].items():
            if hashlib.sha256((folder / name).read_bytes()).hexdigest() != facts["sha256"]:
                raise SystemExit(f"{folder / name} is not what was written: export it again.")
        self._sessions = {
            name: onnxruntime.InferenceSession(str(folder / tower["network"]))
            for name, tower in self.about["towers"].items()
        }
        tokenizer = json.loads((folder / "tokenizer.json").read_text("utf-8"))["model"]
        if tokenizer["type"] != "WordPiece":
            raise SystemExit("This example reads bundle:english; see its first lines.")
        self._vocabulary: dict[str, int] = tokenizer["vocab"]
        self._longest_word: int = tokenizer["max_input_chars_per_word"]

    def text(self, text: str) -> Any:
        """A unit row, float32 [embed_dim]."""
        longest = self.about["towers"]["text"]["max_tokens"] - 2
        tokens = ["[CLS]", *list(self._tokens(text))[:longest], "[SEP]"]
        ids = np.array([[self._vocabulary[token] for token in tokens]], np.int64)
        feeds = {"input_ids": ids, "mask": np.ones(ids.shape, np.float32)}
        return self._sessions["text"].run(None, feeds)[0][0]

    def picture(self, rgb: Any) -> Any:
        """Unit rows [n_rows, embed_dim] of a picture, uint8 [height, width, 3]."""
        return self._sessions["image"].run(None, {"rgb": rgb})[0]

    def _tokens(self, text: str) -> Iterator[str]:
        for word in words(text):
            known = len(word) <= self._longest_word
            pieces, rest = ([], word) if known else (["[UNK]"], "")
            while rest and pieces != ["[UNK]"]:
                mark = "##" if pieces else ""
                ends = (n for n in range(len(rest), 0, -1) if mark + rest[:n] in self._vocabulary)
                end = next(ends, 0)
                pieces = [*pieces, mark + rest[:end]] if end else ["[UNK]"]
                rest = rest[end:]
            yield from pieces


def words(text: str) -> list[str]:
    """Lower-case words and punctuation marks, without accents."""
    plain = unicodedata.normalize("NFD", text.lower())
    spaced = ""
    for char in plain:
        kind = unicodedata.category(char)
        is_mark = kind[0] == "P" or (char.isascii() and char.isprintable() and not char.isalnum())
        if kind != "Mn" and (kind[0] != "C" or char.isspace()):
            spaced += f" {char} " if (is_mark and char != " ") or is_ideograph(char) else char
    return spaced.split()


def is_ideograph(char: str) -> bool:
    """Whether it is a word by itself, as Chinese characters are."""
    return "\u4e00" <= char <= "\u9fff" or "\u3400" <= char <= "\u4dbf"


def read_ppm(path: Path) -> Any:
    """A binary PPM (P6) without comments, uint8 [height, width, 3]."""
    kind, width, height, _largest, pixels = path.read_bytes().split(maxsplit=4)
    if kind != b"P6":
        raise SystemExit(f"{path} is no binary PPM: decode pictures as your platform does.")
    n_bytes = int(width) * int(height) * 3
    return np.frombuffer(pixels[-n_bytes:], np.uint8).reshape(int(height), int(width), 3)


if __name__ == "__main__":
    phone, wanted, *names = Phone(Path(sys.argv[1])), *sys.argv[2:]
    query = phone.text(wanted)
    found = {name: float((phone.picture(read_ppm(Path(name))) @ query).max()) for name in names}
    for name in sorted(names, key=lambda name: -found[name]):
        sys.stdout.write(f"{found[name]:.3f} {name}\n")
