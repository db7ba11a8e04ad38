"""txtai's API over texts that have vectors already. Imports nothing from this project.

…/bin/python serve_txtai.py MODEL ROWS STORE PORT
"""

import json
import os
import sys
from pathlib import Path

import numpy as np
import uvicorn
from txtai import Embeddings  # type: ignore[import-not-found]


def main(model: str, rows: str, store: str, port: str) -> None:
    """Fill an index, then serve it with the model for queries."""
    texts = json.loads(Path(rows, "texts.json").read_text())
    vectors = iter(np.load(Path(rows, "vectors.npy")))
    embeddings = Embeddings(
        method="external",
        transform=lambda some: np.stack([next(vectors) for _ in some]),
        content=True,
    )
    embeddings.index((number, text, None) for number, text in enumerate(texts))
    del embeddings.config["transform"]
    embeddings.config.update(
        method="transformers", path=model, instructions={"query": "query: ", "data": "passage: "}
    )
    embeddings.save(store)
    settings = Path(store, "api.yml")
    # without `embeddings` it has no route for them
    facts = {"path": store, "writable": False, "embeddings": {"path": model}}
    settings.write_text(json.dumps(facts))
    os.environ["CONFIG"] = str(settings)
    uvicorn.run("txtai.api:app", port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
