"""Types of results and stored rows."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, field
from functools import lru_cache
from operator import attrgetter
from typing import TYPE_CHECKING, Any, Literal, NamedTuple, TypeAlias

from encoder.types import Modality

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import NDArray

JsonValue: TypeAlias = (
    "bool | int | float | str | Sequence[JsonValue] | Mapping[str, JsonValue] | None"
)

Reading: TypeAlias = Literal["date", "place"]
READINGS: tuple[Reading, ...] = ("date", "place")
"""All that can be read from a query's words."""

Prune: TypeAlias = bool | Literal["all"]
"""Whether an ingest removes assets that have had no file for 30 days; ``all``: that have none."""

Labels: TypeAlias = Mapping[str, JsonValue]
"""Tags and metadata that a user gives to files, by the names of `AssetRow.metadata`."""


@dataclass(frozen=True)
class IngestRequest:
    """What to ingest: the same from a command, the API, an agent and a watched folder.

    All values are plain, so that `dataclasses.asdict` of it is JSON.
    """

    paths: Sequence[str]
    """Files and folders, URLs of allowed hosts, and URLs of object stores; paths are absolute."""
    labels: Labels = field(default_factory=dict)
    """Tags and metadata of all files, stored ones included."""
    prune: Prune = False
    """Whether to remove assets from the store whose files have been gone for 30 days, or all that
    are."""
    kinds: Sequence[str] = ()
    """The kinds of files to ingest; all others are counted as left out. Empty for all."""
    priority: str = "normal"
    """``interactive``, ``normal`` or ``bulk``, among the jobs on a broker."""
    gone: Mapping[str, Sequence[str]] = field(default_factory=dict)
    """Files and folders that were seen to vanish, by a folder around them."""
    verify: bool = False
    """Whether to read files again whose size and time are as stored."""
    key: str = ""
    """The id of the API's key that asks, if it has a filter."""
    within: Mapping[str, JsonValue] | None = None
    """That filter, in plain values: nothing outside it is read, changed or made."""


@dataclass(frozen=True)
class Moment:
    """A further segment of a hit's asset, and its calibrated score.

    ``confidence`` (0 to 1) and ``language`` are those of transcribed speech; for text that was read
    in a picture, ``boxes`` are the corners of its lines, x and y of each, starting at the upper
    left, as fractions of the picture's width and height; ``regions`` are those of them that answer
    the query (`search.ranking.regions`). ``matches`` are ranges ``[start, end)`` in ``snippet``
    with words of the query.
    """

    segment_id: str
    modality: Modality
    score: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = 1.0
    language: str = ""
    boxes: Sequence[Sequence[float]] = ()
    regions: Sequence[Sequence[float]] = ()
    place: Mapping[str, str | int | float] = field(default_factory=dict)
    matches: Sequence[tuple[int, int]] = ()


@dataclass(frozen=True)
class TermScore:
    """What one term of the query contributes to a hit.

    Args:
        term: its place in ``query.items``.
        modality: its item's; ``asset`` for a stored asset.
        weight: as in the query.
        cosine: between the term and the hit's segment.
        score: the cosine, calibrated for the segment's modality.
    """

    term: int
    modality: str
    weight: float
    cosine: float
    score: float


