"""Errors of ingest that are not the content's fault; see the tree in `encoder.errors`."""

from __future__ import annotations

from encoder.errors import AnymodalError, MediaError


class DecoderProcessError(AnymodalError):
    """The process that decodes files cannot be started."""

    retryable = True


class RefusedLinkError(MediaError):
    """A link within a folder leads out of it, nowhere, in a circle or to a hidden entry."""


class EmptiedFolderError(MediaError):
    """A folder in which files are stored is empty, as where a disk is not mounted."""


class KindError(AnymodalError):
    """A kind of files that another package brings cannot be used."""
