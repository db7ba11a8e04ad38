"""From the graphs of an exported model to vectors of images, sounds and films."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
from numpy.typing import NDArray

from encoder.runtime.base import Array, Session, run_all
from encoder.towers.exported.text import TextGraph, unit_rows
from encoder.types import Embeddings

GraphInputs: TypeAlias = Mapping[str, Array]
"""What a graph takes for one image, one window of sound or the frames of one film."""


class OwnHead:
    """A graph that gives vectors.

    Args:
        name: what errors call the model.
        session: gives vectors [n, embed_dim].
    """

    def __init__(self, name: str, session: Session) -> None:
        self._name = name
        self._session = session

    def embed(self, inputs: Sequence[GraphInputs]) -> Embeddings:
        outputs = run_all(self._session, inputs)
        return unit_rows(self._name, np.concatenate([rows for rows, *_ in outputs]))


@dataclass(frozen=True)
class SoftTokens:
    """Where soft tokens stand among a text's tokens.

    Args:
        before: ids before the first group.
        between: ids between two groups; a film's frames are groups.
        after: ids after the last group.
        token_id: the id in the place of each soft token.
    """

    before: Sequence[int]
    between: Sequence[int]
    after: Sequence[int]
    token_id: int

    def ids(self, n_tokens: int, n_groups: int) -> NDArray[np.int64]:
        """The ids, int64 [1, length], for soft tokens in groups of one size."""
        group = [self.token_id] * (n_tokens // n_groups)
        groups = [*([*group, *self.between] * (n_groups - 1)), *group]
        return np.asarray([[*self.before, *groups, *self.after]], np.int64)


class TextHead:
    """A graph that gives soft tokens, which the text network reads.

    Args:
        session: gives soft tokens [n_soft, width]; the first axis of its inputs is the groups.
        graph: the text network.
        form: where the soft tokens stand.
    """

    def __init__(self, session: Session, graph: TextGraph, form: SoftTokens) -> None:
        self._session = session
        self._graph = graph
        self._form = form

    def embed(self, inputs: Sequence[GraphInputs]) -> Embeddings:
        soft = [tokens for tokens, *_ in run_all(self._session, inputs)]
        ids = [
            self._form.ids(len(tokens), len(next(iter(tensors.values()))))
            for tokens, tensors in zip(soft, inputs, strict=True)
        ]
        return self._graph.embed(ids, soft)
