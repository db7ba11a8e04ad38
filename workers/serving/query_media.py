"""Decode query media in ingest's child processes, within limits of their own."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from encoder.errors import MediaError, UnsupportedMediaError
from encoder.media.formats import is_sequence
from encoder.system.disk import temporary_folder, writing
from encoder.types import IMAGE, Item, Modality
from ingest import Asset, IngestConfig, Place, identify, picture, segments
from ingest.kinds import kind_of


@dataclass(frozen=True)
class QueryDecoder:
    """Implements `search.api.ports.Decoder`. Safe to use from threads.

    Args:
        config: how query media are decoded.
        files: how stored files are decoded.
        max_frames: how many frames of a film are kept.
    """

    config: IngestConfig
    files: IngestConfig
    max_frames: int = 16

    def decode(self, modality: Modality, data: bytes, label: str) -> Item:
        """Decode a whole picture, sound or film in memory; ``label`` is its name in errors.

        Of an animated picture, the first frame.

        Raises:
            MediaError: not of this modality, corrupt, or over a limit.
            DiskError: there is no room for a temporary file.
        """
        # A file, since decoder processes take a path, not a gigabyte over a pipe.
        with temporary_folder("anymodal-query-") as folder:
            file = folder / "query"
            with writing(file):
                file.write_bytes(data)
            try:
                asset = identify(file, self.config)
                if modality == IMAGE and is_sequence(asset.media_type):
                    return Item(IMAGE, picture(asset, Place(), self.config).content)
                _check_kind(asset, modality, label)
                parts = list(segments(asset, self.config))
                return Item(modality, kind_of(asset.media_type).whole(parts, self.max_frames))
            except MediaError as error:
                raise _renamed(error, str(file), label) from None

    def picture(self, path: Path, media_type: str, at_s: float, page: int, size: int) -> bytes:
        """A small WebP of what a file looks like; of a film, at a time, of a document, a page.

        Raises:
            UnsupportedMediaError: it shows nothing.
            MediaError: it cannot be decoded.
        """
        from encoder.media.image import webp_bytes

        asset = Asset(path.name, str(path), kind_of(media_type).modality, media_type, 0)
        try:
            rgb = picture(asset, Place(at_s, page), self.files).content
        except MediaError as error:
            raise _renamed(error, str(path), path.name) from None
        return webp_bytes(rgb, size)

    def charset(self, path: Path, media_type: str) -> str:
        """The codec of a text file, as ingest detects it.

        Raises:
            MediaError: it cannot be read.
        """
        from ingest.decode.charset import charset_of

        try:
            return charset_of(path, media_type)
        except MediaError as error:
            raise _renamed(error, str(path), path.name) from None


def _renamed(error: MediaError, path: str, name: str) -> MediaError:
    """The same error without the server's path."""
    return type(error)(error.problem.replace(path, name), remedy=error.remedy)


def _check_kind(asset: Asset, modality: Modality, label: str) -> None:
    if asset.modality != modality:
        raise UnsupportedMediaError(
            f"{label} holds {asset.modality} ({asset.media_type}).",
            remedy=f"Send {modality} there, or this as what it is.",
        )


def query_config(config: IngestConfig, *, max_bytes: int, max_s: float) -> IngestConfig:
    """Limits for media that a client waits for. The files are ours, so any folder will do."""
    limits = {"max_image_bytes": max_bytes, "max_media_bytes": max_bytes, "max_duration_s": max_s}
    return config.model_copy(update={**limits, "max_decode_s": 10.0, "roots": ()})
