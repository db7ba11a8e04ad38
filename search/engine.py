"""Plan, encode, search, fuse, fetch: a query becomes hits."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from datetime import date
from itertools import zip_longest
from threading import Lock

import numpy as np
from cachetools import LRUCache

from encoder.errors import AnymodalError, InputError, ModelTimeoutError, ModelUnavailableError
from encoder.registry import registered_modalities
from encoder.space import Space
from encoder.types import AUDIO, DOCUMENT, IMAGE, TEXT, VIDEO, Modality
from search.deadline import Deadline, StageProgress
from search.errors import NotFoundError
from search.filters import Filter
from search.lanes import Lanes, SearchedLane, Sizes
from search.latency import LatencyTracker
from search.listing import Chosen, Listing
from search.query.pages import check_cursor, read_page
from search.query.planner import QueryPlan, plan
from search.query.query import Query, Term
from search.query.query_encoder import QueryEncoder
from search.query.terms import ItemEncoder, embed_terms
from search.query.word_search import WordSearch
from search.ranking.candidates import Finder
from search.ranking.explain import explain_hit, explain_query
from search.ranking.fusion import content_of, fuse_terms
from search.ranking.grouping import Group
from search.ranking.hits import hit_of, shown_location
from search.ranking.request import LaneQuery, Request, leaning
from search.ranking.second_look import Reranker, question_of
from search.ranking.verdict import Verdict, threshold_among
from search.store.base import VectorStore
from search.store.name_index import NameIndex
from search.store.visible import Visible
from search.types import Explanation, Hit, SearchResult
from search.understanding.evidence import Evidence, EvidenceSearch, both
from search.understanding.places import LibraryPlaces
from search.understanding.understand import MAX_CHARS, reads, understand

_THREADS = 16
_MOST_WITHIN = 64


class SearchEngine:
    """Answers queries of any modality. Safe to use from threads if its parts are.

    Make it in the process that uses it, after a fork. ``latency`` holds the stages of recent
    searches. One set of threads serves all requests. ``today`` is used to resolve "yesterday".
    ``reranker`` judges texts for queries with ``rerank``. ``lanes`` are the encoders of modalities
    that the store keeps in spaces of their own. ``threads`` are another engine's.
    """

    def __init__(
        self,
        encoder: ItemEncoder,
        store: VectorStore,
        today: Callable[[], date] = date.today,
        reranker: Reranker | None = None,
        lanes: Mapping[Modality, ItemEncoder] | None = None,
        threads: ThreadPoolExecutor | None = None,
    ) -> None:
        self._reranker = reranker
        self._today = today
        self._lanes = Lanes.of(encoder, store, lanes or {})
        self.store = store
        self._sizes = Sizes(store)
        self._names = NameIndex(store)
        self._places = LibraryPlaces(store)
        self._evidence = EvidenceSearch(store, self._names)
        self._known = frozenset(
            {TEXT, IMAGE, AUDIO, VIDEO, *encoder.space.calibration, *registered_modalities()}
            | (lanes or {}).keys()
        )
        self._threads = threads or ThreadPoolExecutor(_THREADS, thread_name_prefix="search")
        self.latency = LatencyTracker()
        self._within: LRUCache[Filter, SearchEngine] = LRUCache(_MOST_WITHIN)
        self._lock = Lock()

    def close(self) -> None:
        """End the threads; encoder and store stay open. May be called twice."""
        self._threads.shutdown()
        for engine in (self, *self._within.values()):
            engine._names.close()
            engine._places.close()

    def within(self, filter: Filter) -> SearchEngine:
        """The engine of what a filter lets through, which knows of nothing else; not closed."""
        with self._lock:
            if filter not in self._within:
                others = self._lanes.others
                encoders = [lane.encoder for lane in (self._lanes.home, *others.values())]
                apart = {id(e): e.apart() if isinstance(e, QueryEncoder) else e for e in encoders}
                self._within[filter] = SearchEngine(
                    apart[id(self.encoder)],
                    Visible(self.store, filter),
                    self._today,
                    self._reranker,
                    {modality: apart[id(lane.encoder)] for modality, lane in others.items()},
                    self._threads,
                )
            return self._within[filter]

    def prepare(self) -> None:
        """Start reading the library's names and places, before the first search waits for them."""
        self._names.begin()
        self._places.begin()

    def search(self, query: Query, deadline: Deadline | None = None) -> SearchResult:
        """The best hits for a query.

        The stages in ``latency_s`` are ``understand``, ``plan``, ``encode_<modality>``
        (``encode_asset`` for stored assets), ``names``, ``search``, ``lexical``, ``filter``,
        ``fuse``, ``fetch``, ``rerank``, ``judge``, ``explain`` and ``total``; those that were not
        needed are missing.

        Args:
            query: see `search.query.query.Query`.
            deadline: checked before each stage.

        Raises:
            InputError: the query cannot be answered as it is.
            NotFoundError: it names an asset that is not stored.
            StoreError: the store cannot do its work.
            TimeLimitError, CancelledError: as ``deadline`` says.
        """
        if query.within:
            narrowed = replace(query, filter=both(query.filter, query.within), within=None)
            return self.within(query.within).search(narrowed, deadline)
        progress = StageProgress(deadline)
        question = self._question(query)
        evidence = Evidence()
        if query.understand:
            with progress.stage("understand"):
                meaning = understand(query, self._places.names(), self._today())
                if meaning.sought:
                    query, evidence = self._evidence.find(query, meaning, progress.deadline.check)
            if not all(map(reads, query.terms)):
                limit = f"{MAX_CHARS:,} characters"
                progress.warn(f"Dates and places were not read in texts of more than {limit}.")
        request = self._prepare(query, evidence, progress)
        listing = Listing(request, self.store, self._lanes, self._threads)
        chosen = listing.page(question, self._reranker)
        explanations = self._explain(chosen, listing, request) if query.explain else []
        hits = self._hits(chosen, explanations, request)
        result = SearchResult(
            hits,
            progress.timer.latency_s(),
            chosen.cursor(request),
            explain_query(request, chosen.finder.n_seen) if query.explain else None,
            evidence.understood,
            progress.warnings,
            judged=request.verdict is not None,
            total=chosen.total,
        )
        self.latency.record(result.latency_s)
        return result

    def _question(self, query: Query) -> str:
        """The words to judge texts by; empty where none are to be judged."""
        if not query.rerank:
            return ""
        if self._reranker is None:
            raise InputError(
                "query.rerank",
                got="true, without a reranker",
                wanted="false, or a model in ANYMODAL_RERANKER",
            )
        if query.sort:
            raise InputError("query.rerank", got=f"sort={query.sort!r} too", wanted="one of them")
        return question_of(query.terms)

    def _prepare(self, query: Query, evidence: Evidence, progress: StageProgress) -> Request:
        with progress.stage("plan"):
            planned = plan(query, self._known)
            lanes = self._lanes.taking(query.terms, planned.modalities)
            check_cursor(query, next(iter(lanes.values())).encoder.space.embed_dim)
        if query.consistency == "strong":
            with progress.stage("search"):
                self.store.catch_up()
        with progress.stage("plan"):
            words = WordSearch(self.store, planned, self._threads, query.filter)
            by_name = self._look_up_names(query)
        asked = self._encoded(query, lanes, evidence, progress)
        with progress.stage("plan"):
            planned = _within(planned, asked, progress)
            page = read_page(query, next(iter(asked.values())).fused.direction)
            planned = planned.beyond(page.reached.depth)
            space = self._lanes.space({modality: lane.space for modality, lane in asked.items()})
            hidden = frozenset(term.asset_id for term in query.terms if term.asset_id)
            in_words = all(t.item and t.item.modality == TEXT and t.weight > 0 for t in query.terms)
            verdict, levels = None, dict[Modality, float]()
            if in_words:
                space = leaning(space, asked)
                levels = self._levels(asked)
                if levels.keys() == asked.keys() and not evidence.lists:
                    n_segments = progress.deadline.wait(
                        self._threads, self._sizes.among, query.filter, asked
                    )
                    threshold = threshold_among(n_segments)
                    _, best, last, _, is_over = page.reached
                    verdict = Verdict(threshold, best, last, is_over)
        return Request(
            query=query,
            plan=planned,
            page=page,
            lanes={m: lane.centred() if m == TEXT else lane for m, lane in asked.items()},
            words=words,
            progress=progress,
            space=space,
            hidden=hidden,
            verdict=verdict,
            levels=levels,
            evidence=evidence,
            named=by_name,
        )

    def _encoded(
        self,
        query: Query,
        lanes: Mapping[Modality, SearchedLane],
        evidence: Evidence,
        progress: StageProgress,
    ) -> dict[Modality, LaneQuery]:
        """The query as each lane encodes it; a lane that holds nothing of an asset has none."""
        encoded: dict[int, LaneQuery] = {}
        refusals: list[AnymodalError] = []
        for lane in {id(lane): lane for lane in lanes.values()}.values():
            try:
                lane_query = _encoded_by(lane, query, evidence, progress)
                model = lane.encoder.model if self._lanes.others else ""
                encoded[id(lane)] = replace(lane_query, model=model)
            except NotFoundError as error:
                refusals.append(error)
            except (ModelUnavailableError, ModelTimeoutError) as error:
                progress.warn(f"{lane.encoder.model} does not answer. {error.remedy}")
                refusals.append(error)
        if not encoded:
            raise refusals[0]
        return {
            modality: encoded[id(lane)] for modality, lane in lanes.items() if id(lane) in encoded
        }

    def _look_up_names(self, query: Query) -> Future[Mapping[str, float]] | None:
        """The assets with names like the query, looked up while the query is being encoded."""
        contents = (term.item.content for term in query.terms if term.item and term.weight > 0)
        text = " ".join(content for content in contents if isinstance(content, str))
        if query.lexical is False or not text:
            return None
        return self._threads.submit(self._names.find, text, with_folders=query.folder_names)

    @property
    def encoder(self) -> ItemEncoder:
        """Of texts."""
        return self._lanes.home.encoder

    def space(self) -> Space:
        """The space of texts, with the constants of all modalities as the stores have them."""
        return self._lanes.space()

    def _levels(self, asked: Mapping[Modality, LaneQuery]) -> dict[Modality, float]:
        """What a question scores on foreign texts in each lane that has a bank of them."""
        levels: dict[int, float] = {}
        for modality, lane in {id(lane): (m, lane) for m, lane in asked.items()}.values():
            if foreign := self._lanes.lane(modality).foreign(lane.space):
                levels[id(lane)] = foreign.level(lane.fused)
        return {m: levels[id(lane)] for m, lane in asked.items() if id(lane) in levels}

    def _hits(
        self, chosen: Chosen, explanations: Sequence[Explanation], request: Request
    ) -> list[Hit]:
        hits = []
        with request.progress.stage("fetch"):
            for group, explanation in zip_longest(chosen.groups, explanations):
                stack = [self._hit(shot, chosen.finder, request) for shot in group.stack]
                hit = self._hit(group, chosen.finder, request)
                if explanation or stack:
                    hit = replace(hit, explanation=explanation, stack=stack)
                hits.append(hit)
        return hits

    def _hit(self, group: Group, finder: Finder, request: Request) -> Hit:
        row = finder.pools.row(group)
        return hit_of(group, row, shown_location(row.locations), request.plan.words)

    def _explain(self, chosen: Chosen, listing: Listing, request: Request) -> list[Explanation]:
        if not chosen.groups:
            return []
        with request.progress.stage("explain"):
            embeddings = listing.vectors(chosen.groups)
            groups_ranked = zip(chosen.groups, chosen.ranks, embeddings, strict=True)
            return [explain_hit(*ranked, request) for ranked in groups_ranked]


