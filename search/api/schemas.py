"""Requests and answers, as OpenAPI describes them."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated, Any, ClassVar, Literal

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from search.types import Prune, Reading


class SaidOut(BaseModel):
    """A span of speech in a body of sound, and what was understood."""

    text: str
    language: str
    confidence: float
    start_s: float
    end_s: float
    recognize_ms: float = Field(
        description="Time spent on these words, mostly while the rest was arriving."
    )


class UnderstoodOut(BaseModel):
    """A date or place in the query that the library shows. `understand: false` leaves it words."""

    kind: Reading
    text: str
    filter: dict[str, Any] = Field(description="For what was taken then or there.")
    only: bool = Field(False, description="Whether all hits show it; else, those that do gain.")


MAX_TERMS = 32
_SOURCES = ("text", "image", "audio", "video", "asset_id", "file", "base64", "url")
_FILES = ("file", "base64", "url")
MAX_TEXT_CHARS = 20_000

Text = Annotated[str, Field(min_length=1, max_length=MAX_TEXT_CHARS)]


class Strict(BaseModel):
    """A request. Unknown fields are refused, so that typing errors are noticed.

    So are values of another type, such as a number for a boolean.
    """

    model_config = ConfigDict(extra="forbid", strict=True)
    most_values: ClassVar[int] = 100_000
    """In one request; and of these, lists and objects, which take longer than numbers."""
    most_containers: ClassVar[int] = 10_000


class FilePart(Strict):
    """A part of a multipart request, by its name."""

    file: str


Media = str | FilePart


class FileIn(Strict):
    """A file of any kind: one of file, base64 and url."""

    kind: str | None = Field(
        None, description="One of `kinds` in `/v1/info`; by default detected from the file."
    )
    file: str | None = Field(None, description="The name of a part of a multipart request.")
    base64: str | None = Field(None, description="Base64 or a data: URI.")
    url: str | None = Field(None, max_length=4000, description="An http(s) URL of an allowed host.")

    def check_sources(self, sources: Sequence[str]) -> None:
        """Raise ValueError unless exactly one source is given, and ``kind`` only with a file."""
        sources_sent = [name for name in sources if getattr(self, name) is not None]
        if len(sources_sent) != 1:
            raise ValueError(
                f"expected exactly one of {', '.join(sources)}, got {len(sources_sent)}"
            )
        if self.kind is not None and sources_sent[0] not in _FILES:
            raise ValueError(
                f"kind can be given with {', '.join(_FILES)}, but not with {sources_sent[0]}"
            )


class TermIn(FileIn):
    """One thing to search with: exactly one of text, image, audio, video, asset_id, file, base64
    and url."""

    text: Text | None = None
    image: Media | None = Field(
        None, description="Base64, a data: or http(s) URI, or {file: part name}."
    )
    audio: Media | None = None
    video: Media | None = None
    asset_id: str | None = Field(None, description="Find more like this stored asset.")
    weight: float = Field(1.0, ge=-10, le=10, description="Not 0; negative weights push away.")

    @model_validator(mode="after")
    def _one_source(self) -> TermIn:
        self.check_sources(_SOURCES)
        if self.weight == 0:
            raise ValueError("weight must not be 0")
        return self


def _as_terms(query: object) -> object:
    """A plain string is one term of text."""
    return [{"text": query}] if isinstance(query, str) else query


class SearchRequest(Strict):
    """A search."""

    query: Annotated[
        list[TermIn],
        Field(min_length=1, max_length=MAX_TERMS),
        BeforeValidator(_as_terms, json_schema_input_type=Text | list[TermIn]),
    ]
    modalities: list[str] = Field([], max_length=16, description="Kinds to return; all if empty.")
    limit: int = Field(10, ge=1, le=1000)
    filter: dict[str, Any] | str | None = Field(
        None, description="A condition, or one in words such as `rating >= 4`."
    )
    quotas: dict[str, Annotated[int, Field(ge=1, le=1000)]] = {}
    score_threshold: float | None = None
    group_by: Literal["asset", "segment"] = "asset"
    moments: int = Field(3, ge=0, le=20, description="Further segments to return per asset.")
    diversity: float = Field(0.0, ge=0, le=1)
    lexical: bool | None = None
    consistency: Literal["session", "strong"] = "session"
    cursor: str = Field("", max_length=100_000)
    explain: bool = False
    sort: str = Field(
        "",
        max_length=40,
        description="Sort all strong hits of the list, on all pages, by `date`, `name` or a field "
        "such as `taken`; `-taken`: latest first. A list that nothing ends is sorted page by page.",
    )
    count: bool = Field(False, description="Count the strong hits of the whole list: `total`.")
    rerank: bool = Field(False, description="Let the server's reranker order the page's texts.")
    stacks: bool = Field(True, description="Return nearly identical photos as one hit.")
    understand: bool | list[Reading] = Field(
        True,
        description="Read dates and places in the texts, and prefer what shows them: both, "
        "neither, or the listed ones.",
    )
    only: list[Reading] = Field(
        [], description="Return only what shows them, as far as anything in the library does."
    )


class MomentOut(BaseModel):
    """A further segment of a hit's asset."""

    segment_id: str
    modality: str
    score: float
    start_s: float | None = None
    end_s: float | None = None
    char_start: int | None = None
    char_end: int | None = None
    snippet: str = ""
    confidence: float = Field(1.0, description="Confidence of a transcript, 0 to 1.")
    language: str = Field("", description="Language of a transcript: en, de, zh.")
    boxes: list[list[float]] = Field(
        [],
        description="The lines of text in a picture: x and y of the four corners of each, as "
        "fractions of the picture's width and height.",
    )
    regions: list[list[float]] = Field(
        [],
        description="Of `boxes`, the lines with most words of the query; one box around them all "
        "where none has any.",
    )
    matches: list[tuple[int, int]] = Field(
        [], description="Ranges of matching words in the snippet."
    )
    place: dict[str, str | int | float] = Field(
        {}, description="The place in a document: page, slide, sheet, cell or heading."
    )


