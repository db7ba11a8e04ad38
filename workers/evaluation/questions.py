"""Queries and the contents that answer them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Literal, TypeAlias

Origin: TypeAlias = Literal["list", "names", "classes", "synthetic"]
ORIGINS: tuple[Origin, ...] = ("list", "names", "classes", "synthetic")


@dataclass(frozen=True)
class Content:
    """A text, or a file."""

    text: str = ""
    file: Path | None = None

    def __str__(self) -> str:
        return str(self.file) if self.file else self.text


@dataclass(frozen=True)
class Question:
    """A query, and how relevant contents are to it: above 0; contents not named are irrelevant."""

    query: Content
    relevant: Mapping[Content, float]


@dataclass(frozen=True)
class QuestionSet:
    """Questions of one origin, and all contents that their answers are sought among."""

    origin: Origin
    questions: Sequence[Question]
    candidates: Sequence[Content]
