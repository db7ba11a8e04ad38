"""Which kinds there are, and which of them a file is."""

from __future__ import annotations

import mimetypes
import re
from collections.abc import Iterable, Sequence
from functools import cache
from typing import Any, NamedTuple

from encoder.errors import CorruptMediaError, InputError, UnsupportedMediaError
from encoder.registry import installed_points, origin_of, registered_modalities
from encoder.types import Modality
from ingest.errors import KindError, LeftOutError
from ingest.kinds.archive import Archive
from ingest.kinds.cards import Cards
from ingest.kinds.code import Code
from ingest.kinds.contract import Cost, Kind
from ingest.kinds.film import Film
from ingest.kinds.head import Head
from ingest.kinds.html import Html, WebArchive
from ingest.kinds.mail import Mail, Mailbox, Outlook
from ingest.kinds.notebook import Notebook
from ingest.kinds.office import (
    BinaryExcel,
    Epub,
    Excel,
    FictionBook,
    OldExcel,
    OldPowerpoint,
    OldWord,
    OpenPresentation,
    OpenSpreadsheet,
    OpenText,
    Powerpoint,
    Rtf,
    Word,
)
from ingest.kinds.package import Package
from ingest.kinds.pdf import Pdf
from ingest.kinds.picture import Picture, Raw
from ingest.kinds.plain import Plain
from ingest.kinds.records import Json, Table, Xml
from ingest.kinds.sound import Sound
from ingest.kinds.subtitles import Subtitles
from ingest.kinds.unread import unread
from ingest.kinds.vector import Svg

OURS: tuple[type[Kind], ...] = (
    Plain,
    Html,
    Pdf,
    Word,
    Powerpoint,
    Excel,
    BinaryExcel,
    OpenText,
    OpenSpreadsheet,
    OpenPresentation,
    Epub,
    FictionBook,
    Package,
    Rtf,
    Mail,
    Mailbox,
    WebArchive,
    Cards,
    Outlook,
    OldWord,
    OldPowerpoint,
    OldExcel,
    Notebook,
    Subtitles,
    Table,
    Json,
    Xml,
    Code,
    Archive,
    Picture,
    Raw,
    Svg,
    Sound,
    Film,
)
"""One line here adds a kind."""

_NAME = re.compile(r"[a-z][a-z0-9_]{0,31}")
_PATH = re.compile(r"[MmZzLlHhVvCcSsQqTtAa0-9eE ,.+\-]{1,2000}")

ENTRY_POINTS = "anymodal.kinds"
"""The group in which other packages register theirs: ``ply = "anymodal_ply:PointCloud"``."""


class Candidate(NamedTuple):
    """A kind that a file may be, and the media type that it would have."""

    kind: Kind
    media_type: str
    confidence: float = 1.0


@cache
def kinds() -> tuple[Kind, ...]:
    """All kinds, those of other packages first.

    Raises:
        KindError: one of another package cannot be loaded or is not a kind, or two share a name.
    """
    registered = [
        *(_load(point) for point in installed_points().select(group=ENTRY_POINTS)),
        *(k() for k in OURS),
    ]
    names = [kind.name for kind in registered]
    if twice := {name for name in names if names.count(name) > 1}:
        raise KindError(
            f"Several kinds of files are called {', '.join(sorted(twice))}.",
            remedy="Uninstall one of the packages that provide them.",
        )
    return tuple(registered)


def sniff(head: bytes, uri: str, wanted: str = "") -> tuple[Candidate, ...]:
    """The kinds that a file may be, best first.

    Args:
        head: its first `HEAD_BYTES` bytes.
        uri: its name, for messages and for files that nothing else identifies.
        wanted: the name of the only kind to try; empty for all.

    Raises:
        CorruptMediaError: it is empty.
        UnsupportedMediaError: no kind reads it, or not the one that is wanted.
    """
    if not head:
        raise CorruptMediaError(f"{uri} is empty (0 bytes).", remedy="Fetch or export it again.")
    beginning = Head(head, uri)
    candidates = [
        Candidate(kind, match.media_type, match.confidence)
        for kind in kinds()
        if (match := kind.sniff(beginning))
    ]
    if not candidates:
        raise unsupported(beginning)
    candidates.sort(key=lambda candidate: -candidate.confidence)
    if not wanted:
        return tuple(candidates)
    chosen = tuple(candidate for candidate in candidates if candidate.kind.name == wanted)
    if not chosen:
        raise UnsupportedMediaError(
            f"{uri} is not of the kind {wanted}, but looks like {candidates[0].kind.name}.",
            remedy="Give its actual kind, or none.",
        )
    return chosen


def label_of(kind: Kind) -> tuple[str, str]:
    """What people call one file of this kind, and several.

    >>> label_of(named("image")), label_of(named("pdf"))
    (('Picture', 'Pictures'), ('PDF', 'PDFs'))
    """
    label = kind.label or kind.formats[0]
    return label, kind.plural or f"{label}s"


def named(name: str) -> Kind:
    """The kind of this name.

    Raises:
        UnsupportedMediaError: none has this name, as when its package was uninstalled.
    """
    for kind in kinds():
        if kind.name == name:
            return kind
    raise UnsupportedMediaError(
        f"No kind of files is called {name!r}.",
        remedy=f"Install the package that provides it; there are {', '.join(names())}.",
    )


