"""Embed a set of questions with each subject, rank, and measure."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

from encoder.errors import AnymodalError, InputError
from encoder.space import l2_normalize
from encoder.types import DOCUMENT, QUERY, TEXT, Embeddings, Item, Modality, Role
from ingest import IngestConfig, identify, segments
from workers.evaluation.measures import Interval, Values, interval, measured
from workers.evaluation.questions import Content, Question, QuestionSet

if TYPE_CHECKING:
    from encoder import MultiModalEncoder

MOST_SEGMENTS = 64
"""The most segments read of one file; the best one counts."""
Kinds = tuple[Modality, Modality]
OnProgress = Callable[[int, int], object]


@dataclass(frozen=True)
class ModalityPair:
    n_queries: int
    n_candidates: int
    figures: Mapping[str, Interval]
    gain: Interval | None = None


@dataclass
class SubjectJudgement:
    """How well one subject does.

    Args:
        pairs: by the modalities of query and candidates.
        failed: contents that it cannot encode, with reasons; they are left out.
        cpu_s: CPU time of decoding and encoding, on all cores together.
    """

    name: str
    pairs: dict[Kinds, ModalityPair] = field(default_factory=dict)
    failed: dict[str, str] = field(default_factory=dict)
    cpu_s: float = 0.0
    values: dict[Kinds, dict[Content, float]] = field(default_factory=dict, repr=False)

    def as_json(self) -> dict[str, Any]:
        return {
            "name": self.name,
            "cpu_s": round(self.cpu_s, 3),
            "failed": dict(self.failed),
            "pairs": [
                {
                    "query": str(query),
                    "target": str(target),
                    "n_queries": pair.n_queries,
                    "n_candidates": pair.n_candidates,
                    **{name: _rounded(value) for name, value in pair.figures.items()},
                    "gain": _rounded(pair.gain) if pair.gain else None,
                }
                for (query, target), pair in self.pairs.items()
            ],
        }


def _rounded(measure: Interval) -> dict[str, float]:
    return {name: round(value, 4) for name, value in asdict(measure).items()}


@dataclass(frozen=True, eq=False)
class _Embedded:
    """A content's modality, and the modality, number and vector of each of its rows."""

    modality: Modality
    kinds: Sequence[tuple[Modality, int]]
    rows: Embeddings


