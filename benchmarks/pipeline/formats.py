"""How many files of a folder of many formats are searchable, and why the others are not.

python -m benchmarks.pipeline.formats FOLDER … [--per-format N] [--list benchmarks/data/formats.tsv]

The folder is made from packages of Debian, unpacked and not installed, and from what the Python
libraries of this environment ship:

    apt-get download PACKAGES && for deb in *.deb; do dpkg-deb -x $deb FOLDER/${deb%%_*}; done
"""

from __future__ import annotations

import argparse
import json
import random
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator
from itertools import islice
from pathlib import Path
from time import process_time

from encoder.errors import MediaError
from ingest import IngestConfig, ingest
from ingest.location import Location

PACKAGES = """
alsa-utils antiword debian-policy debian-reference-en developers-reference doc-debian epubcheck
gnumeric gnumeric-doc libemail-mime-perl libimage-exiftool-perl libmail-box-perl
libreoffice-common libreoffice-draw libreoffice-l10n-de libspreadsheet-parseexcel-perl mutt
openclipart-svg python3-docutils python3-docx python3-mutagen python3-nbformat python3-reportlab
python3-xlrd r-cran-haven r-cran-knitr r-cran-officer r-cran-openxlsx r-cran-readxl
r-cran-writexl sound-theme-freedesktop timidity
""".split()

# What people keep, not parts of programs.
FORMATS = """
aif aifc aiff arff au bmp c cfg conf cpp css csv csh docx doc dta eml epub f90 fish flac gif gz
html ico ini ipynb java jpeg jpg js json jsonl lyx m mbox md mid mp3 mp4 npy npz odb odg odp
ods odt oga ogg otg otp ots ott pbm pdf pgm pl po png ppm pptx ps py r rmd rnw rst rtf sav sh
sgi sql svg svgz tar tcl tex tiff toml tsv ttf txt vim voc wav webp xbm xls xlsx xml xpm xsl
yaml yml zip
""".split()


def chosen(roots: Iterable[Path], per_format: int) -> Iterator[Path]:
    """``per_format`` files of each format, drawn by a fixed seed; none twice, none over 1 MB."""
    by_format: dict[str, list[Path]] = defaultdict(list)
    for root in roots:
        for path in sorted(root.rglob("*")):
            suffix = path.suffix.lower().lstrip(".")
            if suffix in FORMATS and path.is_file() and 0 < path.stat().st_size < 2**20:
                by_format[suffix].append(path)
    for suffix in sorted(by_format):
        found = by_format[suffix]
        random.Random(suffix).shuffle(found)
        yield from islice(_different(found), per_format)


def _different(paths: Iterable[Path]) -> Iterator[Path]:
    seen = set[bytes]()
    for path in paths:
        if (content := path.read_bytes()) not in seen:
            seen.add(content)
            yield path


def outcome(path: Path, config: IngestConfig) -> tuple[int, str]:
    """How many segments a file has, and why it, or a file in it, has none."""
    reasons: list[str] = []
    try:
        n_segments = sum(
            1 for _ in ingest(path, config, on_failure=lambda one: reasons.append(one.reason))
        )
    except MediaError as error:
        return 0, str(error)
    return n_segments, reasons[0].replace(
        Location.of(str(path.resolve())).file, path.name
    ) if reasons else ""


def _below(path: Path, roots: Iterable[Path]) -> str:
    return next(str(path.relative_to(root)) for root in roots if path.is_relative_to(root))


def main() -> None:
    """Print a line for each file, and the share that is searchable."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("folder", type=Path, nargs="+")
    parser.add_argument("--per-format", type=int, default=4)
    parser.add_argument("--list", type=Path, help="takes each file, its outcome and the reason")
    asked = parser.parse_args()
    config = IngestConfig(isolate=True)
    counts: Counter[str] = Counter()
    formats: dict[str, Counter[str]] = defaultdict(Counter)
    started = process_time()
    lines = ["file\tsegments\treason"]
    for path in chosen(asked.folder, asked.per_format):
        n_segments, reason = outcome(path, config)
        said = "searchable" if n_segments else "refused" if reason else "silent"
        counts[said] += 1
        formats[path.suffix.lower()][said] += 1
        reason = "" if n_segments else reason
        lines.append(f"{_below(path, asked.folder)}\t{n_segments}\t{reason}")
        print(f"{said:10} {lines[-1]}", flush=True)
    if asked.list:
        asked.list.write_text("\n".join([*lines, ""]))
    n_files = counts.total()
    print(json.dumps({name: dict(found) for name, found in formats.items()}))
    print(
        f"{n_files} files of {len(formats)} formats: {counts['searchable'] / n_files:.1%}"
        f" searchable, {counts['refused']} with a reason, {counts['silent']} without;"
        f" {process_time() - started:.1f} CPU-s in this process"
    )


if __name__ == "__main__":
    main()
