"""Pictures: any file that Pillow reads safely, as uint8 RGB [height, width, 3]."""

from __future__ import annotations

import io
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.media.formats import PILLOW_FORMATS
from encoder.media.metadata.camera import NOT_WRITTEN, CameraFacts, photo_facts
from encoder.media.metadata.description import NOT_DESCRIBED, MediaDescription, description_of
from encoder.media.source import Source, decoding, name_of, opened

if TYPE_CHECKING:
    from PIL.Image import Image
    from PIL.ImageFile import ImageFile

SHORT_SIDE = 512
"""Pictures are scaled down to this shorter side: twice what the image towers look at."""

MAX_PIXELS = 64_000_000
"""The most pixels held in memory; rarely reached by a JPEG, which its decoder shrinks first."""

_ORIENTATION = 0x0112
_SIDEWAYS = frozenset({5, 6, 7, 8})


@dataclass(frozen=True)
class ImageFacts:
    """What a picture's header says, before it is decoded.

    ``width`` and ``height`` are as seen (upright); ``decoded_pixels`` is how many
    must be held in memory to read it. ``n_frames`` counts an animation's frames or a TIFF's pages.
    """

    media_type: str
    width: int
    height: int
    decoded_pixels: int
    n_frames: int = 1
    camera: CameraFacts = NOT_WRITTEN
    description: MediaDescription = NOT_DESCRIBED


def image_facts(source: Source, short_side: int = SHORT_SIDE) -> ImageFacts:
    """Read the header only. Raises `MediaError` where there is no picture."""
    with _open(source) as image:
        width, height = image.size
        if _orientation(image) in _SIDEWAYS:
            width, height = height, width
        description = description_of(image)
        camera = photo_facts(image, description)
        media_type = image.get_format_mimetype() or "image/unknown"
        image.draft("RGB", (short_side, short_side))
        decoded_pixels = image.size[0] * image.size[1]
        # Last, since counting a GIF's frames moves to its end (blocks are skipped, not decoded).
        n_frames = getattr(image, "n_frames", 1)
        return ImageFacts(
            media_type,
            width=width,
            height=height,
            decoded_pixels=decoded_pixels,
            n_frames=n_frames,
            camera=camera,
            description=description,
        )


def load_image(
    source: Source, short_side: int = SHORT_SIDE, max_pixels: int = MAX_PIXELS
) -> NDArray[np.uint8]:
    """Decode a picture to RGB, upright, over white; for an animation, the first frame.

    It is scaled down, never up, so that the shorter side is at most ``short_side``; uint8
    [height, width, 3].

    Raises:
        CorruptMediaError: no picture, or one that is cut off.
        MediaLimitError: more than ``max_pixels`` decoded pixels would be in memory.
    """
    with _open(source) as image:
        # The JPEG decoder can shrink by 2, 4 or 8 while it decodes: big photos become cheap.
        image.draft("RGB", (short_side, short_side))
        pixels = image.size[0] * image.size[1]
        if pixels > max_pixels:
            raise MediaLimitError(
                f"{name_of(source)} has {pixels:,} pixels; max_pixels is {max_pixels:,}.",
                remedy="Scale it down or raise max_pixels.",
            )
        image.load()
        return _finished(image, short_side)


def rgb_array(image: Image, short_side: int = SHORT_SIDE) -> NDArray[np.uint8]:
    """A Pillow image of any mode as `load_image` returns it: upright, over white, scaled down."""
    return _finished(image.copy(), short_side)


def webp_bytes(rgb: NDArray[np.uint8], size: int) -> bytes:
    """A picture [h, w, 3] as a WebP file whose longer side is at most ``size`` pixels."""
    from PIL import Image

    picture = Image.fromarray(rgb)
    picture.thumbnail((size, size), Image.Resampling.BICUBIC)
    file = io.BytesIO()
    picture.save(file, "WEBP", quality=80, method=2)
    return file.getvalue()


def png_bytes(rgb: NDArray[np.uint8]) -> bytes:
    """A picture [h, w, 3] as a PNG file, pixel by pixel."""
    from PIL import Image

    file = io.BytesIO()
    Image.fromarray(rgb).save(file, "PNG", compress_level=1)
    return file.getvalue()


def mean_colour(rgb: NDArray[np.uint8]) -> str:
    """The mean of every eighth pixel of every eighth row of a picture [h, w, 3], in CSS notation.

    >>> mean_colour(np.full((16, 16, 3), (255, 128, 0), np.uint8))
    '#ff8000'
    """
    red, green, blue = rgb[::8, ::8].mean(axis=(0, 1)).round().astype(int)
    return f"#{red:02x}{green:02x}{blue:02x}"


