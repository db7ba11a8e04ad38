"""The ingest pipeline: files to rows, without Celery.

>>> from workers.pipeline import IngestPipeline
"""

from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from workers.pipeline.ingest_pipeline import IngestPipeline
    from workers.pipeline.reports import IngestReport

__all__ = ["IngestPipeline", "IngestReport"]


def __getattr__(name: str) -> Any:
    # Imported late: most users of a module of this package need no model.
    if name == "IngestPipeline":
        from workers.pipeline.ingest_pipeline import IngestPipeline

        return IngestPipeline
    if name == "IngestReport":
        from workers.pipeline.reports import IngestReport

        return IngestReport
    raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
