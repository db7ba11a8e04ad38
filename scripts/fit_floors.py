"""Fit the floors that a bundle ships, and, with ``--constants``, the constants too.

    python -m scripts.fit_floors bundle:english --pictures photos/ --texts captions.txt \
        --texts paragraphs.txt --sounds ESC-10/ --table calibration.json

Stored content is sampled from folders of pictures and sounds and from files with one text per line;
the queries are the shipped ones and what `encoder.calibration.floors.nonsense` makes of them. No
labels are needed. What the table holds of other modalities stays. With your own data you get floors
for your own model.
"""

from __future__ import annotations

import argparse
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import islice
from pathlib import Path

import numpy as np

from encoder import MultiModalEncoder
from encoder.calibration.floors import CalibrationQueries, measure_floors, nonsense
from encoder.calibration.measure import (
    MAX_VECTORS,
    SampleQuery,
    constants_of,
    measure,
    sample_queries,
    told_apart,
)
from encoder.calibration.tables import CalibrationTable, read_table, write_table
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
    known: CalibrationTable,
    *,
    with_constants: bool,
) -> CalibrationTable:
    """Floors for the samples, by the constants that are known or by measured ones.

    Args:
        encoder: of the bundle.
        samples: by modality, unit rows [n, n_rows, embed_dim].
        known: what stays for other modalities, and, without ``with_constants``, the constants.
        with_constants: whether to measure constants.
    """
    queries, unit_rows = told_apart(sample_queries(), _encoded(encoder, sample_queries()))
    constants = dict(known.constants)
    if with_constants and TEXT in samples:
        constants[TEXT] = Calibration(share=SHARE if encoder.space.centring else 0.0)
    space = replace(encoder.space, calibration=constants)
    if with_constants:
        asked, levels = space.asked(unit_rows)
        measured = constants_of(measure(queries, asked, samples, levels[:, None]))
        for modality, by in measured.items():
            constants[modality] = replace(by, share=space.calibration_of(modality).share)
    empty = nonsense(queries)
    passages = encoder.encode_items([Item(TEXT, query.text) for query in queries])
    kinds = [query.kind for query in empty]
    encoded = CalibrationQueries(unit_rows, passages, kinds, _encoded(encoder, empty), space)
    floors = measure_floors(encoded, samples, constants)
    return replace(known, constants=constants, floors={**known.floors, **floors})


def _encoded(encoder: MultiModalEncoder, queries: Sequence[SampleQuery]) -> Embeddings:
    return encoder.encode_items([Item(TEXT, query.text, QUERY) for query in queries])


def sampled(
    encoder: MultiModalEncoder, folders: Mapping[Modality, Path | None], texts: Sequence[Path]
) -> dict[Modality, Embeddings]:
    """At most 2,000 vectors of each modality; several files of texts contribute equally."""
    lines = [_drawn(path.read_text("utf-8").splitlines(), len(texts)) for path in texts]
    items = {TEXT: (Item(TEXT, line) for of_file in lines for line in of_file)}
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
    parser.add_argument("--table", type=Path, required=True, help="read, unless new, and written")
    parser.add_argument("--constants", action="store_true", help="fit mu and c as well")
    args = parser.parse_args()
    encoder = MultiModalEncoder(
        args.model, quantization="int8", config=EncoderConfig(n_threads=1), enable_dsre=False
    )
    samples = sampled(encoder, {IMAGE: args.pictures, AUDIO: args.sounds}, args.texts)
    known = read_table(args.table) if args.table.exists() else CalibrationTable({}, {})
    table = fit(encoder, samples, known, with_constants=args.constants)
    write_table(args.table, table)
    print(table)


if __name__ == "__main__":
    main()
