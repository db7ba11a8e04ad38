"""Media made on the spot, so that none need be committed."""

from __future__ import annotations

from collections.abc import Sequence
from fractions import Fraction
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
from numpy.typing import NDArray

if TYPE_CHECKING:
    from PIL.Image import Image

COLORS = ((200, 30, 30), (30, 170, 40), (40, 60, 210))
"""The scenes of `write_film`, two seconds each."""
SCENE_S = 2

MINIMAL_PDF = """%PDF-1.4
1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj
2 0 obj <</Type /Pages /Kids [{kids}] /Count {n}>> endobj
3 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj
4 0 obj <</Title ({title})>> endobj
{pages}
trailer <</Root 1 0 R /Info 4 0 R>>
%%EOF
"""


def tone(seconds: float, rate: int = 44_100, hz: float = 440.0) -> NDArray[np.float32]:
    """A sine [n]."""
    return (0.3 * np.sin(2 * np.pi * hz * np.arange(round(seconds * rate)) / rate)).astype(
        np.float32
    )


def picture(width: int = 400, height: int = 300, seed: int = 0) -> NDArray[np.uint8]:
    """Soft blobs of colour [height, width, 3]."""
    from PIL import Image

    noise = np.random.default_rng(seed).integers(0, 255, (6, 8, 3), dtype=np.uint8)
    return np.array(Image.fromarray(noise).resize((width, height), Image.Resampling.BICUBIC))


def shot_of(rgb: NDArray[np.uint8], seed: int) -> NDArray[np.uint8]:
    """The same [h, w, 3] as in a burst: moved, closer or farther, lighter or darker, noisy."""
    from PIL import Image

    rng = np.random.default_rng(seed)
    height, width = rgb.shape[:2]
    share = rng.uniform(0.93, 0.99)
    left, top = rng.uniform(0, 1 - share, 2) * (width, height)
    box = (left, top, left + share * width, top + share * height)
    moved = Image.fromarray(rgb).resize((width, height), Image.Resampling.BICUBIC, box)
    light = np.asarray(moved) * rng.uniform(0.85, 1.15) + rng.normal(0, 4, (height, width, 1))
    return np.asarray(np.clip(light, 0, 255), np.uint8)


def write_sound(path: Path, codec: str, seconds: float = 3.0, rate: int = 48_000) -> Path:
    """A tone, by PyAV: for the formats that soundfile does not write."""
    import av

    with av.open(str(path), "w") as container:
        stream = container.add_stream(codec, rate=rate, layout="mono")
        _encode_sound(container, stream, tone(seconds, rate), rate)
    return path