@dataclass(frozen=True)
class Explanation:
    """How a hit got its place.

    Args:
        terms: what each term of the query contributes.
        cosine: between the fused query and the segment.
        dense_score: the cosine, calibrated for the segment's modality.
        dense_rank: the segment's place among those of its modality by cosine, from 1; None if
            only its words were found.
        lexical_score: BM25; None if no word of the query was found in it.
        lexical_rank: the segment's place among those that words find, from 1.
        words_held: the share of the query's words, by their rarity, in it and its neighbours.
        score: what it is ranked by: the sum of the five that follow ``row``.
        rank: its place in the whole ranking before pages are cut, from 1.
        row: the number of the embedding by which the segment was found; 0 if it has only one.
        dense: ``dense_score``, less the doubt about recognised words.
        words: what is added for words of the query in its text.
        named: what is added for words of the query in its asset's names.
        evidence: what is added for a date or a place of the query.
        prior: what is added for a kind of file that the query names.
        value: how far it stands out from chance, see `search.ranking.verdict`; None if not judged.
    """

    terms: Sequence[TermScore]
    cosine: float
    dense_score: float
    dense_rank: int | None
    lexical_score: float | None
    lexical_rank: int | None
    score: float
    rank: int
    row: int = 0
    words_held: float = 0.0
    dense: float = 0.0
    words: float = 0.0
    named: float = 0.0
    evidence: float = 0.0
    prior: float = 0.0
    value: float | None = None


@dataclass(frozen=True)
class Hit:
    """A segment found. ``score`` is calibrated: comparable across modalities, best first.

    ``probability``, 0 to 1, says how likely it is that the segment answers; it never rises down the
    list. ``weak`` says that the list had ended before it: it stands out no more than hits of a
    question that nothing answers. Where a result is not ``judged``, the probability is None and
    nothing is weak.

    ``rerank_score``, 0 to 1, says how well the text answers, if that was asked for. ``stack`` holds
    further shots of the same photo, best first, which this hit stands for.

    ``confidence``, ``language`` and ``boxes`` are as in `Moment`. ``title``,
    ``media_type``, ``metadata`` and ``duration_s`` are the asset's; ``matches`` are ranges
    ``[start, end)`` in ``snippet`` with words of the query.
    """

    asset_id: str
    segment_id: str
    uri: str
    modality: Modality
    score: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = 1.0
    language: str = ""
    boxes: Sequence[Sequence[float]] = ()
    regions: Sequence[Sequence[float]] = ()
    place: Mapping[str, str | int | float] = field(default_factory=dict)
    matches: Sequence[tuple[int, int]] = ()
    title: str = ""
    media_type: str = ""
    duration_s: float | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    moments: Sequence[Moment] = ()
    explanation: Explanation | None = None
    probability: float | None = None
    weak: bool = False
    rerank_score: float | None = None
    stack: Sequence[Hit] = ()


@dataclass(frozen=True)
class Understood:
    """A date or a place in a query's text that something in the library shows.

    Args:
        kind: a date, or a place.
        text: as it is written in the query.
        filter: for what was taken then or there, as plain values of the language of filters.
        only: whether all hits show it; otherwise, those that do score higher.
    """

    kind: Reading
    text: str
    filter: Mapping[str, JsonValue]
    only: bool = False


@dataclass(frozen=True)
class SearchResult:
    """Hits, best first, and the seconds of each stage with their ``total``.

    ``next_cursor`` asks for the page after this one; empty if this is the last. ``explain`` says
    what the query became, if it asked for that; ``understood`` what was read from its words;
    ``warnings`` what the answer lacks, such as words of an index that is still being read.
    ``judged`` says whether hits have probabilities: those of questions in words have. ``total`` is
    how many hits the list has that are not weak, on all pages; None if that is not known.
    """

    hits: Sequence[Hit]
    latency_s: Mapping[str, float]
    next_cursor: str = ""
    explain: Mapping[str, Any] | None = None
    understood: Sequence[Understood] = ()
    warnings: Sequence[str] = ()
    judged: bool = True
    total: int | None = None


def as_json(result: SearchResult) -> dict[str, Any]:
    """The result as plain lists, dictionaries, strings and numbers, for `json.dumps`."""
    return {
        "hits": [asdict(hit, dict_factory=_plain) for hit in result.hits],
        "next_cursor": result.next_cursor,
        "explain": result.explain,
        "understood": [asdict(reading) for reading in result.understood],
        "warnings": list(result.warnings),
        "judged": result.judged,
        "total": result.total,
        "latency_s": dict(result.latency_s),
    }


