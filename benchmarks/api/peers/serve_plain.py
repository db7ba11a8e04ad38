"""A server in a page of code: FastAPI, sentence-transformers in torch, all rows times the query.

…/bin/python serve_plain.py MODEL ROWS STORE PORT
"""

import json
import sys
from pathlib import Path

import numpy as np
import uvicorn
from fastapi import FastAPI
from sentence_transformers import SentenceTransformer


def main(model: str, rows: str, _: str, port: str) -> None:
    """Load the rows and serve them."""
    texts = json.loads(Path(rows, "texts.json").read_text())
    vectors = np.load(Path(rows, "vectors.npy"))
    encoder = SentenceTransformer(model, device="cpu")
    app = FastAPI()

    @app.get("/search")
    def search(query: str, limit: int = 10) -> list[dict[str, object]]:
        scores = vectors @ encoder.encode(f"query: {query}", show_progress_bar=False)
        best = np.argpartition(-scores, limit)[:limit]
        best = best[np.argsort(-scores[best])]
        return [{"id": int(one), "score": float(scores[one]), "text": texts[one]} for one in best]

    uvicorn.run(app, port=int(port), log_level="warning")


if __name__ == "__main__":
    main(*sys.argv[1:])
