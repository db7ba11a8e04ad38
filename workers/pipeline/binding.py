"""Bind a modality to a model's space, by files and texts that belong together."""

from __future__ import annotations

import csv
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager, suppress
from dataclasses import asdict
from itertools import islice
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
from numpy.typing import NDArray

from encoder.binding import ridge
from encoder.binding.binding import Binding, FeatureOrigin
from encoder.binding.judge import BindingJudgement, FileTextPairs, held_out, judge
from encoder.binding.ridge import LinearMap, Shared
from encoder.calibration.measure import measure, sample_queries, told_apart
from encoder.errors import InputError, MediaError, ModelError
from encoder.registry import origin_of
from encoder.space import l2_normalize
from encoder.types import QUERY, TEXT, Embeddings, Item, Modality
from ingest import IngestConfig, identify, segments

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

LEAST_FILES = LEAST_TEXTS = 20
LEAST_DESCRIPTIONS = 10
"""The fewest different texts of files that are only used for judging."""
MOST_SEGMENTS = 64
"""The most segments read of one file; their mean is bound."""

OnProgress = Callable[[int, int], object]


class Pair(NamedTuple):
    file: Path
    text: str


def read_pairs(path: Path) -> list[Pair]:
    """Pairs of a CSV file with the columns ``file`` and ``text``, or of named classes.

    Args:
        path: a CSV file, whose files are relative to it; or a folder, whose subfolders name what
            is in them (``_`` and ``-`` are spaces).

    Raises:
        InputError: a column, a text or a file is missing, there are fewer than 20 files or fewer
            than two texts, or the CSV file is not in UTF-8.
    """
    pairs = _of_classes(path) if path.is_dir() else _of_csv(path)
    files, texts = ({pair[column] for pair in pairs} for column in (0, 1))
    if len(files) < LEAST_FILES or len(texts) < 2:
        raise InputError(
            str(path),
            got=f"{len(files)} files and {len(texts)} texts",
            wanted=f"at least {LEAST_FILES} files and two texts",
        )
    return pairs


def read_texts(path: Path) -> list[str]:
    """The distinct lines of a file, without blank ones.

    Raises:
        InputError: there are fewer than 20, or the file is not in UTF-8.
    """
    with _in_utf8(path):
        lines = path.read_text("utf-8-sig").splitlines()
    texts = list(dict.fromkeys(line.strip() for line in lines if line.strip()))
    if len(texts) < LEAST_TEXTS:
        got, requirement = f"{len(texts)} different lines", f"at least {LEAST_TEXTS}"
        raise InputError(str(path), got=got, wanted=requirement)
    return texts


@contextmanager
def _in_utf8(path: Path) -> Iterator[None]:
    try:
        yield
    except (UnicodeDecodeError, csv.Error) as error:
        got = f"a file that cannot be read ({error})"
        raise InputError(str(path), got=got, wanted="a text file in UTF-8") from error


def _of_classes(folder: Path) -> list[Pair]:
    files = sorted(file for file in folder.glob("*/**/*") if file.is_file())
    name = {file: file.relative_to(folder).parts[0] for file in files}
    spaces = str.maketrans("_-", "  ")
    return [Pair(file, name[file].translate(spaces).strip()) for file in files]


def _of_csv(path: Path) -> list[Pair]:
    with _in_utf8(path), path.open(encoding="utf-8-sig", newline="") as rows:
        reader = csv.DictReader(rows)
        if not {"file", "text"} <= set(reader.fieldnames or ()):
            raise InputError(
                str(path), got=f"the columns {reader.fieldnames}", wanted="file and text"
            )
        pairs = [Pair(path.parent / (row["file"] or ""), row["text"] or "") for row in reader]
    for line, pair in enumerate(pairs, 2):
        if not pair.file.is_file() or not pair.text.strip():
            got = f"{pair.file} and {pair.text!r}"
            raise InputError(f"{path}, row {line}", got=got, wanted="a file and its text")
    return pairs


def bind(
    base: MultiModalEncoder,
    modality: Modality,
    pairs: Sequence[Pair],
    config: IngestConfig,
    *,
    other: MultiModalEncoder | None = None,
    through: Sequence[str] = (),
    on_progress: OnProgress = lambda _done, _files: None,
) -> tuple[Binding, list[dict[str, str]]]:
    """Fit and judge a binding.

    Args:
        other: the model whose tower is bound; None for that of a plug-in or of ``base``.
        through: texts by whose vectors in ``other`` and in ``base`` it is fitted; then the pairs
            are only used for judging. Without any, it is fitted on the pairs.

    Returns:
        The binding, and the files that could not be read, with the reasons.

    Raises:
        InputError: nothing provides the modality, too few files can be read, or ``other`` has no
            texts that its files could be compared with.
        ModelError: the binding does not help; the message gives the figures.
    """
    origin = _origin(base, modality, other)
    features, base_rows, failed = _read(base, other or base, modality, pairs, config, on_progress)
    if len(features) < LEAST_FILES:
        got = f"{len(features)} readable files of {modality}"
        raise InputError("pairs", got=f"{got}: {failed[:1]}", wanted=f"at least {LEAST_FILES}")
    all_pairs = _paired(base, pairs, features)
    fitted, after = _fitted(base, other, all_pairs, through)
    base_matrix = None
    if base_rows:
        base_matrix = l2_normalize(np.stack([base_rows[file] for file in features]))
    judged = judge(all_pairs, base_matrix, after)
    if not judged.helps:
        raise ModelError(
            f"The binding of {modality} does not help: {_said(judged)}.",
            remedy=f"Use more {'texts' if through else 'pairs'}, with more varied files.",
        )
    figures = {**asdict(judged), "gain": list(judged.gain), "n_texts": len(through)}
    samples = sample_queries()
    sample_rows = base.encode_items([Item(TEXT, query.text, QUERY) for query in samples])
    queries, told_rows = told_apart(samples, sample_rows)
    constants = measure(queries, told_rows, {modality: after[:, None]})[modality].calibration
    return Binding(modality, base.space.fingerprint, origin, fitted, constants, figures), failed


