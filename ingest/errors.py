"""Errors of ingest that are not the file's fault; see the tree in `encoder.errors`."""

from __future__ import annotations

from encoder.errors import AnymodalError


class DecoderProcessError(AnymodalError):
    """The process that decodes files cannot be started."""

    retryable = True
