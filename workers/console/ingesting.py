"""Ingest paths with the worker in this process, for the command line and a running server."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from workers.jobs.job_types import Labels
from workers.pipeline.reports import IngestReport


@dataclass(frozen=True)
class Ingest:
    """A request to ingest, as plain values.

    Args:
        paths: files, folders and URLs; absolute.
        labels: tags and metadata.
        prune: remove assets from the store whose files are gone.
        url_hosts: hosts to fetch URLs from; overrides the settings.
    """

    paths: Sequence[str]
    labels: Labels = field(default_factory=dict)
    prune: bool = False
    url_hosts: Sequence[str] | None = None

    def n_files(self) -> int:
        """The number of files, before any is opened."""
        from workers.jobs.planning.planner import files_of

        return sum(1 for _ in files_of(self.paths, lambda _: None))

    def run(self, show: Callable[[IngestReport], None], stopped: Callable[[], bool]) -> None:
        """Ingest; `workers.serving.embedded` must run. ``show`` is called after each part."""
        from workers.config import current_settings
        from workers.jobs.planning.dispatch import run_shards
        from workers.jobs.planning.planner import files_of
        from workers.jobs.planning.walked_folders import WalkedFolders
        from workers.jobs.queues import shards

        refused = IngestReport()
        walked = WalkedFolders(self.paths)
        files = files_of(self.paths, refused.failures.append, walked)
        groups = (group for _, group in shards(files, current_settings().shard_files))
        run_shards(
            groups, on_report=show, stopped=stopped, labels=self.labels, url_hosts=self.url_hosts
        )
        show(refused)
        if not stopped():
            show(_forget_gone(walked.complete(), self.prune))


def _forget_gone(folders: list[str], prune: bool) -> IngestReport:
    from workers.pipeline.ingest_job import commit_alone
    from workers.pipeline.pruning import GoneFiles
    from workers.serving import resources
    from workers.serving.data_folder import shared_uploads

    is_upload = shared_uploads().is_upload
    return GoneFiles(resources.shared_store(), commit_alone, is_upload, prune).forget(folders)
