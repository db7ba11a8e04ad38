"""How well text finds sounds, and speech its text.

    python -m benchmarks.quality_sound --clips FOLDER [--bundle-home HOME]

``FOLDER`` has one folder of clips for each class, named after it ("Dog bark" or "001 - Dog
bark"), as ESC-10 has (K. J. Piczak, "ESC: Dataset for Environmental Sound Classification", 2015;
CC BY). No clip of it was used for fitting; but two choices were made with its result in sight (how
descriptions are joined, and the temperature of the categories: together worth .03 of the first
row). The sound head's settings were chosen on sounds of sources that it had not seen, after a
first look at a grid of them on this evaluation. The sentences are
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

import numpy as np
from numpy.typing import NDArray

from benchmarks.results import table, write_section
from encoder.media.sound import load_sound
from encoder.models import bundle
from encoder.space import l2_normalize
from encoder.towers import audio, text
from encoder.towers.audio import AudioTower
from encoder.towers.base import Tower
from encoder.towers.sound_labels import TABLE, load_sound_labels, point
from encoder.types import Embeddings, Waveform

SENTENCES = Path(__file__).parent / "data" / "spoken_sentences.txt"
_VOICES = ("en-us", "en-gb", "en-us+f3")


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
    return tower.forward([tower.prepare(each) for each in texts])


def sound_views(tower: AudioTower, sounds: Sequence[Waveform]) -> Mapping[str, Embeddings]:
    """The sounds' embeddings by each part of the tower alone, and by all."""
    labels = load_sound_labels()
    parts: dict[str, list[NDArray[np.float32]]] = {"categories": [], "sound head": [], "all": []}
    for sound in sounds:
        prepared = tower.prepare(sound)
        features, ucs = tower.hear(prepared)
        parts["categories"].append(point(ucs, labels.ucs))
        probabilities = labels.head.probabilities(features)
        parts["sound head"].append(point(probabilities, labels.head.embeddings))
        parts["all"].append(tower.forward([prepared])[0])
    views = {name: np.stack(rows) for name, rows in parts.items()}
    both = views["categories"] + views["sound head"]
    return {**views, "categories and sound head": l2_normalize(both)}


def measure_clips(tower: AudioTower, text_tower: Tower, folder: Path) -> str:
    """Text to sound, as a Markdown table."""
    folders = sorted(each for each in folder.iterdir() if each.is_dir())
    names = [re.sub(r"^\d+ - ", "", each.name) for each in folders]
    clips = [(k, path) for k, each in enumerate(folders) for path in sorted(each.iterdir())]
    sounds = [load_sound(path) for _, path in clips]
    classes = np.array([k for k, _ in clips])
    queries = embed_texts(text_tower, names)
    rows = []
    for view, embeddings in sound_views(tower, sounds).items():
        found = mean_average_precision(queries, embeddings, classes)
        rows.append([view, f"{np.mean(found):.3f}", *(f"{each:.2f}" for each in found)])
    return f"mAP of {len(sounds)} clips:\n\n{table(['part', 'mAP', *names], rows)}"


def measure_speech(tower: AudioTower, text_tower: Tower, distractors: Sequence[str]) -> str:
    """Speech to its text, in one sentence."""
    from examples.speech import Speaker

    speaker = Speaker(bundle.cache_home())
    sentences = SENTENCES.read_text("utf-8").splitlines()
    heard = []
    for i, sentence in enumerate(sentences):
        samples = speaker.say(sentence, _VOICES[i % len(_VOICES)])
        sound = Waveform(samples, speaker.sampling_rate)
        heard.append(tower.forward([tower.prepare(sound)])[0])
    found = np.stack(heard) @ embed_texts(text_tower, [*sentences, *distractors]).T
    right = found.argmax(axis=1) == np.arange(len(sentences))
    n_texts = len(sentences) + len(distractors)
    return f"Spoken sentence to its text among {n_texts}: R@1 {right.mean():.3f} of {len(right)}."


def sound_names() -> list[str]:
    """The sound head's names, as texts that answer no sentence."""
    with np.load(TABLE) as labels:
        return [str(name) for name in labels["head_names"]]


def measure_time(tower: AudioTower, n_runs: int = 12) -> str:
    """Milliseconds for five seconds of noise and for five seconds of tones, one thread."""
    rng = np.random.default_rng(0)
    noise = Waveform(rng.normal(0, 0.1, 5 * 44_100).astype(np.float32), 44_100)
    rows = []
    for name, sound in (("44.1 kHz", noise), ("16 kHz", replace(noise, sampling_rate=16_000))):
        cut = Waveform(sound.samples[: 5 * sound.sampling_rate], sound.sampling_rate)
        tower.forward([tower.prepare(cut)])
        took = []
        for _ in range(n_runs):
            start = time.perf_counter()
            tower.forward([tower.prepare(cut)])
            took.append(1e3 * (time.perf_counter() - start))
        rows.append(f"{name} {np.median(took):.0f} ms (best {min(took):.0f})")
    peak_mb = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1e3
    return f"Five seconds of noise, one thread: {', '.join(rows)}. Peak memory {peak_mb:.0f} MB."


def main() -> None:
    """Measure and write the section of ``RESULTS.md``."""
    parser = argparse.ArgumentParser(description=(__doc__ or "").splitlines()[0])
    parser.add_argument("--clips", type=Path, required=True, help="one folder a class")
    parser.add_argument("--bundle-home", type=Path, help="instead of the user's cache")
    arguments = parser.parse_args()
    folder = bundle.location(arguments.bundle_home)
    text_tower = text.load(folder / "text", n_threads=1)
    tower = audio.load(folder, text_tower, n_threads=1)
    body = "\n\n".join(
        [
            measure_time(tower),
            measure_clips(tower, text_tower, arguments.clips),
            measure_speech(tower, text_tower, sound_names()),
        ]
    )
    print(body)
    write_section("Sound", "python -m benchmarks.quality_sound --clips ESC-10", body)


if __name__ == "__main__":
    main()
