"""Embed a set of questions with each subject, rank, and measure."""

from __future__ import annotations

import time
from collections import defaultdict
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import asdict, dataclass, field
from itertools import islice
from typing import TYPE_CHECKING, Any, TypeVar

import numpy as np

from encoder.errors import AnymodalError, InputError
from encoder.space import l2_normalize
from encoder.types import DOCUMENT, QUERY, TEXT, Embeddings, Item, Modality
from ingest import IngestConfig, identify, segments
from workers.evaluation.measures import Interval, Values, interval, measured
from workers.evaluation.questions import Content, Question, QuestionSet

if TYPE_CHECKING:
    from encoder import MultiModalEncoder
    from encoder.lane import Lane

MOST_SEGMENTS = 64
"""The most segments read of one file; the best one counts."""
Kinds = tuple[Modality, Modality]
_Encoded = TypeVar("_Encoded")
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
class _EncodedQuery:
    """Its modality, and its vector [embed_dim] in the space of each model that takes it."""

    modality: Modality
    by_lane: Mapping[Lane, Embeddings]


@dataclass(frozen=True, eq=False)
class _Candidate:
    """Its modality, and for each segment its own and all rows [n_rows, embed_dim] in its lane."""

    modality: Modality
    segments: Sequence[tuple[Modality, Embeddings]]


def judge(
    name: str,
    encoder: MultiModalEncoder,
    question_set: QuestionSet,
    config: IngestConfig,
    first: SubjectJudgement | None = None,
    on_progress: OnProgress = lambda _done, _all: None,
) -> SubjectJudgement:
    """Measure how well an encoder finds the answers, for each pair of modalities.

    With several models, the files of each modality are compared in the space of its own.
    """
    judged, started_s = SubjectJudgement(name), time.process_time()
    queries = [question.query for question in question_set.questions]
    n_all = len(queries) + len(question_set.candidates)

    def each(
        encode: Callable[[MultiModalEncoder, Content, IngestConfig], _Encoded],
        contents: Sequence[Content],
        n_before: int,
    ) -> dict[Content, _Encoded]:
        by_content = {}
        for done, content in enumerate(contents, n_before + 1):
            try:
                by_content[content] = encode(encoder, content, config)
            except AnymodalError as error:
                judged.failed[str(content)] = str(error)
            on_progress(done, n_all)
        return by_content

    sought = each(_query, queries, 0)
    stored = each(_candidate, question_set.candidates, len(queries))
    judged.cpu_s = time.process_time() - started_s
    for kinds, questions, candidates in _by_kinds(question_set.questions, sought, stored):
        lane = encoder.lane(kinds[1])
        for question in questions:
            if lane not in sought[question.query].by_lane:
                judged.failed[str(question.query)] = f"{lane.model} takes no {kinds[0]}"
        within = [question for question in questions if lane in sought[question.query].by_lane]
        if within:
            scores = _scores(encoder, [sought[q.query] for q in within], candidates)
            _measure(judged, first, kinds, within, list(candidates), scores)
    return judged


def _query(encoder: MultiModalEncoder, content: Content, config: IngestConfig) -> _EncodedQuery:
    modality, segments = _segments(content, encoder.modalities, config)
    by_lane = {}
    for lane in {encoder.home, *encoder.lanes.values()}:
        items = [Item(kind, value, QUERY) for kind, value in segments if kind in lane.modalities]
        if items:  # a long file asks one question
            rows = lane.encode_items(items)
            by_lane[lane] = rows[0] if len(rows) == 1 else l2_normalize(rows.mean(axis=0))
    return _EncodedQuery(modality, by_lane)


def _candidate(encoder: MultiModalEncoder, content: Content, config: IngestConfig) -> _Candidate:
    modality, segments = _segments(content, encoder.modalities, config)
    rows = encoder.encode_rows([Item(kind, value, DOCUMENT) for kind, value in segments])
    return _Candidate(modality, [(segments[n][0], segment) for n, segment in enumerate(rows)])


def _segments(
    content: Content, modalities: frozenset[Modality], config: IngestConfig
) -> tuple[Modality, list[tuple[Modality, Any]]]:
    if not content.file:
        return TEXT, [(TEXT, content.text)]
    asset = identify(content.file.resolve(), config)
    taken = (
        (segment.modality, segment.content)
        for segment in segments(asset, config)
        if segment.modality in modalities
    )
    first = list(islice(taken, MOST_SEGMENTS))
    if not first:
        raise InputError(
            str(content), got=f"{asset.modality}", wanted=f"one of {', '.join(sorted(modalities))}"
        )
    return asset.modality, first


def _by_kinds(
    questions: Sequence[Question],
    sought: Mapping[Content, _EncodedQuery],
    stored: Mapping[Content, _Candidate],
) -> Iterator[tuple[Kinds, list[Question], dict[Content, _Candidate]]]:
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
    queries: Sequence[_EncodedQuery],
    candidates: Mapping[Content, _Candidate],
) -> Values:
    """The best calibrated score of each candidate's rows, [n_queries, n_candidates]."""
    best = np.full((len(queries), len(candidates)), -np.inf)
    for lane in {encoder.home, *encoder.lanes.values()}:
        asking = [n for n, query in enumerate(queries) if lane in query.by_lane]
        if not asking:
            continue
        vectors = np.stack([queries[n].by_lane[lane] for n in asking])
        levels = np.ones(len(asking))
        is_text = np.array([queries[n].modality == TEXT for n in asking])
        vectors[is_text], levels[is_text] = lane.space.asked(vectors[is_text])
        vectors = vectors.astype(np.float64)
        for column, candidate in enumerate(candidates.values()):
            for modality, rows in candidate.segments:
                if encoder.lane(modality) is not lane:
                    continue
                calibration = lane.space.calibration_of(modality)
                for number, cosines in enumerate((vectors @ rows.T).T):
                    scores = calibration.of_row(number).apply(cosines, levels)
                    best[asking, column] = np.maximum(best[asking, column], scores)
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
    former_values = first.values.get(kinds, {}) if first else {}
    paired = [question for question in questions if question.query in former_values]
    gain = None
    if paired:
        gains_of = [judged.values[kinds][q.query] - former_values[q.query] for q in paired]
        gain = interval(np.array(gains_of), [_answers(q) for q in paired])
    judged.pairs[kinds] = ModalityPair(len(questions), len(candidates), intervals, gain)


def _answers(question: Question) -> tuple[str, ...]:
    return tuple(sorted(map(str, question.relevant)))
