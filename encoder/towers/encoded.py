"""What comes of encoding: rows, and what towers told on the way."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass

from encoder.towers.sound.listening import Heard, is_listening, listening, tell
from encoder.towers.text.stats import TextStats, counting, is_counted, join, pass_on
from encoder.types import Embeddings


@dataclass(frozen=True, eq=False)
class Encoded:
    """Embeddings of one modality.

    Args:
        rows: float32 unit rows [n, n_rows, embed_dim].
        stats: what a gate did, if somebody asks and there is one.
        heard: what is said in each sound, if somebody asks.
    """

    rows: Embeddings
    stats: TextStats | None
    heard: Heard

    @classmethod
    def of(cls, work: Callable[[], Embeddings]) -> Encoded:
        """Do the work, and keep what is told apart from what others tell at the same time."""
        with counting(is_counted()) as counts, listening(is_listening()) as heard:
            rows = work()
        return cls(rows, join(counts), heard)

    def pass_on(self) -> None:
        """Tell those who ask."""
        if self.stats:
            pass_on(self.stats)
        for spans in self.heard:
            tell(spans)
