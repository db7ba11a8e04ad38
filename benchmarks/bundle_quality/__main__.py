"""What the bundles find on foreign data.

    make bench-quality [SUBJECTS="questions …"]

Protocol, written before the first run:

- A subject is a file of this package with a ``SUBJECT``: what is measured, on
  which data, with what bar. It runs the bundle as `anymodal` does, through the towers that serve.
- Data are fetched from public repositories at a pinned commit into ``.demo/bundle_quality`` and
  never committed. Nothing is left out of a set unless the subject says so and why.
- Each figure has its number of queries and a 95 % interval, by a bootstrap over what queries share
  (a paragraph, a picture, a recording), since queries that share one are not independent.
- A set that somebody looked at while choosing or fitting anything is marked as such in its row.
  Nobody here has access to held-back sets.
- A figure is reported as measured. A subject is measured again when the bundle changes, never to
  get a better draw.
"""

from __future__ import annotations

import argparse
from importlib import import_module

from benchmarks.bundle_quality.report import Subject, write

SUBJECTS = ("questions", "reading", "speech", "sounds", "mixed")


def subject_named(name: str) -> Subject:
    """The subject of the file with this name."""
    subject: Subject = import_module(f"benchmarks.bundle_quality.{name}").SUBJECT
    return subject


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.partition("\n")[0])
    parser.add_argument("subjects", nargs="*", metavar="SUBJECT", help=f"{', '.join(SUBJECTS)}")
    for name in parser.parse_args().subjects or SUBJECTS:
        write(subject_named(name))


if __name__ == "__main__":
    main()
