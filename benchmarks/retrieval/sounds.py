"""How well text finds sounds, and speech its text; the sound network in float32 and in int8.

    python -m benchmarks.retrieval.sounds --clips FOLDER [--bundle-home HOME]

``FOLDER`` has one folder of clips for each class, named after it ("Dog bark" or "001 - Dog
bark"), as ESC-10 has (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015;
CC BY). No clip of it was used for fitting; but two choices were made with its result known (how
descriptions are joined, and the temperature of the categories: together worth .03 of the first
row). The sound head's settings were chosen on sounds of sources that it had not seen, after a
first look at a grid of them on this evaluation. What runs in int8, and in which ranges, was
chosen on other sounds (``scripts/fit_activation_ranges.py``). The sentences are
``benchmarks/data/spoken_sentences.txt``, spoken by eSpeak NG, which is fetched.
"""

from __future__ import annotations

import argparse
import re
import resource
import time
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from benchmarks.harness.results_pages import table, write_section
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import SOUND_LABELS, read_bundle
from encoder.models.bundle.folder import location
from encoder.models.bundle.kinds import FLOAT, INT8, audio_tower
from encoder.runtime.onnx import OnnxSession
from encoder.services.speech import Speech
from encoder.space import l2_normalize
from encoder.system.cache import cache_home
from encoder.towers.audio.labels import load_sound_labels, point
from encoder.towers.audio.tower import AudioTower
from encoder.towers.base import Tower
from encoder.towers.text import tower as text
from encoder.types import Embeddings, Waveform

SENTENCES = Path(__file__).parents[1] / "data" / "spoken_sentences.txt"
_VOICES = ("en-us", "en-gb", "en-us+f3")

Towers: TypeAlias = Mapping[str, AudioTower]
"""Towers by the precision of the sound network; all else is the same."""


def average_precision(scores: NDArray[np.floating], relevant: NDArray[np.bool_]) -> float:
    """Mean precision at the relevant items of a ranking; both arguments [n]."""
    hits = relevant[np.argsort(-scores, kind="stable")]
    precision = np.cumsum(hits) / np.arange(1, len(hits) + 1)
    return float(precision[hits].mean())


def mean_average_precision(
    queries: Embeddings, sounds: Embeddings, classes: NDArray[np.int64]
) -> list[float]:
    """The average precision of each class's query."""
    scores = queries @ sounds.T
    return [average_precision(row, classes == k) for k, row in enumerate(scores)]


def embed_texts(tower: Tower, texts: Sequence[str]) -> Embeddings:
    """Unit rows [n, embed_dim]."""
    return tower.forward([tower.prepare(each) for each in texts]).rows


def sound_views(tower: AudioTower, sounds: Sequence[Waveform]) -> Mapping[str, Embeddings]:
    """The sounds' embeddings by each part of the tower alone, and by all."""
    labels = load_sound_labels(SOUND_LABELS)
    parts: dict[str, list[NDArray[np.float32]]] = {"categories": [], "sound head": [], "all": []}
    for sound in sounds:
        prepared = tower.prepare(sound)
        features, ucs = tower.hear(prepared)
        parts["categories"].append(point(ucs, labels.ucs))
        probabilities = labels.head.probabilities(features)
        parts["sound head"].append(point(probabilities, labels.head.embeddings))
        parts["all"].append(tower.forward([prepared]).rows[0])
    views = {name: np.stack(rows) for name, rows in parts.items()}
    both = views["categories"] + views["sound head"]
    return {**views, "categories and sound head": l2_normalize(both)}


def measure_clips(towers: Towers, text_tower: Tower, folder: Path) -> str:
    """Text to sound in each precision, as a Markdown table."""
    folders = sorted(each for each in folder.iterdir() if each.is_dir())
    names = [re.sub(r"^\d+ - ", "", each.name) for each in folders]
    clips = [(k, path) for k, each in enumerate(folders) for path in sorted(each.iterdir())]
    sounds = [load_sound(path) for _, path in clips]
    classes = np.array([k for k, _ in clips])
    queries = embed_texts(text_tower, names)
    views = {precision: sound_views(tower, sounds) for precision, tower in towers.items()}
    rows = []
    for part in views["float32"]:
        for precision, of in views.items():
            found = mean_average_precision(queries, of[part], classes)
            figures = [f"{np.mean(found):.3f}", *(f"{each:.2f}" for each in found)]
            rows.append([part, precision, *figures])
    cosines = (views["float32"]["all"] * views["int8"]["all"]).sum(axis=1)
    return (
        f"mAP of {len(sounds)} clips:\n\n{table(['part', 'network', 'mAP', *names], rows)}\n\n"
        f"Cosine of a clip's embedding in int8 to float32: {cosines.mean():.4f} on average, "
        f"{np.quantile(cosines, 0.05):.4f} at 5 %, {cosines.min():.4f} at least."
    )