def _plain(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    """Modalities become bare strings."""
    return {key: str(value) if isinstance(value, str) else value for key, value in pairs}


LOOK = "look"
"""In the metadata of a picture's asset: see `encoder.media.look.look_of`."""
GONE_SINCE = "gone_since"
"""In the metadata of an asset without a file: when that was seen, in seconds since 1970."""
FILE_FACTS = frozenset(
    {"duration_s", "width", "height", "modified", "taken", "latitude", "longitude", "camera_model"}
    | {"city", "region", "country", "places", "object_versions", "tags", "read_by", "speech_s"}
    | {GONE_SINCE, LOOK}
)
"""The metadata that only ingest sets; of users, tags come by a way of their own."""
_INTERNAL_FACTS = frozenset({"object_versions", LOOK})
"""The object versions that hold an asset, which only ingest uses, and what a picture looks like."""


@dataclass(frozen=True)
class AssetRow:
    """The commit row of an asset: it is ingested once this is stored.

    ``counts`` are its segments by modality, above 0; an asset that counts none is read again by the
    next ingest. ``locations`` are all the URIs at which the content was seen. ``metadata`` keeps
    the types of its values; filters know ``title``, ``language`` (text), ``tags`` (a list of
    texts), ``duration_s``, ``width``, ``height`` and ``modified`` (numbers; seconds since 1970).
    """

    asset_id: str
    modality: Modality
    media_type: str
    size_bytes: int
    counts: Mapping[Modality, int]
    locations: Sequence[str]
    metadata: Mapping[str, JsonValue] = field(default_factory=dict)

    @property
    def n_segments(self) -> int:
        """The number of its segments."""
        return sum(self.counts.values())

    @property
    def is_gone(self) -> bool:
        """Whether an ingest saw that none of its locations exists any more."""
        return GONE_SINCE in self.metadata

    @property
    def shown_metadata(self) -> dict[str, JsonValue]:
        """The metadata without what only searches and ingest use."""
        return {name: v for name, v in self.metadata.items() if name not in _INTERNAL_FACTS}


def row_key(segment_id: str, row: int) -> str:
    """The key under which a row of a segment is stored.

    >>> row_key("5f", 0), row_key("5f", 1)
    ('5f', '5f#1')
    """
    return f"{segment_id}#{row}" if row else segment_id


@dataclass(frozen=True, eq=False)
class SegmentRow:
    """A segment with an embedding, float32 [embed_dim]; ``snippet`` is its whole text, if any.

    A segment with several embeddings has as many of these, which differ in ``embedding`` and
    ``row``. ``confidence`` (0 to 1) and ``language`` are those of transcribed speech;
    ``boxes`` are those of `Moment`, as JSON.
    """

    segment_id: str
    asset_id: str
    modality: Modality
    index: int
    embedding: NDArray[np.float32]
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = 1.0
    language: str = ""
    boxes: str = ""
    place: str = ""
    row: int = 0

    @property
    def key(self) -> str:
        """See `row_key`."""
        return row_key(self.segment_id, self.row)


class ScoredSegment(NamedTuple):
    """A segment that a store found, without its embedding, and its raw cosine to the query.

    For a segment with several embeddings, ``row`` says which one scored best.

    A search makes a hundred of them: a named tuple takes less than half the time of a frozen
    dataclass.
    """

    segment_id: str
    asset_id: str
    modality: Modality
    cosine: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = 1.0
    language: str = ""
    boxes: str = ""
    place: str = ""
    row: int = 0

    @property
    def key(self) -> str:
        """See `row_key`."""
        return row_key(self.segment_id, self.row)


SAID = ScoredSegment._fields[4:]
"""What a segment says of itself, and at last the number of its row: the last fields of both."""
said_of = attrgetter(*SAID)
modality_named = lru_cache(64)(Modality)
"""The modality of a name that is stored, checked once."""
