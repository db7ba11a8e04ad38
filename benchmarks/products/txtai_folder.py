"""txtai: Textractor reads, Embeddings stores. Imports nothing from this project.

…/bin/python txtai_folder.py MODEL FOLDER STORE QUESTIONS
"""

import json
import sys
from pathlib import Path

from txtai import Embeddings  # type: ignore[import-not-found]
from txtai.pipeline import Textractor  # type: ignore[import-not-found]

N_ROWS = 30
"""How many rows are asked for, to get ten files."""


def main(model: str, folder: str, store: str, questions: str) -> None:
    """Ingest, then answer."""
    embeddings = Embeddings(path=model, method="transformers", content=True, objects=False)
    textractor = Textractor(paragraphs=True)
    wait("opened")
    rows, unread = [], []
    for path in sorted(Path(folder).iterdir()):
        try:
            plain = path.suffix in (".txt", ".md")
            parts = path.read_text().split("\n\n") if plain else textractor(str(path))
        except Exception as error:  # noqa: BLE001  # each of its readers raises its own
            print(path.name, repr(error), file=sys.stderr)
            parts = []
        rows += [(f"{path.name}#{n}", part, None) for n, part in enumerate(parts) if part.strip()]
        unread += [] if parts else [path.name]
    embeddings.index(rows)
    embeddings.save(store)
    wait("stored")
    embeddings.search("a", 1)
    found = {
        kind: [files(embeddings, question) for question, _ in asked]
        for kind, asked in json.loads(Path(questions).read_text()).items()
    }
    print(json.dumps({"unread": unread, "found": found}))


def files(embeddings: Embeddings, question: str) -> list[str]:
    """The names of the first ten files."""
    hits = embeddings.search(question, N_ROWS)
    return list(dict.fromkeys(hit["id"].split("#")[0] for hit in hits))[:10]


def wait(mark: str) -> None:
    """Let the measuring process take its figures."""
    print(mark, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
