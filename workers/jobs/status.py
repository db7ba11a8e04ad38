"""The status of jobs for the API: without paths of this machine."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from ingest.types import Failure
from search.api.ports import JobStatus, Refused
from search.api.responses.plain_values import file_name, without_paths
from search.api.uploads import UploadFolder
from workers.jobs.job_types import JobView

MOST_FAILURES = 1000


def refused(failures: Iterable[Failure]) -> list[Refused]:
    """The files that were set aside, by name."""
    return [
        Refused(file_name(x.uri), x.error, without_paths(x.reason.replace(x.uri, file_name(x.uri))))
        for x in failures
    ]


def asset_ids(paths: Iterable[str], uploads: UploadFolder) -> list[str]:
    """What the uploads among these paths become."""
    return list(dict.fromkeys(filter(None, map(uploads.owner_of, paths))))


def status_of(view: JobView, uploads: UploadFolder, failures: Sequence[Failure] = ()) -> JobStatus:
    """A job on the broker as the API shows it."""
    return JobStatus(
        view.job_id,
        view.state,
        view.n_files,
        view.ingested,
        view.unchanged,
        view.failed,
        view.seconds,
        view.left_s,
        view.segments,
        refused(failures),
        asset_ids(view.paths, uploads),
    )