class HitOut(MomentOut):
    """A hit. Scores compare across modalities; best first."""

    asset_id: str
    name: str = Field(description="The file's name.")
    uri: str | None = Field(
        None, description="Where the file is; only for scope admin and this machine's user."
    )
    media_type: str
    title: str
    duration_s: float | None = None
    tags: list[str] = []
    probability: float | None = Field(
        None,
        description="How likely it answers, 0 to 1, never rising down the list; null where nothing "
        "was judged.",
    )
    weak: bool = Field(
        False, description="No better than what a question that nothing answers finds."
    )
    rerank_score: float | None = Field(None, description="The score of `rerank`, 0 to 1.")
    metadata: dict[str, Any] = {}
    moments: list[MomentOut] = []
    explanation: dict[str, Any] | None = None
    stack: list[HitOut] = Field(
        [], description="Further shots of the same photo, best first, which this hit stands for."
    )
    content_url: str
    thumbnail_url: str


class SearchAnswer(BaseModel):
    """Hits, and the milliseconds of each stage with their total."""

    hits: list[HitOut]
    next_cursor: str
    explain: dict[str, Any] | None = None
    understood: list[UnderstoodOut] = []
    warnings: list[str] = Field(
        [],
        description="What is missing from the answer, and what the filter names and no file has.",
    )
    judged: bool = Field(
        True,
        description="False for media, stored files, negative terms, and dates or places alone: "
        "hits are only ranked.",
    )
    total: int | None = Field(
        None, description="How many hits of the whole list are not weak; null if not known."
    )
    said: list[SaidOut] = Field([], description="What was said, if the body is sound.")
    after_speech_ms: float | None = Field(
        None, description="From the arrival of the last spoken words to these hits."
    )
    latency_ms: dict[str, float]


class Fault(BaseModel):
    """The problem and its remedy."""

    type: str
    message: str
    remedy: str
    field: str | None = None
    code: str = Field(description="The type in OpenAI's terms.")
    param: str | None = Field(None, description="The same as `field`, for OpenAI's clients.")


class ErrorAnswer(BaseModel):
    """Any response other than 2xx."""

    error: Fault


class AssetOut(BaseModel):
    """A stored file."""

    asset_id: str
    name: str
    modality: str
    media_type: str
    size_bytes: int
    n_segments: int
    title: str
    duration_s: float | None
    tags: list[str]
    metadata: dict[str, Any]
    stack: list[AssetOut] = Field(
        [], description="Further shots of the same photo, which this one stands for in a list."
    )
    content_url: str
    thumbnail_url: str


class PassageOut(BaseModel):
    """A passage of a file, without what the one before has of it."""

    segment_id: str
    text: str
    place: dict[str, str | int | float] = {}


class PassagesAnswer(BaseModel):
    """Some passages of a file, in its order: from the place `start` on, of `total`."""

    passages: list[PassageOut]
    start: int
    total: int


class SloOut(BaseModel):
    """Whether searches meet the latency target that was set."""

    p95_ms: float
    window: str
    measured_p95_ms: float | None
    ok: bool


class StageOut(BaseModel):
    """Milliseconds of one stage within a window of time."""

    n: int
    p50_ms: float
    p90_ms: float
    p95_ms: float
    p99_ms: float
    max_ms: float


class AssetsAnswer(BaseModel):
    """A page of assets, in the order that was asked for."""

    assets: list[AssetOut]
    next_cursor: str
    sort: Literal["id", "newest", "oldest", "added"] = "id"
    warnings: list[str] = Field([], description="What the filter names and no file has.")