def _encoded_by(
    lane: SearchedLane, query: Query, evidence: Evidence, progress: StageProgress
) -> LaneQuery:
    """The query in a lane's space; the terms without dates and places are in the same batch."""
    pairs = zip(evidence.rest_terms, query.terms, strict=False)
    changed = [n for n, (rest_term, term) in enumerate(pairs) if rest_term.item is not term.item]
    terms = [*query.terms, *(evidence.rest_terms[n] for n in changed)]
    embeddings, has_text = embed_terms(terms, lane.encoder, lane.store, lane.name, progress)
    embeddings, of_rest = np.split(embeddings, [len(query.terms)])
    with progress.stage("plan"):
        weights = [term.weight for term in query.terms]
        fused, fused_rest = fuse_terms(embeddings, weights), None
        if changed:
            without = embeddings.copy()
            without[changed] = of_rest
            fused_rest = fuse_terms(without, weights)
    space = lane.space()
    if content := _stored_alike(query.terms, space):
        fused = replace(fused, content=content)
    return LaneQuery(
        model="",
        space=space,
        term_embeddings=embeddings,
        fused=fused,
        fused_rest=fused_rest,
        has_text=has_text,
    )


def _stored_alike(terms: Sequence[Term], space: Space) -> str:
    """The content of a query that is one text, and that is encoded as stored texts are."""
    item = terms[0].item
    if len(terms) > 1 or not item or item.modality != TEXT or not isinstance(item.content, str):
        return ""  # vectors may stand for a text
    is_stored = space.role_of(replace(item, role=terms[0].role)) == DOCUMENT
    return content_of(item.content) if is_stored else ""


def _within(
    planned: QueryPlan, asked: Mapping[Modality, LaneQuery], progress: StageProgress
) -> QueryPlan:
    """The plan for the modalities whose lanes take the query; says which do not."""
    left_out = [modality for modality in planned.modalities if modality not in asked]
    if not left_out:
        return planned
    names = ", ".join(map(str, left_out))
    progress.warn(f"Not searched: {names}. Their model did not encode this query.")
    return planned.only(asked)