def _fitted(
    base: MultiModalEncoder,
    other: MultiModalEncoder | None,
    pairs_known: FileTextPairs,
    through: Sequence[str],
) -> tuple[LinearMap, Embeddings]:
    """The map, and each file's row by a map that was fitted without that file."""
    if not through:
        return ridge.fit(pairs_known.features, pairs_known.targets()), held_out(pairs_known)
    if len(pairs_known.asked) < LEAST_DESCRIPTIONS:  # with two, a guess is right half of the time
        requirement = f"at least {LEAST_DESCRIPTIONS} different texts"
        raise InputError(
            "pairs", got=f"{len(pairs_known.asked)}", wanted=f"{requirement} with --through"
        )
    shared = _shared(base, other, through, pairs_known.features.shape[1])
    return shared.fit(pairs_known.features), shared.held_out(pairs_known.features)


def _shared(
    base: MultiModalEncoder, other: MultiModalEncoder | None, texts: Sequence[str], n_features: int
) -> Shared:
    if other is None or not other.brings(TEXT):
        got = f"the texts of {other.model if other else 'no model'}"
        raise InputError("--through", got=got, wanted="--with a model that also embeds texts")
    items = [Item(TEXT, text, QUERY) for text in texts]
    there, base_side = other.encode_items(items), base.encode_items(items)
    if there.shape[1] != n_features:
        got = f"{n_features} features for a file and {there.shape[1]} for a text in {other.model}"
        raise InputError("--through", got=got, wanted="vectors that can be compared with texts")
    return Shared(there, base_side)


def _origin(
    base: MultiModalEncoder, modality: Modality, other: MultiModalEncoder | None
) -> FeatureOrigin:
    source = other or base
    if modality not in source.modalities or modality == TEXT:
        got = f"{modality!r}, which {source.model} does not support"
        requirement = ", ".join(sorted(source.modalities - {TEXT}))
        raise InputError(
            "--modality", got=got, wanted=requirement or "a plug-in's, or --with a model"
        )
    if source.brings(modality):
        return FeatureOrigin(source.model, source.space.fingerprint)
    return FeatureOrigin(origin_of(modality))


def _read(
    base: MultiModalEncoder,
    source: MultiModalEncoder,
    modality: Modality,
    pairs: Sequence[Pair],
    config: IngestConfig,
    on_progress: OnProgress,
) -> tuple[dict[Path, NDArray[np.float32]], dict[Path, Embeddings], list[dict[str, str]]]:
    """Each file's features, its embedding without the binding, and what could not be read."""
    files = list(dict.fromkeys(pair.file for pair in pairs))
    features, base_rows, failed = {}, {}, []
    for done, file in enumerate(files, 1):
        try:
            contents = _contents(file, modality, config)
        except MediaError as error:
            failed.append({"file": str(file), "reason": str(error)})
        else:
            features[file] = source.features(modality, contents).mean(axis=0)
            if modality in base.modalities:
                with suppress(ModelError):  # a plug-in's tower that belongs to no space yet
                    rows = base.encode_items([Item(modality, content) for content in contents])
                    base_rows[file] = rows.mean(axis=0)
        on_progress(done, len(files))
    return features, base_rows, failed


def _contents(file: Path, modality: Modality, config: IngestConfig) -> list[Any]:
    asset = identify(file.resolve(), config)
    matching = (
        segment.content for segment in segments(asset, config) if segment.modality == modality
    )
    contents = list(islice(matching, MOST_SEGMENTS))
    if not contents:
        raise MediaError(
            f"{file} holds {asset.modality}.", remedy=f"List files that hold {modality}."
        )
    return contents


def _paired(
    base: MultiModalEncoder, pairs: Sequence[Pair], features: Mapping[Path, NDArray[np.float32]]
) -> FileTextPairs:
    read = [pair for pair in dict.fromkeys(pairs) if pair.file in features]
    texts = list(dict.fromkeys(pair.text for pair in read))
    file_at = {file: row for row, file in enumerate(features)}
    text_at = {text: row for row, text in enumerate(texts)}
    return FileTextPairs(
        np.stack(list(features.values())),
        np.array([file_at[pair.file] for pair in read]),
        np.array([text_at[pair.text] for pair in read]),
        base.encode_items([Item(TEXT, text, QUERY) for text in texts]),
    )


def _said(judged: BindingJudgement) -> str:
    figures = {"before": judged.before, "after": judged.after}
    figures_text = "; ".join(
        f"{when} R@1 {figure['recall_at_1']:.3f}, R@10 {figure['recall_at_10']:.3f}, "
        f"MRR {figure['mrr']:.3f}"
        for when, figure in figures.items()
    )
    _, low, high = judged.gain
    return (
        f"{figures_text} (n = {judged.n_pairs} queries, {judged.n_files} files held out; the gain "
        f"in MRR lies between {low:.3f} and {high:.3f})"
    )
