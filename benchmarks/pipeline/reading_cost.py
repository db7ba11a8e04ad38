"""What reading text in pictures costs, in CPU seconds of one thread.

    python -m benchmarks.pipeline.reading_cost PICTURES [--pages N] [--pictures N]

``PICTURES`` is a folder of photos, as `corpora.picture_sets.samples` fetches them. One in which
no line is found counts as without text. Pages are those of
`bundle_quality.pages`, with English words.
"""

from __future__ import annotations

import argparse
import random
from pathlib import Path
from time import process_time

import numpy as np

from benchmarks.bundle_quality.pages import Kind, page
from encoder.media.image import load_image
from encoder.models.bundle.declaration import read_bundle
from encoder.prepare.bundle.fetch import fetch
from encoder.services.reader import Reader, open_reader
from encoder.types import RgbPicture
from ingest import IngestConfig

FONTS = Path("/usr/share/fonts")
_WORDS = "the ferry to island harbour leaves at nine in morning and returns with whales".split()
_KINDS: tuple[Kind, ...] = ("screen", "scan")


def read(reader: Reader, picture: RgbPicture) -> tuple[bool, float]:
    """Whether there is text, and the CPU seconds that it took to say so and read it."""
    started = process_time()
    return bool(reader.read(picture)), process_time() - started


def pages(reader: Reader, n_pages: int) -> None:
    """Print seconds a page of each kind."""
    for kind in _KINDS:
        words = random.Random(kind).choices(_WORDS, k=320)
        made = [page(kind, " ".join(words), "en", seed, FONTS)[0] for seed in range(n_pages)]
        found = [read(reader, one)[1] for one in made]
        print(
            f"{kind}: {n_pages} pages, median {np.median(found):.2f}, most {max(found):.2f} CPU-s"
        )


def pictures(reader: Reader, folder: Path, n_pictures: int) -> None:
    """Print the share of pictures without text that cost less than 50 ms."""
    side = IngestConfig().image_short_side
    files = random.Random(0).sample(sorted(folder.glob("*.JPEG")), n_pictures)
    looked = [read(reader, load_image(file, side)) for file in files]
    without = [took for has_text, took in looked if not has_text]
    share = np.mean(np.array(without) < 0.05)
    middle, high = np.percentile(without, [50, 95])
    print(
        f"{len(without)} of {len(looked)} pictures without text: {share:.1%} under 50 ms, "
        f"median {1000 * middle:.0f}, 95 % {1000 * high:.0f} CPU-ms"
    )


def main() -> None:
    """Print both."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("pictures_folder", type=Path)
    parser.add_argument("--pages", type=int, default=20)
    parser.add_argument("--pictures", type=int, default=200)
    asked = parser.parse_args()
    reader = open_reader(fetch(read_bundle("multilingual")) / "ocr", n_threads=1)
    reader.read(np.zeros((64, 64, 3), np.uint8))
    pages(reader, asked.pages)
    pictures(reader, asked.pictures_folder, asked.pictures)


if __name__ == "__main__":
    main()
