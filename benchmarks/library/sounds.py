"""How often a sound stands first in one list with a library's texts and pictures.

Protocol. Beside 2,000 texts and pictures of the store lie the clips of ten animals and of ESC-50's
unseen half (`benchmarks.bundle_quality.sounds`), and no other sound. Asked are the names of their
classes in English, German and Chinese, where a sound should be first, and the captions of
`encoder.calibration`, which ask for no clip. These are told apart by what was written down before
the first run (``audible_captions.tsv``): some say or imply a sound, which a clip may well answer,
some name what can make one, and of the others nothing is heard.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from benchmarks.bundle_quality.questions import embed
from benchmarks.bundle_quality.sounds import (
    ANIMAL,
    ANIMALS,
    KINDS,
    LANGUAGES,
    animals,
    fifty,
    half,
    queries,
    rows_of,
)
from benchmarks.bundle_quality.speech import ESC_50
from benchmarks.harness.results_pages import table
from benchmarks.library.report import share
from encoder.calibration.measure import sample_queries, scores_of
from encoder.loading import load_model
from encoder.types import AUDIO, IMAGE, TEXT
from workers.config import Settings
from workers.serving.resources import Resources

_AUDIBLE = Path(__file__).parents[1] / "data" / "audible_captions.tsv"
_N = 2000


def measure(store: Path) -> str:
    """The share of queries whose best match is a sound."""
    model = load_model("bundle:multilingual", quantization="int8")
    stored = Resources(Settings(store=str(store))).existing_store(hold=False)
    clips = [animals(ANIMALS.files()), half(fifty(ESC_50.files()), 1)]
    samples = {kind: stored.sample(kind, _N) for kind in (TEXT, IMAGE)}
    samples[AUDIO] = np.concatenate([rows_of(model, of_set) for of_set in clips])
    rows = list[list[object]]()
    for what, texts in _asked([sorted(set(of_set.classes.tolist())) for of_set in clips]).items():
        asked, levels = model.space.asked(embed(model, list(texts), asked=True))
        best = {
            kind: scores_of(asked, some, model.space.calibration[kind], levels[:, None]).max(1)
            for kind, some in samples.items()
        }
        first = best[AUDIO] > np.maximum(best[TEXT], best[IMAGE])
        rows.append([what, len(texts), share(first)])
    return table(["asked", "queries", "a sound is first"], rows)


def _asked(classes: Sequence[Sequence[int]]) -> dict[str, Sequence[str]]:
    lines = _AUDIBLE.read_text("utf-8").splitlines()
    audible = {text: kind for kind, _, text in (line.partition("\t") for line in lines)}
    captions = dict[str, list[str]]()
    for query in sample_queries():
        if query.kind == "caption":
            captions.setdefault(audible.get(query.text, "nothing"), []).append(query.text)
    by_name = {ANIMAL: classes[0], **dict.fromkeys(KINDS, classes[1])}
    return {
        **{
            f"{kind} of the class": [
                test.text for language in LANGUAGES for test in queries(kind, language, of_kind)
            ]
            for kind, of_kind in by_name.items()
        },
        **{f"caption: {kind}": texts for kind, texts in sorted(captions.items())},
    }
