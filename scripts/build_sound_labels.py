"""Build `encoder/models/bundle/tables/sound_labels.npz`: names of sounds.

    python scripts/build_sound_labels.py --bundle ~/.cache/anymodal/bundle/default-v1 \\
        --packages FOLDER --work FOLDER     # which packages: see scripts/sound_corpus.py
    python scripts/build_sound_labels.py --e5 --bundle ~/.cache/anymodal/bundle/multilingual …
    python scripts/build_sound_labels.py --names --bundle ~/.cache/anymodal/bundle/multilingual
    python scripts/build_sound_labels.py --classes [--e5] --bundle …

The audio tower names a sound and represents it by the mean of its names' embeddings.

*YAMNet's classes* (``--classes``: ``sound_classes.npz``, ``sound_classes_e5.npz``). Each has a
short phrase in six languages (``scripts/sound_labels.tsv``). Class c of a group of languages is at

    C_c = L2(sum over languages (e(phrase) - mean of e over the classes))

and a sound with scores S at L2(S C (CᵀC + λ tr(CᵀC)/d I)⁻¹), λ = 3, less what all classes of a
language share: by least squares, its products with C are then as near to S as may be. Scenes, noise
and silence have no weight, classes that hold others .3. In e5's space English, German and Chinese
make the first row, French, Spanish and Russian the second. In one row of six, German would lose
.05 of its mAP over animals' names; without the second, French has .51 instead of .71. In MiniLM's
space there is English.

*Categories.* Those of the Universal Category System (UCS); ``scripts/ucs_categories.tsv`` gives
each a short name and phrases for what one hears. Category c is

    u_c = L2(e(name) + e("name: phrase, phrase, …") + L2(mean e(phrase)))

where e is the text tower (all-MiniLM-L6-v2, mean-pooled, unit length). The network's two
classifiers lack some categories; which ones they are is not documented and was inferred from what
each class responds to.

*The sound head.* Softmax regression from the features of `encoder.towers.audio.labels` to the
names in ``scripts/sound_sources.tsv`` (recordings) and `sound_recipes` (made here). Each
recording is used three times, twice with a different speed, tilt, level and noise. Classes are
weighted by the square root of their size.

In MiniLM's table, the head was fitted with features of a speech model too, which are no longer
read: see `encoder.towers.audio.labels`.

*In e5's space* (``sounds_e5.npz``) names are documents, less the direction that all texts share.
The head's names are given in three languages (``scripts/sound_names.tsv``): each is the mean over
the languages, less what all names of a language share. ``--names`` embeds the names again and keeps
the fitted head.

The same inputs give the same table on the same machine.
"""

from __future__ import annotations

import argparse
import hashlib
import sys
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import SOUND_LABELS, TABLES
from encoder.space import l2_normalize
from encoder.towers.audio.labels import sound_features, standardize
from encoder.towers.base import Tower
from encoder.types import Embeddings, Waveform

HERE = Path(__file__).parent
sys.path.insert(0, str(HERE))

import sound_corpus  # noqa: E402
from sound_recipes import SOUNDS  # noqa: E402

TABLE, E5_TABLE = SOUND_LABELS, TABLES / "sounds_e5.npz"
CLASSES, E5_CLASSES = TABLES / "sound_classes.npz", TABLES / "sound_classes_e5.npz"
# Columns of sound_labels.tsv, by row.
E5_GROUPS = ((0, 1, 2), (3, 4, 5))
# Silence, sound effects, scenes, echo, noise, distortion, throbbing, field recordings.
UNHEARD = (494, 498, *range(500, 510), *range(511, 518), 520)
# Speech, hands, animals, music, vehicles, mechanisms, tools, liquid: what others belong to.
BROAD, BROAD_WEIGHT = (0, 56, 67, 68, 81, 103, 132, 133, 294, 300, 398, 412, 438), 0.3
RIDGE = 3.0
# Of the row of the other lists: of 0, .25, .5, .7 and 1 the best mAP on half of ESC-50's classes.
NAMES_SHARE = 0.7
# Of .25, .5, .75 and 1: the best mean on ESC-50's classes outside ESC-10, by name and sentence.
HEAD_SHARE = 0.5
LACKING = (
    frozenset({"ARCHIVED", "CHAINS", "LEATHER", "WINDOWS"}),
    frozenset({"ARCHIVED", "FOLEY", "LEATHER"}),
)

