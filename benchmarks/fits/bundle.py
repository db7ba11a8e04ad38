"""Fit the constants that a bundle ships for its space, and its bank.

    python -m benchmarks.fits.bundle bundle:multilingual --pictures photos/ --texts captions.txt \
        --texts paragraphs.txt --sounds ESC-50/ --table calibration.json --bank bank.npz

Stored content is sampled from folders of pictures and sounds and from files with one text per line;
the queries and the foreign texts are the shipped ones. No labels are needed. What the table holds
of other modalities stays, and so do all constants if no content is given.

The English bundle's constants of texts and pictures were fitted by other queries, the names of
ImageNet's classes and paraphrases of ours: ``--queries imagenet_queries.txt`` of this folder, with
the pictures of `benchmarks.corpora.picture_sets` and CuPL's first three sentences of each class
(`imagenet_prompts_base.json`). This gives .0752 and .0920 for texts, .1793 and .1033 for
pictures; shipped are .075 and .092, .18 and .104.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from encoder import MultiModalEncoder
from encoder.calibration.bank import bank_of, encoded_queries, encoded_texts
from encoder.calibration.measure import (
    MAX_VECTORS,
    SampleQuery,
    constants_of,
    measure,
    sample_queries,
    told_apart,
)
from encoder.calibration.tables import read_constants, write_bank, write_constants
from encoder.config import EncoderConfig
from encoder.inputs import AudioFormat, read_argument
from encoder.space import Calibration
from encoder.types import AUDIO, IMAGE, QUERY, TEXT, Embeddings, Item, Modality

SHARE = 0.9
"""Of what a language's texts have in common, how much is taken off; see docs/decisions/0020."""
_SUFFIXES = {IMAGE: {".jpg", ".jpeg", ".png", ".webp"}, AUDIO: {".wav", ".flac", ".ogg", ".mp3"}}
_AT_ONCE = 32


def fit(
    encoder: MultiModalEncoder,
    samples: Mapping[Modality, Embeddings],
    known: Mapping[Modality, Calibration],
    own_queries: Sequence[str] = (),
) -> dict[Modality, Calibration]:
    """The constants of the samples, and those that are known of other modalities.

    Args:
        encoder: of the bundle.
        samples: by modality, unit rows [n, n_rows, embed_dim].
        known: what stays for other modalities.
        own_queries: instead of the shipped ones.
    """
    if own_queries:
        queries = [SampleQuery("en", "name", text) for text in own_queries]
        unit_rows = _rows(encoder, (Item(TEXT, text, QUERY) for text in own_queries))[:, 0]
    else:
        queries, unit_rows = told_apart(sample_queries(), encoded_queries(encoder))
    constants = dict(known)
    if TEXT in samples:
        constants[TEXT] = Calibration(share=SHARE if encoder.space.centring else 0.0)
    space = replace(encoder.space, calibration=constants)
    asked, levels = space.asked(unit_rows)
    measured = constants_of(measure(queries, asked, samples, levels[:, None]))
    for modality, by in measured.items():
        constants[modality] = replace(by, share=space.calibration_of(modality).share)
    return constants


def sampled(
    encoder: MultiModalEncoder, folders: Mapping[Modality, Path | None], texts: Sequence[Path]
) -> dict[Modality, Embeddings]:
    """At most 2,000 vectors of each modality; several files of texts contribute equally."""
    lines = [_drawn(path.read_text("utf-8").splitlines(), len(texts)) for path in texts]
    items: dict[Modality, Iterator[Item]] = {
        TEXT: (Item(TEXT, line) for of_file in lines for line in of_file)
    }
    for kind, folder in folders.items():
        if folder:
            items[kind] = _media(kind, folder)
    found = {kind: _rows(encoder, of_kind) for kind, of_kind in items.items()}
    return {kind: rows for kind, rows in found.items() if len(rows)}


def _drawn(values: Sequence[str], n_sets: int = 1) -> list[str]:
    kept = sorted(filter(None, values))
    order = np.random.default_rng(0).permutation(len(kept))[: MAX_VECTORS // n_sets]
    return [kept[place] for place in sorted(order)]


def _media(kind: Modality, folder: Path) -> Iterator[Item]:
    files = [str(path) for path in folder.rglob("*") if path.suffix.lower() in _SUFFIXES[kind]]
    for name in _drawn(files):
        yield from read_argument(kind, name, AudioFormat()).items


def _rows(encoder: MultiModalEncoder, items: Iterator[Item]) -> Embeddings:
    rows: list[Embeddings] = []
    while batch := list(islice(items, _AT_ONCE)):
        rows += encoder.encode_rows(batch)
    return np.stack(rows) if rows else np.empty((0, 1, encoder.embed_dim), np.float32)


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").partition("\n")[0])
    parser.add_argument("model")
    parser.add_argument("--pictures", type=Path)
    parser.add_argument("--sounds", type=Path)
    parser.add_argument("--texts", type=Path, action="append", default=[])
    parser.add_argument("--queries", type=Path, help="one a line, instead of the shipped ones")
    parser.add_argument("--table", type=Path, required=True, help="read, unless new, and written")
    parser.add_argument("--bank", type=Path, required=True, help="written")
    args = parser.parse_args()
    encoder = MultiModalEncoder(
        args.model, quantization="int8", config=EncoderConfig(n_threads=1), enable_dsre=False
    )
    samples = sampled(encoder, {IMAGE: args.pictures, AUDIO: args.sounds}, args.texts)
    known = read_constants(args.table) if args.table.exists() else {}
    asked = args.queries.read_text("utf-8").splitlines() if args.queries else []
    constants = fit(encoder, samples, known, asked) if samples else known
    write_constants(args.table, constants)
    space = replace(encoder.space, calibration=constants)
    write_bank(args.bank, bank_of(encoded_texts(encoder), encoded_queries(encoder), space))
    print(constants)


if __name__ == "__main__":
    main()
