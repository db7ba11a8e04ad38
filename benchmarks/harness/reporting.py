"""What all parts share: settings, progress, figures with their bars, sections."""

from __future__ import annotations

import sys
from dataclasses import dataclass
from pathlib import Path
from time import perf_counter

from benchmarks.harness.results_pages import write_section

_started = perf_counter()
_SHOWN_FLAGS = {"avx2": "AVX2", "avx512f": "AVX512", "vnni": "VNNI", "bf16": "BF16"}


@dataclass(frozen=True)
class Settings:
    """How a part runs.

    Args:
        part: its name on the command line.
        folder: holds the data, fetched if it is missing, and what was measured.
        quick: a few items only; the section is printed and not kept.
        words: further options, which the part reads.
    """

    part: str
    folder: Path
    quick: bool = False
    words: tuple[str, ...] = ()

    def items(self, all_of_them: int, few: int) -> int:
        """How many items to take."""
        return few if self.quick else all_of_them

    @property
    def cache(self) -> Path:
        """Where earlier measurements are kept."""
        return self.folder / self.part


@dataclass(frozen=True)
class Bar:
    """A limit that a figure should keep to; the limit itself is allowed.

    >>> Bar(at_least=3.5).beside(2.412, ".1f"), Bar(at_most=0.027).beside(0.0268, ".4f")
    ('2.4 (≥ 3.5: missed)', '0.0268 (≤ 0.027: met)')
    """

    at_least: float | None = None
    at_most: float | None = None

    def met(self, value: float) -> bool:
        """Whether a figure keeps to it; NaN never does."""
        low = self.at_least is None or value >= self.at_least
        return low and (self.at_most is None or value <= self.at_most)

    def beside(self, value: float, form: str) -> str:
        """The formatted figure, the bar and whether it is met."""
        limits = [("≥", self.at_least), ("≤", self.at_most)]
        said = ", ".join(f"{sign} {limit:g}" for sign, limit in limits if limit is not None)
        return f"{value:{form}} ({said}: {'met' if self.met(value) else 'missed'})"


def vector_instructions(flags: str) -> str:
    """Which of the instructions that matter for int8 a CPU has, by the flags of ``/proc/cpuinfo``.

    >>> vector_instructions("fpu avx2 avx512f avx512_vnni")
    'AVX2, AVX512, VNNI'
    """
    return ", ".join(name for flag, name in _SHOWN_FLAGS.items() if flag in flags)


def report(settings: Settings, title: str, *paragraphs: str) -> None:
    """Print a section, and keep it unless the run was a quick one."""
    facts = Path("/proc/cpuinfo").read_text("utf-8")
    flags = next((line for line in facts.splitlines() if line.startswith("flags")), "")
    body = "\n\n".join([f"CPU with {vector_instructions(flags)}.", *paragraphs])
    print(f"## {title}\n\n{body}\n", flush=True)
    if not settings.quick:
        command = " ".join(["python -m benchmarks", settings.part, *settings.words])
        write_section(title, command, body)


def note(what: str) -> None:
    """Print a run's progress to standard error."""
    print(f"[{perf_counter() - _started:6.1f} s] {what}", file=sys.stderr, flush=True)