def kind_of(media_type: str) -> Kind:
    """The kind that reads this media type.

    Raises:
        UnsupportedMediaError: none does, as when its package was uninstalled.
    """
    for kind in kinds():
        if media_type in kind.media_types:
            return kind
    raise UnsupportedMediaError(
        f"No kind of files reads {media_type!r}.",
        remedy="Install the package that provided it.",
    )


def check_names(chosen: Iterable[str]) -> None:
    """Raise InputError unless files can be chosen by each of these kinds.

    Archives cannot be chosen: the files in them have kinds of their own.
    """
    choosable = [name for name in names() if name != Archive.name]
    for name in chosen:
        if name not in choosable:
            raise InputError("kinds", got=repr(name), wanted=f"some of {', '.join(choosable)}")


def check_chosen(uri: str, media_types: Iterable[str], chosen: Sequence[str]) -> None:
    """Raise LeftOutError if kinds are chosen and a file of these media types is of none of them.

    A file that holds others passes, since those are chosen one by one.
    """
    if chosen and not any(is_chosen(name, chosen) or holds_files(name) for name in media_types):
        raise left_out(uri, chosen)


def is_chosen(media_type: str, chosen: Sequence[str]) -> bool:
    """Whether a file is of one of the chosen kinds, or no kind is chosen."""
    return not chosen or any(media_type in k.media_types for k in kinds() if k.name in chosen)


def holds_files(media_type: str) -> bool:
    """Whether a file of this type holds other files."""
    return any(media_type in k.media_types for k in kinds() if k.holds_files)


def left_out(uri: str, chosen: Sequence[str]) -> LeftOutError:
    """The error for a file that is of none of the chosen kinds."""
    return LeftOutError(
        f"{uri} is not of any of the kinds {', '.join(chosen)}.", remedy="Add its kind to the list."
    )


def cost_of(suffix: str) -> Cost:
    """The queue of files with this suffix (lower case, with its dot).

    It is the queue of the kind that names the suffix, or that reads the media type which the suffix
    usually has; else the queue of texts.
    """
    for kind in kinds():
        if suffix in kind.suffixes:
            return kind.cost
    media_type = mimetypes.guess_type(f"a{suffix}", strict=False)[0]
    return next((kind.cost for kind in kinds() if media_type in kind.media_types), "text")


def names() -> Sequence[str]:
    """The names of all kinds, sorted."""
    return sorted(kind.name for kind in kinds())


def formats() -> Sequence[str]:
    """What people call the formats that are read."""
    return list(dict.fromkeys(name for kind in kinds() for name in kind.formats))


def _load(point: Any) -> Kind:
    try:
        loaded = point.load()()
    except Exception as error:
        raise KindError(
            f"The kind of files {point.value!r} cannot be loaded: {type(error).__name__}: {error}.",
            remedy="Update or uninstall the package that provides it.",
        ) from error
    if not isinstance(loaded, Kind):
        raise KindError(
            f"{point.value!r} is not a kind of files.",
            remedy="Derive it from ingest.kinds.Kind.",
        )
    _check(loaded, point.value)
    loaded.made_by = f"{point.dist.name} {point.dist.version}" if point.dist else point.value
    return loaded


def _check(kind: Kind, origin: str) -> None:
    """Check what other parts write into requests and pages: it has to be fit for them."""
    for name in ("name", "modality", "formats", "media_types"):
        if not getattr(kind, name, None):
            raise KindError(f"{origin!r} has no {name}.", remedy="See docs/kinds.md.")
    if not _NAME.fullmatch(kind.name):
        raise KindError(
            f"{origin!r} is called {kind.name!r}.",
            remedy="Use at most 32 lower-case letters, digits and _.",
        )
    if not _PATH.fullmatch(kind.icon):
        raise KindError(
            f"The icon of {origin!r} is not a path.",
            remedy="Give the d of an SVG path: letters of commands, and numbers.",
        )


def unsupported(head: Head, zipped: str = "") -> UnsupportedMediaError:
    """The error for a file that no kind reads, with what it is and what would read it.

    ``zipped`` is the type of a document that is a ZIP file (`ingest.kinds.zip_type`).
    """
    if reason := unread(head, zipped):
        what, remedy = reason
        return UnsupportedMediaError(
            f"{head.name} is {what}, which is not supported.", f"{remedy}."
        )
    looks_like = f" (it looks like: {head.looks_like})" if head.looks_like else ""
    return UnsupportedMediaError(
        f"{head.name} is of a kind that is not supported{looks_like}.",
        remedy="Export it from its own program as PDF, text, CSV, PNG, WAV or MP4, or see "
        "docs/kinds.md for how to read it by a package.",
    )


READ_BY = "read_by"
"""The key for these packages in an asset's metadata."""


def read_by(media_type: str, modality: Modality) -> str:
    """The third-party packages that read such a file and embed its modality, if there are any.

    Raises:
        UnsupportedMediaError: nothing reads it, as when a package was uninstalled.
    """
    kind = kind_of(media_type)
    tower = origin_of(modality) if modality in registered_modalities() else ""
    return ", ".join(dict.fromkeys(filter(None, [kind.made_by, tower])))


def is_outdated(media_type: str, modality: Modality, noted: object) -> bool:
    """Whether a version other than the ``noted`` one reads such a file now; None means none."""
    try:
        return read_by(media_type, modality) != (noted or "")
    except UnsupportedMediaError:  # nothing reads it better
        return False
