"""A script of 60 lines: one file after the other, one vector each, the bundle's towers in torch.

python -m benchmarks.products.plain MODEL FOLDER STORE QUESTIONS
"""

from __future__ import annotations

import json
import re
import sys
from pathlib import Path
from typing import Any

import numpy as np

from benchmarks.harness.torch_towers import torch_model
from benchmarks.products.peers import wait
from encoder.media.image import load_image
from encoder.media.sound import load_sound
from encoder.types import AUDIO, IMAGE, TEXT, Modality


def read(path: Path) -> tuple[Modality, Any]:
    """What a file holds; KeyError if this script has no way to read it."""
    if path.suffix == ".pdf":
        import pypdfium2

        return TEXT, "\n".join(
            page.get_textpage().get_text_bounded() for page in pypdfium2.PdfDocument(path)
        )
    if path.suffix == ".docx":
        from docx import Document

        return TEXT, "\n".join(one.text for one in Document(str(path)).paragraphs)
    if path.suffix == ".html":
        return TEXT, re.sub("<[^>]*>", " ", path.read_text())
    if path.suffix in (".txt", ".md"):
        return TEXT, path.read_text()
    return {".jpg": (IMAGE, load_image), ".ogg": (AUDIO, load_sound)}[path.suffix][0], (
        load_image(path) if path.suffix == ".jpg" else load_sound(path)
    )


def main(_: str, folder: str, store: str, questions: str) -> None:
    """Ingest, then answer by cosine."""
    model, names, rows, unread = torch_model("english"), [], [], []
    wait("opened")
    for path in sorted(Path(folder).iterdir()):
        try:
            modality, content = read(path)
        except KeyError:
            unread.append(path.name)
            continue
        tower = model.towers[modality]
        rows.append(tower.forward([tower.prepare(content)]).rows[0])
        names.append(path.name)
    np.save(Path(store) / "rows.npy", np.stack(rows))
    wait("stored")
    stored, text, found = np.load(Path(store) / "rows.npy"), model.towers[TEXT], {}
    for kind, asked in json.loads(Path(questions).read_text()).items():
        found[kind] = []
        for question, _answers in asked:
            scores = stored @ text.forward([text.prepare(question)]).rows[0]
            found[kind].append([names[place] for place in np.argsort(-scores)[:10]])
    print(json.dumps({"unread": unread, "found": found}))


if __name__ == "__main__":
    main(*sys.argv[1:])
