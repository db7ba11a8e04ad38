"""Settings of ingest, from arguments or from the environment."""

from __future__ import annotations

import json

from pydantic import BaseModel, ConfigDict, Field, SecretStr, field_validator

from encoder.errors import MediaLimitError
from encoder.settings import EnvironmentSettings


class IngestConstants(BaseModel):
    """How media are cut, and limits that only broken or hostile files reach; no settings."""

    model_config = ConfigDict(frozen=True)

    text_overlap_chars: int = Field(default=120, ge=0)
    """The most that two neighbouring text segments share."""

    audio_window_s: float = Field(default=5.0, gt=0)
    """The length of a sound segment."""

    audio_tail_s: float = Field(default=1.0, ge=0)
    """A shorter remainder joins the previous segment."""

    image_short_side: int = Field(default=512, ge=32)
    """Pictures and frames are scaled down to this shorter side, in pixels."""

    frame_every_s: float = Field(default=0.5, gt=0)
    """How often to sample a film."""

    frame_interval_s: float = Field(default=2.0, gt=0)
    """The shortest time between two kept frames of one scene."""

    scene_change: float = Field(default=0.35, ge=0, le=1)
    """The share of colours that must change for a new scene, 0 to 1."""

    duplicate_bits: int = Field(default=5, ge=0, le=64)
    """Frames whose dHash differs in at most this many of 64 bits are near-duplicates."""

    video_threads: int = Field(default=1, ge=0)
    """How many threads decode the frames of one film; 0 lets FFmpeg choose."""

    max_text_bytes: int = Field(default=256 * 2**20, ge=1)
    """The largest text, HTML or PDF file."""

    max_text_chars: int = Field(default=20_000_000, ge=1)
    """The longest text in a file."""

    max_archive_depth: int = Field(default=3, ge=1)
    """How many archives a file may lie in; all but the outermost are held in memory."""

    max_image_bytes: int = Field(default=512 * 2**20, ge=1)
    """The largest picture file."""

    max_media_bytes: int = Field(default=64 * 2**30, ge=1)
    """The largest sound or video file."""

    max_frames: int = Field(default=20_000, ge=1)
    """The most frames kept of a film."""

    max_image_frames: int = Field(default=10_000, ge=1)
    """The most frames (GIF, WebP, PNG), pages (TIFF) or pictures (HEIC) in a picture file."""

    max_streams: int = Field(default=64, ge=1)
    """The most streams (pictures, sound, subtitles, attachments) in a sound or video file."""

    max_pdf_pages: int = Field(default=20_000, ge=1)
    """The most pages of a PDF."""

    max_url_s: float = Field(default=600.0, gt=0)
    """The longest time to fetch a file."""


class IngestConfig(EnvironmentSettings, IngestConstants):
    """How files become segments; each field is also ``ANYMODAL_INGEST__<FIELD>``.

    >>> IngestConfig(text_window_chars=400).text_overlap_chars
    120
    """

    PREFIX = "ANYMODAL_INGEST__"
    model_config = ConfigDict(hide_input_in_errors=True)  # it may be a password

    text_window_chars: int = Field(default=800, ge=50)
    """The longest text segment."""

    max_text_windows: int = Field(default=10_000, ge=1)
    """The most text segments of a file: of prose some 7 MB, which take minutes to encode."""

    max_document_bytes: int = Field(default=128 * 2**20, ge=1)
    """The largest document of an office program, mail or notebook, which is read whole."""

    max_archive_bytes: int = Field(default=4 * 2**30, ge=1)
    """The largest archive, and the most that one unpacks to, in a temporary folder."""

    max_archive_files: int = Field(default=10_000, ge=1)
    """The most files in an archive."""

    max_pixels: int = Field(default=64_000_000, ge=1)
    """The most pixels held in memory (a JPEG is shrunk while it is read, so it rarely counts)."""

    max_duration_s: float = Field(default=12 * 3600.0, gt=0)
    """The longest sound or video."""

    max_decode_s: float = Field(default=60.0, gt=0)
    """The decoding time allowed beyond a file's duration, without waits for consumers."""

    isolate: bool = False
    """Decode in child processes with limits of their own. The default for workers."""

    max_memory_bytes: int = Field(default=2 * 2**30, ge=1)
    """The most address space of a child process that decodes."""

    url_hosts: tuple[str, ...] = ()
    """Hosts whose URLs may be fetched; ``.example.org`` includes subdomains. None by default."""

    url_networks: tuple[str, ...] = ()
    """Private networks that may be fetched from, such as ``10.1.0.0/16``."""

    max_url_bytes: int = Field(default=2 * 2**30, ge=1)
    """The largest file that is fetched, by a URL or from an object store."""

    storage_options: SecretStr = SecretStr("{}")
    """What fsspec's file systems are opened with, by scheme or by the beginning of a URL, as JSON:
    ``{"s3": {"endpoint_url": "http://minio:9000"}, "s3://open/": {"anon": true}}``."""

    kinds: tuple[str, ...] = ()
    """Only files of these kinds are ingested, those in archives too; empty for all. As JSON in the
    environment: ``["image", "pdf"]``."""

    with_secrets: bool = False
    """Read private keys, stores of passwords, ``.env`` files and the like too."""

    roots: tuple[str, ...] = ()
    """Folders that files must lie in after links are resolved; empty allows all. As JSON in the
    environment: ``["/data", "/srv/media"]``."""

    @field_validator("storage_options")
    @classmethod
    def _by_url(cls, options: SecretStr) -> SecretStr:
        """JSON of objects in an object; the message repeats no password."""
        try:
            options_by_url = json.loads(options.get_secret_value())
        except ValueError:
            options_by_url = None
        if not isinstance(options_by_url, dict) or not all(
            isinstance(v, dict) for v in options_by_url.values()
        ):
            raise ValueError('no JSON like {"s3": {"endpoint_url": "http://minio:9000"}}')
        return options


def check(uri: str, limit: str, value: float, config: IngestConfig) -> None:
    """Raise unless ``value`` is within the field ``limit`` of the config.

    Args:
        uri: which file.
        limit: the field's name, such as ``"max_pixels"``; its last part is the unit.
        value: what the file has.

    Raises:
        MediaLimitError: names the file, the value, the limit and how to raise it.

    >>> check("a.png", "max_pixels", 100, IngestConfig())
    """
    allowed = getattr(config, limit)
    if value > allowed:
        unit = limit.rsplit("_", 1)[1]
        is_setting = limit in IngestConfig.settable()
        variable = f" or {IngestConfig.variable(limit)}" if is_setting else " in Python"
        raise MediaLimitError(
            f"{uri} has {_count(value, unit)}; {limit} is {_count(allowed, unit)}.",
            remedy=f"Split it, or raise IngestConfig.{limit}{variable}.",
        )


def _count(value: float, unit: str) -> str:
    return f"{value:,.0f} {'characters' if unit == 'chars' else unit}"