def resize(
    rgb: NDArray[np.uint8],
    width: int,
    height: int,
    box: tuple[float, float, float, float] | None = None,
) -> NDArray[np.uint8]:
    """Scale a uint8 picture [h, w, 3] with antialiasing (bicubic) to [height, width, 3].

    ``box`` (left, top, right, bottom, in pixels) is cut out, without a copy.
    """
    from PIL import Image

    scaled = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC, box=box)
    return np.array(scaled)


def fit_short_side(width: int, height: int, short_side: int) -> tuple[int, int]:
    """Width and height whose shorter side is at most ``short_side``, in proportion."""
    scale = min(1.0, short_side / min(width, height))
    return max(1, round(width * scale)), max(1, round(height * scale))


@cache
def register_heif() -> None:
    """Let Pillow open HEIF, once per process."""
    from pi_heif import register_heif_opener
    from PIL import Image

    Image.init()
    if "HEIF" not in Image.OPEN:  # else the application has chosen a plugin already
        register_heif_opener(
            thumbnails=False, depth_images=False, aux_images=False, decode_threads=1
        )


@contextmanager
def _open(source: Source) -> Iterator[ImageFile]:
    from PIL import Image, UnidentifiedImageError

    with opened(source) as file, decoding(source, "a picture"):
        formats = [name for name in PILLOW_FORMATS if name != "HEIF"]
        if file.read(8)[4:] == b"ftyp":
            register_heif()
            formats.append("HEIF")
        file.seek(0)
        try:
            with Image.open(file, formats=formats) as image:
                yield image
        except UnidentifiedImageError as error:
            raise CorruptMediaError(
                f"{name_of(source)} is not a picture in a known format, or its header is damaged.",
                remedy=f"Use one of {', '.join(PILLOW_FORMATS)}.",
            ) from error
        except (Image.DecompressionBombError, Image.DecompressionBombWarning) as error:
            raise MediaLimitError(
                f"{name_of(source)}: {error}.",
                remedy="Scale it down, or raise PIL.Image.MAX_IMAGE_PIXELS if you trust it.",
            ) from error


def _finished(image: Image, short_side: int) -> NDArray[np.uint8]:
    """Finish a picture without copying it whole: 64 million pixels are a quarter of a gigabyte."""
    from PIL import Image, ImageOps

    # `exif_transpose` would copy even a picture that needs no turn.
    upright = image if _orientation(image) == 1 else ImageOps.exif_transpose(image)
    small = _shrink(upright, short_side)
    if small.mode == "RGBA":
        white = Image.new("RGBA", small.size, "white")
        return np.asarray(Image.alpha_composite(white, small).convert("RGB"))
    return np.asarray(small.convert("RGB"))


def _orientation(image: Image) -> int:
    """How the pixels are oriented, in EXIF's numbers.

    libheif returns HEIF's pixels upright; Pillow's AVIF reports the container's rotation as EXIF.
    By the standard, nothing else counts in either format, not even XMP.
    """
    if image.format == "HEIF":
        return 1
    if image.format == "AVIF":
        image.info.pop("xmp", None)
    return int(image.getexif().get(_ORIENTATION, 1))


def _shrink(image: Image, short_side: int) -> Image:
    """Scale down in a mode where scaling is right: alpha premultiplied, no palette."""
    from PIL import Image

    image = _eight_bits(image)
    size = fit_short_side(*image.size, short_side)
    if size == image.size:
        return image
    return image.resize(size, Image.Resampling.BICUBIC, reducing_gap=3.0)


def _eight_bits(image: Image) -> Image:
    from PIL import Image

    if image.mode.startswith(("I", "F")):
        return Image.fromarray(_to_uint8(np.asarray(image)))
    if image.has_transparency_data:
        return image.convert("RGBA")
    return image if image.mode == "RGB" else image.convert("RGB")


def _to_uint8(values: NDArray[np.generic]) -> NDArray[np.uint8]:
    """Deep grey [h, w] to eight bits: 16-bit integers by 257, anything else by its own range."""
    deep = np.nan_to_num(values.astype(np.float32))
    low, high = float(deep.min()), float(deep.max())
    if values.dtype.kind in "iu" and low >= 0 and high <= 65535:
        low, high = 0.0, 65535.0
    return np.asarray((deep - low) / max(high - low, 1e-9) * 255 + 0.5).astype(np.uint8)