_BLOCKS_AT_ONCE = 4

Encode = Callable[[Sequence[str]], Embeddings]
Table = dict[str, NDArray[np.generic]]
Hear = Callable[[Waveform], NDArray[np.float32]]


def read_rows(path: Path) -> list[tuple[str, ...]]:
    """The tab-separated rows of a file; lines that start with ``#`` are comments."""
    lines = path.read_text("utf-8").splitlines()
    return [tuple(line.split("\t")) for line in lines if line and not line.startswith("#")]


def embed_category(encode: Encode, name: str, description: str) -> NDArray[np.float32]:
    """The embedding of one category, float32 [embed_dim]."""
    phrases = [phrase.strip() for phrase in description.split("|")]
    alone, together = encode([name, f"{name}: {', '.join(phrases)}"])
    return l2_normalize(alone + together + l2_normalize(encode(phrases).mean(axis=0)))


def ucs_table(encode: Encode, rows: Sequence[tuple[str, ...]]) -> dict[str, NDArray[np.generic]]:
    """The arrays that concern the UCS categories."""
    embeddings = np.stack([embed_category(encode, name, text) for _, name, text in rows])
    table: dict[str, NDArray[np.generic]] = {
        "ucs_embeddings": embeddings.astype(np.float16),
        "ucs_names": np.array([name for name, *_ in rows]),
    }
    for head, lacking in enumerate(LACKING):
        columns = [i for i, (name, *_) in enumerate(rows) if name not in lacking]
        table[f"ucs_columns_{head}"] = np.array(columns, np.int16)
    return table


@dataclass(frozen=True)
class Example:
    """A sound to learn from, and what one hears in it."""

    label: str
    load: Callable[[], Waveform]


def synthetic_examples(n_each: int = 8) -> list[Example]:
    """Made sounds, always the same."""

    return [
        Example(label, partial(synthesize, index, copy))
        for index, label in enumerate(SOUNDS)
        for copy in range(n_each)
    ]


def synthesize(index: int, copy: int) -> Waveform:
    """One recipe's sound, at half the full level."""
    samples = list(SOUNDS.values())[index](np.random.default_rng([index, copy]))
    scaled = 0.5 * samples / np.abs(samples).max()
    return Waveform(scaled.astype(np.float32), sound_corpus.RATE)


def recorded_examples(folder: Path, rows: Sequence[tuple[str, ...]]) -> list[Example]:
    """The recordings, each as it is and in two variants; the first matching row names a file."""
    labels: dict[Path, str] = {}
    for pattern, label in rows:
        found = sorted(folder.glob(pattern))
        if not found:
            raise FileNotFoundError(f"No sound matches {pattern} in {folder}.")
        for path in found:
            labels.setdefault(path, label)
    return [
        Example(label, partial(read_variant, path, variant))
        for path, label in labels.items()
        for variant in range(3)
    ]


def read_variant(path: Path, variant: int) -> Waveform:
    """The first 12 s of a file, changed as `vary` does."""
    sound = load_sound(path)
    start = Waveform(sound.samples[: 12 * sound.sampling_rate], sound.sampling_rate)
    return vary(start, f"{path.parent.name}/{path.name}", variant)


def vary(sound: Waveform, name: str, variant: int) -> Waveform:
    """The sound with a different speed, tilt, level and background; variant 0 is unchanged."""
    if variant == 0:
        return sound
    seed = int(hashlib.sha256(name.encode()).hexdigest()[:8], 16)
    rng = np.random.default_rng([seed, variant])
    rate = int(sound.sampling_rate * rng.uniform(0.85, 1.18))
    samples = sound.samples.astype(np.float64)
    if rng.random() < 0.5:
        samples[1:] -= rng.uniform(-0.6, 0.6) * samples[:-1]
    samples *= rng.uniform(0.1, 0.9) / max(1e-6, np.abs(samples).max())
    background = rng.normal(size=len(samples))
    if rng.random() < 0.6:
        background = np.cumsum(background)
        background -= background.mean()
    level = np.abs(samples).max() * 10 ** (-rng.uniform(25, 50) / 20)
    samples += level * background / max(1e-9, background.std())
    return Waveform(samples.astype(np.float32), rate)