class RefusedOut(BaseModel):
    """A file that was set aside."""

    name: str
    error: str
    reason: str


class JobOut(BaseModel):
    """The status of an ingest job."""

    id: str
    state: Literal["planning", "running", "done", "cancelling", "cancelled", "failed"]
    files: int
    ingested: int
    unchanged: int
    left_out: int = Field(0, description="Files of kinds that were not requested.")
    failed: int
    segments: dict[str, int]
    limits: dict[str, int] = Field({}, description="What the model cannot find; in how many files.")
    tokens: dict[str, int] = Field({}, description="Of texts: encoded, and kept to the last layer.")
    failures: list[RefusedOut]
    seconds: float
    left_s: float | None
    asset_ids: list[str] = Field(description="For uploads: the resulting assets.")
    reason: str = Field("", description="Why the job failed.")
    waits_for: str = Field("", description="Why it does not go on, such as a full disk.")


class JobRequest(Strict):
    """What to ingest from elsewhere: files of `kinds`, named as in `/v1/info`, or all of them."""

    sources: list[Annotated[str, Field(min_length=1, max_length=2000)]] = Field(
        min_length=1, max_length=100, description="URLs such as `s3://bucket/folder/`, if allowed."
    )
    tags: list[Annotated[str, Field(max_length=1000)]] = Field([], max_length=100)
    metadata: dict[str, Any] = {}
    prune: Prune = Field(
        False, description="Remove what has been gone from the sources for 30 days; `all` at once."
    )
    kinds: list[Annotated[str, Field(max_length=100)]] = Field([], max_length=100)
    priority: Literal["interactive", "normal", "bulk"] = "normal"


class JobsAnswer(BaseModel):
    """The last jobs, newest first."""

    jobs: list[JobOut]


class UploadAnswer(BaseModel):
    """The job that makes uploads searchable."""

    job: JobOut


class Cancelled(BaseModel):
    """Whether there was anything left to cancel."""

    id: str
    cancelled: bool


Windows = dict[str, dict[str, StageOut]]


class LatencyAnswer(BaseModel):
    """By window (`1m`, `5m`, `60m`) and stage; and the same by kind of query."""

    windows: Windows
    by_modality: dict[str, Windows]
    slo: SloOut | None


class CheckOut(BaseModel):
    """Whether a part of the server is ready, and else what to do, if that is known."""

    ok: bool
    error: str | None = None
    remedy: str | None = None


class ReadyAnswer(BaseModel):
    """Whether the server is ready, by part."""

    status: Literal["ready", "unavailable"]
    checks: dict[str, CheckOut]


class AliveAnswer(BaseModel):
    """The process is alive."""

    status: Literal["ok"]


class RowCalibrationOut(BaseModel):
    """A score is ``(cosine - mu) / c``."""

    mu: float
    c: float


class KindCalibrationOut(BaseModel):
    """A score of this kind of segment is ``(cosine - mu) / c``.

    Where the store was measured, it says how far ``mu`` moves with the kind and the language of a
    query, in units of ``c``, and what was looked at. ``further``: of a segment's further vectors.
    """

    mu: float
    c: float
    further: list[RowCalibrationOut] = []
    spread: float | None
    spread_of_languages: float | None
    n_vectors: int | None
    n_segments: int | None


class CalibrationOut(BaseModel):
    """The constants that make scores of different kinds comparable in this store."""

    source: Literal["none", "shipped", "measured"]
    measured_at: str | None
    modalities: dict[str, KindCalibrationOut]


class SpaceOut(BaseModel):
    """The embedding space, and how the store calibrates it."""

    fingerprint: str
    embed_dim: int
    identity: dict[str, str]
    calibration: CalibrationOut


class KindOut(BaseModel):
    """A kind of files, ours or one of an installed package."""

    name: str = Field(description="The value of `kind` in a query.")
    label: str = Field(description="The display name of a file of this kind.")
    plural: str
    modality: str = Field(description="The modality of its files, as in filters.")
    formats: list[str]
    media_types: list[str]
    suffixes: list[str] = Field(description="The usual suffixes, with their dot.")
    shows: bool = Field(description="Whether its files have thumbnails.")
    queries: bool = Field(description="Whether the model can search with its files.")
    icon: str = Field(description="The `d` of an SVG path in a square of 24 by 24.")


class InfoAnswer(BaseModel):
    """The model, the store and versions."""

    version: str
    model: str
    space: SpaceOut
    modalities: list[str]
    kinds: list[KindOut]
    assets: int
    versions: dict[str, str]


Tag = Annotated[str, Field(min_length=1, max_length=1000)]


class AssetChange(Strict):
    """Tags to add to an asset, and those to take off."""

    add_tags: list[Tag] = Field([], max_length=100)
    remove_tags: list[Tag] = Field([], max_length=100)
