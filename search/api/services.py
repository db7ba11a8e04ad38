"""The parts that endpoints use."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field, replace
from threading import Event
from time import time
from typing import TYPE_CHECKING, Annotated, Any

from fastapi import Depends, Request

from search.api.access.narrowed import KeyJobs, KeySearches, KeyUploads
from search.api.responses.thumbnails import Thumbnails
from search.api.schemas import ErrorAnswer
from search.engine import SearchEngine
from search.latency import LatencyTracker
from search.query.terms import ItemEncoder
from search.ranking.second_look import Reranker
from search.store.base import VectorStore
from search.uploads import UploadFolder

if TYPE_CHECKING:
    from search.api.access.auth import Access
    from search.api.access.keys import ApiKey, Sessions
    from search.api.bounded_threads import Workbench
    from search.api.config import ApiConfig
    from search.api.metrics import Metrics
    from search.api.ports import Decoder, Searches, TokenReader
    from search.api.schemas import KindOut
    from search.jobs import Jobs
    from search.listening import Transcribe


@dataclass(frozen=True)
class Services:
    """One per process; opened before the first request and closed after the last."""

    config: ApiConfig
    access: Access
    sessions: Sessions
    engine: SearchEngine
    searches: Searches
    encoder: ItemEncoder
    store: VectorStore
    decoder: Decoder
    workbench: Workbench
    latency: LatencyTracker
    metrics: Metrics
    uploads: UploadFolder
    jobs: Jobs
    thumbnails: Thumbnails
    stopping: Event
    tokens: TokenReader
    warm: Callable[[], None]
    modalities: list[str]
    transcribe: Transcribe | None = None
    """Transcribes speech; None if the model cannot."""
    reranker: Reranker | None = None
    kinds: Sequence[KindOut] = ()
    model: str = ""
    opened: float = field(default_factory=time)
    """Seconds since 1970."""

    def narrowed(self, key: ApiKey) -> Services:
        """The same for a key: with a filter, nothing outside it is seen or changed."""
        if key.within is None:
            return self
        engine = self.engine.within(key.within)
        return replace(
            self,
            engine=engine,
            store=engine.store,
            encoder=engine.encoder,
            searches=KeySearches(self.searches, key.within),
            jobs=KeyJobs(self.jobs, key),
            uploads=KeyUploads(self.uploads, self.store, key),
        )


# Not a plain function: FastAPI would run that in a thread, for every request.
async def _services(request: Request) -> Services:
    services: Services = request.app.state.services
    key: ApiKey | None = getattr(request.state, "key", None)  # of an endpoint that needs one
    return services.narrowed(key) if key else services


Parts = Annotated[Services, Depends(_services)]
"""The services, as an endpoint's argument."""


async def disconnected(request: Request) -> None:
    """Returns once the client has gone; to be called after the body was read."""
    while (await request.receive())["type"] != "http.disconnect":
        pass


def refusals(*statuses: int) -> dict[int | str, dict[str, Any]]:
    """For ``responses=``: these statuses answer with an error, and those of keys and hosts."""
    return {status: {"model": ErrorAnswer} for status in sorted({401, 403, 429, *statuses})}