def head_table(
    hear: Hear, encode: Encode, examples: Sequence[Example]
) -> dict[str, NDArray[np.generic]]:
    """Fit the sound head and return its arrays."""
    features = np.stack([hear(example.load()) for example in examples])
    names = sorted({example.label for example in examples})
    targets = np.array([names.index(example.label) for example in examples])
    mean, deviation = features.mean(axis=0), features.std(axis=0) + 1e-3
    weights, bias = fit(standardize(features, mean, deviation), targets, len(names))
    table: dict[str, NDArray[np.generic]] = {"head_names": np.array(names)}
    arrays = {"mean": mean, "deviation": deviation, "weights": weights, "bias": bias}
    arrays["embeddings"] = encode(names)
    return table | {f"head_{key}": array.astype(np.float16) for key, array in arrays.items()}


def without(rows: Embeddings, common: Embeddings) -> Embeddings:
    """Rows [..., embed_dim] minus their part in a direction, scaled back to unit length."""
    return l2_normalize(rows - (rows @ common)[..., None] * common)


def without_common(table: Table) -> Table:
    """The names without the direction that all texts of the space share, kept as ``common``.

    No cosine between e5's texts is below .7: most of a sum of names is what they all share.
    """
    keys = ("ucs_embeddings", "head_embeddings")
    rows = {key: table[key].astype(np.float32) for key in keys}
    common = l2_normalize(np.concatenate(list(rows.values())).mean(axis=0))
    moved = {key: without(row, common).astype(np.float16) for key, row in rows.items()}
    return {**table, **moved, "common": common.astype(np.float32)}


def in_languages(table: Table, encode: Encode, rows: Sequence[tuple[str, ...]]) -> Table:
    """The names of the head as the mean of what they are called in several languages.

    Args:
        table: has the head's English names.
        encode: embeds them.
        rows: each English name, and its equivalents in other languages.
    """
    others = {english: rest for english, *rest in rows}
    names = [str(name) for name in table["head_names"]]
    languages = zip(*([name, *others[name]] for name in names), strict=True)
    placed = [encode(of_language) for of_language in languages]
    own = [without(place, l2_normalize(place.mean(axis=0))) for place in placed]
    common = table["common"].astype(np.float32)
    embeddings = without(l2_normalize(np.sum(own, axis=0)), common).astype(np.float16)
    return {**table, "head_embeddings": embeddings, "head_share": np.array(HEAD_SHARE, np.float16)}


def classes_table(encode: Encode, groups: Sequence[Sequence[int]]) -> Table:
    """Where YAMNet's classes lie, a row for each group of languages."""
    phrases = list(zip(*read_rows(HERE / "sound_labels.tsv"), strict=True))
    languages = {column: encode(phrases[column]) for group in groups for column in group}
    shared = np.linalg.qr(np.stack([rows.mean(axis=0) for rows in languages.values()]).T)[0]
    places = []
    for group in groups:
        own = [languages[column] - languages[column].mean(axis=0) for column in group]
        classes = l2_normalize(np.sum(own, axis=0))
        gram = classes.T @ classes
        ridge = RIDGE * np.trace(gram) / len(gram) * np.eye(len(gram))
        rows = np.linalg.solve(gram + ridge, classes.T).T
        places.append(rows - (rows @ shared) @ shared.T)
    weights = np.ones(len(phrases[0]), np.float16)
    weights[list(UNHEARD)], weights[list(BROAD)] = 0, BROAD_WEIGHT
    return {
        "weights": weights,
        "places": np.array(places, np.float16),
        "share": np.array(NAMES_SHARE, np.float16),
    }


