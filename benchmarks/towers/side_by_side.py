"""The gain from running the towers of one call side by side.

Run by ``make bench-towers``. Both ways run in each round, so that other load on
the machine affects both.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from itertools import groupby
from pathlib import Path
from statistics import median
from time import perf_counter, process_time

import numpy as np

from benchmarks.harness.results_pages import table, write_section
from benchmarks.pipeline.film import SCENE_S, make_film
from encoder import MultiModalEncoder
from encoder.media import load_image, load_sound
from encoder.media.video import load_clip
from encoder.towers import video
from encoder.types import AUDIO, IMAGE, TEXT, Embeddings, Item
from examples.samples import make_samples

_N_ROUNDS, _N_SCENES, _N_FRAMES = 15, 3, 8
_TEXT = "The bakery on the corner sells fresh bread until noon, and a dog waits at its door."


@dataclass(frozen=True)
class Figures:
    """One way's median wall-clock and CPU times, in seconds."""

    wall_s: float
    cpu_s: float


@dataclass(frozen=True)
class Comparison:
    """Both ways, and the median of the rounds' ratios."""

    in_turn: Figures
    beside: Figures
    gain: float


def workloads(folder: Path) -> dict[str, list[Item]]:
    """Items by name: those of a call with three modalities, and those of a film."""
    samples = folder / "samples"
    make_samples(samples)
    film = make_film(folder / "film.mp4", samples, _N_SCENES)
    mixed = [
        Item(TEXT, _TEXT),
        Item(IMAGE, load_image(samples / "cat.png")),
        Item(AUDIO, load_sound(samples / "speech-train.wav")),
    ]
    clip = load_clip(film, max_frames=_N_FRAMES)
    return {
        "a text, a picture, a sound": mixed,
        f"a film of {_N_SCENES * SCENE_S:.0f} s, {_N_FRAMES} frames": video.parts(clip, _N_FRAMES),
    }


def compare(encoder: MultiModalEncoder, items: Sequence[Item], n_rounds: int) -> Comparison:
    """Time both ways in turn; they must give the same vectors.

    The items of each modality must be adjacent.
    """

    def in_turn() -> Embeddings:
        modalities = groupby(items, lambda item: item.modality)
        return np.concatenate([encoder.encode_items(list(same)) for _, same in modalities])

    def beside() -> Embeddings:
        return encoder.encode_items(items)

    np.testing.assert_array_equal(in_turn(), beside())
    rounds = [(_time(in_turn), _time(beside)) for _ in range(n_rounds)]
    turns, besides = zip(*rounds, strict=True)
    gain = median(one.wall_s / other.wall_s for one, other in rounds)
    return Comparison(_middle(turns), _middle(besides), gain)


def _time(way: Callable[[], object]) -> Figures:
    wall, cpu = perf_counter(), process_time()
    way()
    return Figures(perf_counter() - wall, process_time() - cpu)


def _middle(all_: Iterable[Figures]) -> Figures:
    walls, cpus = zip(*((one.wall_s, one.cpu_s) for one in all_), strict=True)
    return Figures(median(walls), median(cpus))


def main() -> None:
    """Measure and write the section."""
    load = os.getloadavg()[0]
    encoder = MultiModalEncoder("bundle:english", quantization="int8", enable_dsre=False)
    with tempfile.TemporaryDirectory() as name:
        found = {
            what: compare(encoder, items, _N_ROUNDS)
            for what, items in workloads(Path(name)).items()
        }
    rows = [
        [what, *(f"{1e3 * ms:.0f}" for ms in _columns(one)), f"{one.gain:.2f}"]
        for what, one in found.items()
    ]
    head = ["ms", "in turn", "CPU", "side by side", "CPU", "gain"]
    body = (
        f"int8, on all cores; medians of {_N_ROUNDS} rounds; load of the machine {load:.1f}.\n\n"
        + table(head, rows)
    )
    print(body)
    write_section("Towers side by side", "make bench-towers", body)


def _columns(one: Comparison) -> tuple[float, ...]:
    return (one.in_turn.wall_s, one.in_turn.cpu_s, one.beside.wall_s, one.beside.cpu_s)


if __name__ == "__main__":
    main()