def measure_speech(towers: Towers, text_tower: Tower, distractors: Sequence[str]) -> str:
    """From speech to its text; all towers hear the same sounds, since eSpeak's speech varies."""
    from examples.speech import Speaker

    speaker = Speaker(cache_home())
    sentences = SENTENCES.read_text("utf-8").splitlines()
    sounds = [
        Waveform(speaker.say(sentence, _VOICES[i % len(_VOICES)]), speaker.sampling_rate)
        for i, sentence in enumerate(sentences)
    ]
    texts = embed_texts(text_tower, [*sentences, *distractors])
    recalls = []
    for precision, tower in towers.items():
        heard = np.stack([tower.forward([tower.prepare(sound)]).rows[0] for sound in sounds])
        right = (heard @ texts.T).argmax(axis=1) == np.arange(len(sentences))
        recalls.append(f"{right.mean():.3f} in {precision}")
    return (
        f"Spoken sentence to its text among {len(texts)}: R@1 {', '.join(recalls)} "
        f"of {len(sentences)}."
    )


def sound_names() -> list[str]:
    """The sound head's names, as texts that answer no sentence."""
    with np.load(SOUND_LABELS) as labels:
        return [str(name) for name in labels["head_names"]]


def measure_time(towers: Towers, n_runs: int = 30) -> str:
    """Milliseconds for five seconds of noise, one thread; the precisions take turns."""
    rng = np.random.default_rng(0)
    noise = Waveform(rng.normal(0, 0.1, 5 * 44_100).astype(np.float32), 44_100)
    rows = []
    for name, sound in (("44.1 kHz", noise), ("16 kHz", replace(noise, sampling_rate=16_000))):
        cut = Waveform(sound.samples[: 5 * sound.sampling_rate], sound.sampling_rate)
        took = np.array(
            [[_time_ms(tower, cut) for tower in towers.values()] for _ in range(n_runs)]
        )
        took = took[1:]  # the first run loads what is lazy
        ratios = took[:, 0] / took[:, 1]
        times = (f"{np.median(of):.0f} (best {of.min():.0f})" for of in took.T)
        low, middle, high = np.quantile(ratios, (0.1, 0.5, 0.9))
        rows.append([name, *times, f"{middle:.2f} ({low:.2f}–{high:.2f})"])
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    headings = ["sound", *(f"{precision}, ms" for precision in towers), "times as fast"]
    return (
        f"Five seconds of noise to an embedding, one thread for each network:\n\n"
        f"{table(headings, rows)}\n\nPeak memory with both {peak_mb:.0f} MB."
    )


def _time_ms(tower: AudioTower, sound: Waveform) -> float:
    start = time.perf_counter()
    tower.forward([tower.prepare(sound)])
    return 1e3 * (time.perf_counter() - start)


def load_towers(folder: Path, text_tower: Tower) -> Towers:
    """The audio tower of a bundle's folder in both precisions."""
    files = {"float32": FLOAT, "int8": INT8}
    sessions = {
        name: OnnxSession(folder / "audio" / file, n_threads=1) for name, file in files.items()
    }
    speech = Speech(folder / "speech", n_threads=1)
    return {
        name: audio_tower(session, speech, SOUND_LABELS, text_tower)
        for name, session in sessions.items()
    }


def main() -> None:
    """Measure and write the section."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="one folder a class")
    parser.add_argument("--bundle-home", type=Path, help="instead of the user's cache")
    arguments = parser.parse_args()
    folder = location(read_bundle("english"), arguments.bundle_home)
    text_tower = text.load(folder / "text", n_threads=1)
    towers = load_towers(folder, text_tower)
    body = "\n\n".join(
        [
            measure_time(towers),
            measure_clips(towers, text_tower, arguments.clips),
            measure_speech(towers, text_tower, sound_names()),
        ]
    )
    print(body)
    write_section("Sound", "python -m benchmarks.retrieval.sounds --clips ESC-10", body)


if __name__ == "__main__":
    main()