def fit(
    features: NDArray[np.float32], targets: NDArray[np.int64], n_names: int, decay: float = 3e-5
) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
    """Softmax regression with weight decay, by L-BFGS: weights [n_features, n_names] and bias."""
    import torch
    from torch.nn.functional import cross_entropy

    torch.set_num_threads(1)
    x, y = torch.from_numpy(features), torch.from_numpy(targets)
    share = (1 / torch.bincount(y, minlength=n_names).clamp(min=1).sqrt())[y]
    share = share / share.sum()
    weights = torch.zeros(x.shape[1], n_names, requires_grad=True)
    bias = torch.zeros(n_names, requires_grad=True)
    solver = torch.optim.LBFGS(
        [weights, bias], max_iter=300, history_size=20, line_search_fn="strong_wolfe"
    )

    def loss() -> torch.Tensor:
        solver.zero_grad()
        errors = cross_entropy(x @ weights + bias, y, reduction="none")
        value = (share * errors).sum() + decay * (weights**2).sum()
        value.backward()  # type: ignore[no-untyped-call]
        return value

    solver.step(loss)  # type: ignore[no-untyped-call]
    return weights.detach().numpy(), bias.detach().numpy()


def sound_network(folder: Path) -> Hear:
    """What the sound network hears."""
    from encoder.runtime.onnx import OnnxSession
    from encoder.towers.audio.logmel import mel_power
    from encoder.towers.audio.tower import cut, loud_frames

    session = OnnxSession(folder / "model.onnx", n_threads=1)

    def hear(sound: Waveform) -> NDArray[np.float32]:
        power = mel_power(sound)
        start, end = loud_frames(power)
        mel = cut(power[start:end])
        features = [
            session.run({"blocks": mel[i : i + _BLOCKS_AT_ONCE]})[0]
            for i in range(0, len(mel), _BLOCKS_AT_ONCE)
        ]
        return sound_features(np.concatenate(features))

    return hear


def text_encoder(folder: Path) -> Encode:
    """MiniLM, as a function."""
    from encoder.towers.text import load

    return _encode_with(load(folder, n_threads=1))


def e5_encoder(folder: Path) -> Encode:
    """multilingual-e5-small, as a function; names are documents."""
    from encoder.models.bundle.kinds import open_e5

    return _encode_with(open_e5(folder, n_threads=1))


def _encode_with(tower: Tower) -> Encode:
    return lambda texts: np.concatenate(
        [tower.forward([tower.prepare(text)]).rows for text in texts]
    )


def fitted(arguments: argparse.Namespace, encode: Encode) -> Table:
    """The table of categories, and of the head, fitted on sounds."""
    sound_corpus.extract(arguments.packages, arguments.work)
    table = ucs_table(encode, read_rows(HERE / "ucs_categories.tsv"))
    examples = recorded_examples(arguments.work, read_rows(HERE / "sound_sources.tsv"))
    examples += synthetic_examples()
    table |= head_table(sound_network(arguments.bundle / "audio"), encode, examples)
    return without_common(table) if arguments.e5 else table


def main() -> None:
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--bundle", type=Path, required=True, help="the bundle's folder")
    parser.add_argument("--e5", action="store_true", help="it is the multilingual one")
    parser.add_argument("--names", action="store_true", help="likewise, and its head is kept")
    parser.add_argument("--classes", action="store_true", help="the table of YAMNet's classes")
    parser.add_argument("--packages", type=Path, help="where the packages lie")
    parser.add_argument("--work", type=Path, help="where sounds are unpacked")
    arguments = parser.parse_args()
    if not (arguments.names or arguments.classes or (arguments.packages and arguments.work)):
        parser.error("fitting a head takes --packages and --work")
    is_e5 = arguments.e5 or arguments.names
    table: Table
    encode = (e5_encoder if is_e5 else text_encoder)(arguments.bundle / "text")
    out = E5_TABLE if is_e5 else TABLE
    if arguments.classes:
        out = E5_CLASSES if is_e5 else CLASSES
        table = classes_table(encode, E5_GROUPS if is_e5 else ((0,),))
    elif arguments.names:
        with np.load(out) as shipped:
            table = dict(shipped)
    else:
        table = fitted(arguments, encode)
    if is_e5 and not arguments.classes:
        table = in_languages(table, encode, read_rows(HERE / "sound_names.tsv"))
    np.savez_compressed(out, allow_pickle=False, **table)
    print(f"{out}: {out.stat().st_size:,} bytes")


if __name__ == "__main__":
    main()