def write_film(
    path: Path,
    video_codec: str = "libx264",
    sound_codec: str | None = "aac",
    seconds: float = 6.0,
    size: tuple[int, int] = (320, 240),
    samples: NDArray[np.float32] | None = None,
) -> Path:
    """A still of another colour every two seconds, 10 frames per second, and a tone.

    With ``samples`` (mono, 48 kHz), these are heard instead.
    """
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream(video_codec, rate=10)
        video.width, video.height = size
        video.pix_fmt = "yuv420p"
        sound = (
            container.add_stream(sound_codec, rate=48_000, layout="mono") if sound_codec else None
        )
        for i in range(round(seconds * 10)):
            color = COLORS[i // (10 * SCENE_S) % len(COLORS)]
            rgb = np.full((size[1], size[0], 3), color, np.uint8)
            container.mux(video.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(video.encode())
        if sound:
            heard = tone(seconds, 48_000) if samples is None else samples
            _encode_sound(container, sound, heard, 48_000)
    return path


def write_slides(
    path: Path,
    slides: Sequence[Image],
    seconds_each: float = 4.0,
    samples: NDArray[np.float32] | None = None,
) -> Path:
    """A film that shows one picture after the other, 5 frames per second.

    It has no sound, or ``samples`` (mono, 48 kHz).
    """
    import av

    with av.open(str(path), "w") as container:
        video = container.add_stream("libx264", rate=5)
        video.width, video.height = slides[0].size
        video.pix_fmt = "yuv420p"
        sound = (
            container.add_stream("aac", rate=48_000, layout="mono") if samples is not None else None
        )
        for slide in slides:
            for _ in range(round(seconds_each * 5)):
                container.mux(video.encode(av.VideoFrame.from_image(slide)))
        container.mux(video.encode())
        if sound:
            _encode_sound(container, sound, samples, 48_000)
    return path


def _encode_sound(container: Any, stream: Any, samples: NDArray[np.float32], rate: int) -> None:
    import av

    frame = av.AudioFrame.from_ndarray(samples[None], format="fltp", layout="mono")
    frame.sample_rate, frame.pts, frame.time_base = rate, 0, Fraction(1, rate)
    context = stream.codec_context
    if not context.is_open:
        context.open()
    resampler = av.AudioResampler(
        context.format, context.layout, context.sample_rate, context.frame_size or None
    )
    for part in resampler.resample(frame) + resampler.resample(None):
        container.mux(stream.encode(part))
    container.mux(stream.encode())


def write_pdf(path: Path, pages: list[str], title: str = "") -> Path:
    """One line of Helvetica per page. The cross-reference table is left to be rebuilt."""
    objects = []
    for i, text in enumerate(pages):
        content = f"BT /F1 12 Tf 20 100 Td ({text}) Tj ET" if text else ""
        objects.append(
            f"{10 + 2 * i} 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 500 200] "
            f"/Resources <</Font <</F1 3 0 R>>>> /Contents {11 + 2 * i} 0 R>> endobj\n"
            f"{11 + 2 * i} 0 obj <</Length {len(content)}>> stream\n{content}\nendstream endobj"
        )
    kids = " ".join(f"{10 + 2 * i} 0 R" for i in range(len(pages)))
    pdf = MINIMAL_PDF.format(kids=kids, n=len(pages), title=title, pages="\n".join(objects))
    path.write_bytes(pdf.encode("latin-1"))
    return path


def write_pdf_lines(path: Path, lines: Sequence[tuple[float, float, str]]) -> Path:
    """A page of 600 by 800 points with lines of Helvetica, drawn in this order at x and y."""
    shown = " ".join(f"1 0 0 1 {x} {y} Tm ({text}) Tj" for x, y, text in lines)
    content = f"BT /F1 10 Tf {shown} ET"
    page = (
        "10 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 600 800] "
        "/Resources <</Font <</F1 3 0 R>>>> /Contents 11 0 R>> endobj\n"
        f"11 0 obj <</Length {len(content)}>> stream\n{content}\nendstream endobj"
    )
    path.write_text(MINIMAL_PDF.format(kids="10 0 R", n=1, title="", pages=page), "latin-1")
    return path


def turn_film(path: Path) -> Path:
    """Set an MP4's track header to show the film rotated right by 90 degrees."""
    data = bytearray(path.read_bytes())
    matrix = data.index(b"tkhd") + 4 + 40
    turned = [0, 1 << 16, 0, -(1 << 16) & 0xFFFFFFFF, 0, 0, 0, 0, 1 << 30]
    data[matrix : matrix + 36] = b"".join(value.to_bytes(4, "big") for value in turned)
    path.write_bytes(data)
    return path


def streamless_mp4() -> bytes:
    """An MP4 with a movie header and no track in it."""

    def box(kind: bytes, payload: bytes) -> bytes:
        return (8 + len(payload)).to_bytes(4, "big") + kind + payload

    movie = bytes(12) + (1000).to_bytes(4, "big") + bytes(84)
    return box(b"ftyp", b"isom\0\0\2\0isomiso2mp41") + box(b"moov", box(b"mvhd", movie))


def write_heic(
    path: Path, rgb: NDArray[np.uint8], orientation: int = 1, tile_px: int | None = None
) -> Path:
    """A HEIC whose pixels are to be turned by ``orientation`` (EXIF's numbers).

    With ``tile_px`` it is cut into square tiles of this side, as phones write it.
    """
    import pillow_heif
    from PIL import Image

    exif = Image.Exif()
    exif[0x0112] = orientation
    file = pillow_heif.from_pillow(Image.fromarray(rgb))
    file[0].info["exif"] = exif.tobytes()  # makes the encoder write the rotation into the container
    file.save(path, quality=90, tile_size=tile_px)
    return path


def write_heic_sequence(path: Path, seconds: float = 6.0) -> Path:
    """The pictures of `write_film` as a HEIC sequence: HEVC in a track, without a still."""
    write_film(path.with_suffix(".mp4"), "libx265", None, seconds=seconds)
    film = path.with_suffix(".mp4").rename(path).read_bytes()
    brands = {b"ftypisom\0\0\2\0isomiso2mp41": b"ftyphevc\0\0\0\0hevcmsf1iso8", b"vide": b"pict"}
    for old, new in brands.items():
        assert old in film
        film = film.replace(old, new)
    path.write_bytes(film)
    return path
