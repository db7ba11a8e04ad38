"""Errors of ingest that are not the content's fault; see the tree in `encoder.errors`."""

from __future__ import annotations

from encoder.errors import AnymodalError, MediaError


class DecoderProcessError(AnymodalError):
    """The process that decodes files cannot be started."""

    retryable = True
    failing = "process that decodes files"


class RefusedLinkError(MediaError):
    """A link within a folder leads out of it, in a circle, to a hidden entry or to nothing."""


class EmptiedFolderError(MediaError):
    """A folder lost its stored files at once, perhaps because a disk is not mounted."""


class IgnoreFileError(MediaError):
    """A file ``.anymodalignore`` cannot be read, so its folder is not read either."""


class SourceError(MediaError):
    """An object store or a file server does not return what was requested."""


class GoneObjectError(SourceError):
    """There is no such object or bucket."""


class ClosedSourceError(SourceError):
    """The server refuses these credentials."""


class ListingError(SourceError):
    """A folder of objects cannot be listed to its end."""


class LeftOutError(MediaError):
    """A file is of none of the kinds that were asked for; it is counted, not reported."""


class SecretFileError(MediaError):
    """A file holds keys or passwords, which are left out unless the config allows them."""


class KindError(AnymodalError):
    """A kind of files that another package brings cannot be used."""