def judge(
    name: str,
    encoder: MultiModalEncoder,
    question_set: QuestionSet,
    config: IngestConfig,
    first: SubjectJudgement | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> SubjectJudgement:
    """Measure how well an encoder finds the answers, for each pair of modalities.

    Raises:
        InputError: the encoder has several models, whose embeddings cannot be compared.
    """
    if encoder.lanes:
        raise InputError(
            "--model", got=encoder.model, wanted="one model: measure each lane's by itself"
        )
    judged, started_s = SubjectJudgement(name), time.process_time()
    queries = [question.query for question in question_set.questions]
    n_all = len(queries) + len(question_set.candidates)

    def embedded(
        contents: Sequence[Content], role: Role, n_before: int
    ) -> dict[Content, _Embedded]:
        by_content = {}
        for done, content in enumerate(contents, n_before + 1):
            try:
                by_content[content] = _embed(encoder, content, role, config)
            except AnymodalError as error:
                judged.failed[str(content)] = str(error)
            on_progress(done, n_all)
        return by_content

    sought = embedded(queries, QUERY, 0)
    stored = embedded(question_set.candidates, DOCUMENT, len(queries))
    judged.cpu_s = time.process_time() - started_s
    for kinds, questions, candidates in _by_kinds(question_set.questions, sought, stored):
        scores = _scores(encoder, [sought[q.query] for q in questions], candidates)
        _measure(judged, first, kinds, questions, list(candidates), scores)
    return judged


def _embed(
    encoder: MultiModalEncoder, content: Content, role: Role, config: IngestConfig
) -> _Embedded:
    modality, parts = (TEXT, [(TEXT, content.text)])
    if content.file:
        modality, parts = _parts(content, encoder.modalities, config)
    encoded = encoder.encode_rows([Item(*part, role) for part in parts])
    if role == QUERY and len(encoded) > 1:  # a long file asks one question
        mean = l2_normalize(np.stack([rows[0] for rows in encoded]).mean(axis=0)[None])
        return _Embedded(modality, [(parts[0][0], 0)], mean)
    kinds = [
        (part[0], number)
        for part, rows in zip(parts, encoded, strict=True)
        for number in range(len(rows))
    ]
    return _Embedded(modality, kinds, np.concatenate(encoded))


def _parts(
    content: Content, modalities: frozenset[Modality], config: IngestConfig
) -> tuple[Modality, list[tuple[Modality, Any]]]:
    assert content.file
    asset = identify(content.file.resolve(), config)
    parts_known = (
        (segment.modality, segment.content)
        for segment in segments(asset, config)
        if segment.modality in modalities
    )
    parts = list(islice(parts_known, MOST_SEGMENTS))
    if not parts:
        raise InputError(
            str(content), got=f"{asset.modality}", wanted=f"one of {', '.join(sorted(modalities))}"
        )
    return asset.modality, parts


def _by_kinds(
    questions: Sequence[Question],
    sought: Mapping[Content, _Embedded],
    stored: Mapping[Content, _Embedded],
) -> Iterator[tuple[Kinds, list[Question], dict[Content, _Embedded]]]:
    """For each pair of modalities, the questions with an answer there, and the candidates."""
    grouped: dict[Kinds, list[Question]] = defaultdict(list)
    for question in questions:
        if question.query in sought:
            own_modalities = {
                stored[content].modality for content in question.relevant if content in stored
            }
            for modality in sorted(own_modalities):
                grouped[sought[question.query].modality, modality].append(question)
    for kinds, group in sorted(grouped.items()):
        yield kinds, group, {content: e for content, e in stored.items() if e.modality == kinds[1]}


def _scores(
    encoder: MultiModalEncoder,
    queries: Sequence[_Embedded],
    candidates: Mapping[Content, _Embedded],
) -> Values:
    """The best calibrated score of each candidate's rows, [n_queries, n_candidates]."""
    query_rows = np.stack([query.rows[0] for query in queries])
    levels = np.ones(len(queries))
    is_text = np.array([query.modality == TEXT for query in queries])
    query_rows[is_text], levels[is_text] = encoder.space.asked(query_rows[is_text])
    query_rows = query_rows.astype(np.float64)
    best = np.empty((len(queries), len(candidates)))
    for row, candidate in enumerate(candidates.values()):
        scores: NDArray[np.float64] = query_rows @ candidate.rows.T
        for column, (modality, number) in enumerate(candidate.kinds):
            by = encoder.space.calibration_of(modality).of_row(number)
            scores[:, column] = by.apply(scores[:, column], levels)
        best[:, row] = scores.max(axis=1)
    return best


def _measure(
    judged: SubjectJudgement,
    first: SubjectJudgement | None,
    kinds: Kinds,
    questions: Sequence[Question],
    candidates: Sequence[Content],
    scores: Values,
) -> None:
    gains = np.array(
        [[q.relevant.get(candidate, 0.0) for candidate in candidates] for q in questions]
    )
    for row, question in enumerate(questions):  # a file does not find itself
        if question.query in candidates and question.query not in question.relevant:
            scores[row, candidates.index(question.query)] = -np.inf
    figures = measured(scores, gains)
    groups = [_answers(question) for question in questions]
    intervals = {name: interval(values, groups) for name, values in figures.items()}
    judged.values[kinds] = dict(
        zip((q.query for q in questions), figures["ndcg_at_10"].tolist(), strict=True)
    )
    before = first.values.get(kinds, {}) if first else {}
    paired = [question for question in questions if question.query in before]
    gain = None
    if paired:
        gains_of = [judged.values[kinds][q.query] - before[q.query] for q in paired]
        gain = interval(np.array(gains_of), [_answers(q) for q in paired])
    judged.pairs[kinds] = ModalityPair(len(questions), len(candidates), intervals, gain)


def _answers(question: Question) -> tuple[str, ...]:
    return tuple(sorted(map(str, question.relevant)))
