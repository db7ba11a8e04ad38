"""What a key with a filter uses in place of the parts of `search.api.services.Services`."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

from encoder.system.private import private_opener
from encoder.types import TEXT
from search.api.access.keys import ApiKey
from search.api.errors import ForbiddenError
from search.api.ports import Searches
from search.deadline import Deadline
from search.errors import NotFoundError
from search.filters import Filter, matches, may_match
from search.filters.tree import METADATA
from search.jobs import FailedFile, Job, Jobs
from search.query.query import Query
from search.store.base import VectorStore
from search.store.visible import outside
from search.types import AssetRow, IngestRequest, SearchResult
from search.uploads import Keeper, UploadFolder
from search.uploads.folder import KEEPER, files_in


class KeySearches:
    """`Searches` within a filter."""

    def __init__(self, searches: Searches, within: Filter) -> None:
        self._searches, self._within = searches, within
        self.n_more, self.close = searches.n_more, searches.close

    def search(self, query: Query, deadline: Deadline) -> SearchResult:
        return self._searches.search(replace(query, within=self._within), deadline)


class KeyJobs:
    """The `Jobs` of a key with a filter, each within it."""

    def __init__(self, jobs: Jobs, key: ApiKey) -> None:
        self._jobs, self._key = jobs, key
        self.ping, self.close = jobs.ping, jobs.close

    def submit(self, request: IngestRequest) -> str:
        """As `Jobs.submit`. Raises ForbiddenError if it is to prune."""
        if request.prune:
            raise ForbiddenError("A key with a filter may not prune.", "Leave out `prune`.")
        asked = replace(request, key=self._key.key_id, within=self._key.filter)
        return self._jobs.submit(asked)

    def status(self, job_id: str) -> Job:
        job = self._jobs.status(job_id)
        if job.request.key != self._key.key_id:
            raise NotFoundError(f"There is no job {job_id!r}.", "See GET /v1/jobs.")
        return job

    def failures(self, job_id: str) -> Iterable[FailedFile]:
        self.status(job_id)
        return self._jobs.failures(job_id)

    def recent(self) -> Sequence[Job]:
        return [job for job in self._jobs.recent() if job.request.key == self._key.key_id]

    def cancel(self, job_id: str) -> bool:
        self.status(job_id)
        return self._jobs.cancel(job_id)


class KeyUploads(UploadFolder):
    """The uploads of a key with a filter, and those of assets that it sees."""

    def __init__(self, uploads: UploadFolder, store: VectorStore, key: ApiKey) -> None:
        super().__init__(uploads.folder, uploads.root, uploads.store)
        assert key.within is not None
        self._whole, self._within = store, key.within
        self._keeper = Keeper(key.key_id, key.filter)

    def _sees(self, asset_id: str) -> bool:
        """Whether its asset is seen, or it waits to become one and is this key's."""
        stored = self._whole.assets([asset_id]).get(asset_id)
        if stored:
            return matches(self._within, stored)
        return self.keeper_of(asset_id).key == self._keeper.key

    def admit(self, file: Path, facts: Mapping[str, Any]) -> None:
        """Raise OutsideError if it would surely lie outside, or its content does already."""
        asset_id, row = file.parent.name, AssetRow(file.parent.name, TEXT, "", 0, {}, [str(file)])
        row = replace(row, metadata=facts)

        def is_known(field: str) -> bool:
            name = field.removeprefix(METADATA).partition(".")[0]
            return field == "path" or name in facts

        is_there = bool(self._whole.assets([asset_id])) or (
            file.parent.is_dir() and any(files_in(file.parent))
        )
        if (is_there and not self._sees(asset_id)) or (
            may_match(self._within, row, is_known) is False
        ):
            raise outside(file.name)

    def mark(self, home: Path) -> None:
        if not self._whole.assets([home.name]):
            with open(home / KEEPER, "w", opener=private_opener) as note:
                json.dump(self._keeper, note)

    def file_of(self, asset_id: str) -> Path | None:
        return super().file_of(asset_id) if self._sees(asset_id) else None

    def remove(self, asset_id: str, *, was_seen: bool = False) -> bool:
        if self._whole.assets([asset_id]) or not (was_seen or self._sees(asset_id)):
            return False
        return super().remove(asset_id)
