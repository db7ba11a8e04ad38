"""Files that harm readers, made on the spot, each with its expected outcome."""

from __future__ import annotations

import io
import os
import struct
import zipfile
import zlib
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import soundfile
from PIL import Image, PngImagePlugin

from tests.support.media import (
    picture,
    streamless_mp4,
    tone,
    write_film,
    write_heic,
    write_pdf,
    write_sound,
)

FINE = "fine"
CORRUPT = "CorruptMediaError"
LIMIT = "MediaLimitError"
UNSUPPORTED = "UnsupportedMediaError"
MEDIA = "MediaError"


def make_poison(root: Path) -> dict[str, str]:
    """Write the files into ``root``; return the error or `FINE` by relative path."""
    fates: dict[str, str] = {}
    for make in (_cut_off, _odd_kinds, _pictures, _bombs, _sounds, _containers, _texts, _names):
        folder = root / make.__name__.strip("_")
        folder.mkdir()
        for name, fate in make(folder):
            fates[str((folder / name).relative_to(root))] = fate
    return fates


def _png(folder: Path, name: str, **options: object) -> Path:
    Image.fromarray(picture(200, 150)).save(folder / name, **options)
    return folder / name


def _cut_off(folder: Path) -> Iterator[tuple[str, str]]:
    for suffix in ("jpg", "png", "webp", "gif", "bmp", "tiff", "avif"):
        _halve(_png(folder, f"half.{suffix}"))
        yield f"half.{suffix}", CORRUPT
    _halve(write_heic(folder / "half.heic", picture(800, 600), tile_px=256))
    yield "half.heic", CORRUPT
    soundfile.write(folder / "half.flac", tone(3), 44_100)
    _halve(folder / "half.flac")
    yield "half.flac", FINE  # what is there can be heard
    _halve(write_film(folder / "half.mp4", seconds=2))
    yield "half.mp4", CORRUPT  # its table of contents is at the end
    for suffix in ("png", "wav", "mp4", "txt", "pdf"):
        (folder / f"empty.{suffix}").write_bytes(b"")
        yield f"empty.{suffix}", CORRUPT
    for suffix, head in {"png": b"\x89PNG\r\n\x1a\n", "wav": b"RIFF\0\0\0\0WAVE"}.items():
        (folder / f"head.{suffix}").write_bytes(head)
        yield f"head.{suffix}", CORRUPT
    (folder / "head.pdf").write_bytes(b"%PDF-1.7\n")
    yield "head.pdf", CORRUPT


def _halve(path: Path) -> None:
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])


def _odd_kinds(folder: Path) -> Iterator[tuple[str, str]]:
    _png(folder, "a.png").rename(folder / "picture.mp3")
    yield "picture.mp3", FINE
    (folder / "text.jpg").write_text("I am no picture.")
    yield "text.jpg", FINE
    (folder / "noise.bin").write_bytes(bytes(range(256)) * 20)
    yield "noise.bin", UNSUPPORTED
    (folder / "program").write_bytes(b"\x7fELF" + bytes(2000))
    yield "program", UNSUPPORTED
    (folder / "list.m3u8").write_text("#EXTM3U\nfile:///etc/passwd\n")
    yield "list.m3u8", UNSUPPORTED
    (folder / "job.ps").write_text("%!PS\n(/etc/passwd) (r) file\n")
    yield "job.ps", UNSUPPORTED
    entities = "".join(f'<!ENTITY a{i} "{f"&a{i - 1};" * 10}">' for i in range(1, 10))
    (folder / "laugh.svg").write_text(f"<svg><!DOCTYPE x [{entities}]><text>&a9;</text></svg>")
    yield "laugh.svg", CORRUPT
    with zipfile.ZipFile(folder / "bomb.docx", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("[Content_Types].xml", "<Types/>")
        archive.writestr("word/document.xml", bytes(20_000_000))
    yield "bomb.docx", UNSUPPORTED
    inner = (folder / "bomb.docx").read_bytes()
    with zipfile.ZipFile(folder / "nested.zip", "w") as archive:
        archive.writestr("a.zip", inner)
    yield "nested.zip!/a.zip", UNSUPPORTED
    (folder / "log.gz").write_bytes(zlib.compress(bytes(10_000_000), wbits=31))
    yield "log.gz!/log", UNSUPPORTED


def _pictures(folder: Path) -> Iterator[tuple[str, str]]:
    Image.new("RGB", (8000, 8000), "green").save(folder / "8k.png")
    yield "8k.png", FINE
    for name, size in {"dot.png": (1, 1), "row.png": (5000, 1), "column.gif": (1, 5000)}.items():
        Image.new("L", size).save(folder / name)
        yield name, FINE
    facts = PngImagePlugin.PngInfo()
    facts.add_text("Comment", "x" * 900_000)
    _png(folder, "comment.png", pnginfo=facts)
    yield "comment.png", FINE
    facts.add_text("Comment", "x" * 5_000_000, zip=True)
    _png(folder, "comments.png", pnginfo=facts)
    yield "comments.png", CORRUPT
    _png(folder, "profile.jpg", icc_profile=os.urandom(60_000))
    yield "profile.jpg", FINE
    Image.fromarray(np.full((40, 40), np.nan, np.float32)).save(folder / "nan.tiff")
    yield "nan.tiff", FINE


def _bombs(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "wide.png").write_bytes(_png_of(60_000, 60_000))
    yield "wide.png", LIMIT
    (folder / "lie.png").write_bytes(_png_of(7000, 7000))  # 49 million pixels declared, none there
    yield "lie.png", CORRUPT
    gif = b"GIF89a" + struct.pack("<HH", 65_535, 65_535) + b"\0\0\0,\0\0\0\0\1\0\1\0\0\2\2D\1\0;"
    (folder / "wide.gif").write_bytes(gif)
    yield "wide.gif", LIMIT
    frames = [Image.new("P", (8, 8), i % 256) for i in range(60)]
    frames[0].save(folder / "long.gif", save_all=True, append_images=frames[1:], optimize=False)
    yield "long.gif", LIMIT
    frames[0].save(folder / "long.tiff", save_all=True, append_images=frames[1:])
    yield "long.tiff", LIMIT
    tiff = bytearray((folder / "long.tiff").read_bytes()[:8])
    tags = [(256, 60_000), (257, 60_000), (258, 8), (259, 1), (262, 1), (273, 8), (279, 10)]
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (folder / "wide.tiff").write_bytes(
        b"II*\0\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + bytes(4)
    )
    yield "wide.tiff", LIMIT
    # A directory whose successor is itself.
    tags[0], tags[1] = (256, 2), (257, 2)
    entries = b"".join(struct.pack("<HHII", tag, 4, 1, value) for tag, value in tags)
    (folder / "loop.tiff").write_bytes(
        bytes(tiff[:4]) + b"\x08\0\0\0" + struct.pack("<H", len(tags)) + entries + b"\x08\0\0\0"
    )
    yield "loop.tiff", FINE
    write_pdf(folder / "pages.pdf", ["x"] * 150)
    yield "pages.pdf", LIMIT
    stream = zlib.compress(b"BT /F1 9 Tf (AAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAAA) Tj ET\n" * 20_000)
    (folder / "stream.pdf").write_bytes(_pdf_of(stream))
    yield "stream.pdf", FINE  # PDFium reads what lies on the page
    write_pdf(folder / "circle.pdf", ["x"])
    circle = (folder / "circle.pdf").read_bytes().replace(b"/Kids [10 0 R]", b"/Kids [ 2 0 R]")
    (folder / "circle.pdf").write_bytes(circle)
    yield "circle.pdf", CORRUPT
    (folder / "deep.html").write_text("<html>" + "<div>" * 100_000)
    yield "deep.html", LIMIT


def _png_of(width: int, height: int) -> bytes:
    def chunk(kind: bytes, data: bytes) -> bytes:
        return (
            struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
        )

    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0))
    data = chunk(b"IDAT", zlib.compress(bytes(1000)))
    return b"\x89PNG\r\n\x1a\n" + header + data + chunk(b"IEND", b"")


def _pdf_of(stream: bytes) -> bytes:
    return (
        b"%PDF-1.4\n1 0 obj <</Type /Catalog /Pages 2 0 R>> endobj\n"
        b"2 0 obj <</Type /Pages /Kids [5 0 R] /Count 1>> endobj\n"
        b"3 0 obj <</Type /Font /Subtype /Type1 /BaseFont /Helvetica>> endobj\n"
        b"5 0 obj <</Type /Page /Parent 2 0 R /MediaBox [0 0 500 200] "
        b"/Resources <</Font <</F1 3 0 R>>>> /Contents 6 0 R>> endobj\n"
        b"6 0 obj <</Filter /FlateDecode /Length " + str(len(stream)).encode() + b">> stream\n"
        + stream + b"\nendstream endobj\ntrailer <</Root 1 0 R>>\n%%EOF\n"
    )  # fmt: skip


def _sounds(folder: Path) -> Iterator[tuple[str, str]]:
    samples = tone(3)
    for name, value in {"nan.wav": np.nan, "endless.wav": np.inf}.items():
        broken = samples.copy()
        broken[-50] = value
        soundfile.write(folder / name, broken, 44_100, subtype="FLOAT")
        yield name, CORRUPT
    for name, field, value in (
        ("no-rate.wav", 24, struct.pack("<I", 0)),
        ("slow.wav", 24, struct.pack("<I", 1)),
        ("no-channels.wav", 22, struct.pack("<H", 0)),
        ("channels.wav", 22, struct.pack("<H", 65_535)),
        ("no-bits.wav", 34, struct.pack("<H", 0)),
    ):
        soundfile.write(folder / name, samples, 44_100)
        data = bytearray((folder / name).read_bytes())
        data[field : field + len(value)] = value
        (folder / name).write_bytes(data)
        yield name, LIMIT if name == "slow.wav" else CORRUPT
    soundfile.write(folder / "silent.wav", np.zeros(44_100, np.float32), 44_100)
    yield "silent.wav", FINE
    soundfile.write(folder / "one.wav", samples[:1], 44_100)
    yield "one.wav", FINE
    soundfile.write(folder / "none.wav", samples[:0], 44_100)
    yield "none.wav", CORRUPT
    soundfile.write(folder / "long.wav", np.zeros(8_000 * 130, np.float32), 8_000)
    yield "long.wav", LIMIT


def _containers(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "no-streams.mp4").write_bytes(streamless_mp4())
    yield "no-streams.mp4", CORRUPT
    (folder / "noise.mp4").write_bytes(
        b"\0\0\0\x18ftypisom\0\0\2\0isomiso2" + np.random.default_rng(2).bytes(4000)
    )
    yield "noise.mp4", CORRUPT
    write_sound(folder / "title.m4a", "aac")
    yield "title.m4a", FINE
    film = write_film(folder / "holes.mkv", seconds=2).read_bytes()
    (folder / "holes.mkv").write_bytes(film[:2000] + os.urandom(3000) + film[5000:])
    yield "holes.mkv", "any"  # what is left of it, or nothing
    write_film(folder / "wide.mp4", seconds=0.2, size=(1280, 720))
    data = (folder / "wide.mp4").read_bytes()
    (folder / "wide.mp4").write_bytes(
        data.replace(struct.pack(">HH", 1280, 720), struct.pack(">HH", 32_000, 32_000))
    )
    yield "wide.mp4", "any"  # the file's header is wrong, the codec's may be right


def _texts(folder: Path) -> Iterator[tuple[str, str]]:
    (folder / "latin.txt").write_bytes("Grüße aus Köln, schöne Straße.".encode("latin-1"))
    yield "latin.txt", FINE
    (folder / "bad.txt").write_bytes(b"half \xf0\x9f\x98 and \xff\xfe\xc0 go on")
    yield "bad.txt", FINE
    (folder / "utf16.txt").write_text("Sechzehn Bit.", "utf-16")
    yield "utf16.txt", FINE
    (folder / "zeros.txt").write_bytes(bytes(3000))
    yield "zeros.txt", UNSUPPORTED
    (folder / "blank.txt").write_text(" \n\t " * 1000)
    yield "blank.txt", UNSUPPORTED
    (folder / "line.txt").write_text("a" * 300_000)
    yield "line.txt", FINE
    (folder / "big.txt").write_text("word " * 500_000)
    yield "big.txt", LIMIT
    (folder / "marks.txt").write_text("e" + "\u0301" * 5000)
    yield "marks.txt", UNSUPPORTED


def _names(folder: Path) -> Iterator[tuple[str, str]]:
    for number, name in enumerate(
        ("line\nbreak.txt", "🎬🦊.txt", "-rf", "a'\";$(x).txt", "x" * 240)
    ):
        (folder / name).write_text(f"A name of the kind {number}.")
        yield name, FINE
    (folder / os.fsdecode(b"caf\xe9.txt")).write_text("Latin-1 in a name.")
    yield os.fsdecode(b"caf\xe9.txt"), MEDIA
    deep = folder.joinpath(*["deep"] * 300)
    deep.mkdir(parents=True)
    (deep / "a.txt").write_text("Far down.")
    yield str((deep / "a.txt").relative_to(folder)), FINE
    os.mkfifo(folder / "pipe.txt")
    yield "pipe.txt", MEDIA


def neighbours(root: Path) -> list[str]:
    """Good files, one in each folder of the poison, sorted among the bad ones."""
    names = []
    for number, folder in enumerate(sorted(path for path in root.iterdir() if path.is_dir())):
        (folder / "good.txt").write_text(f"Good neighbour {number}.")
        buffer = io.BytesIO()
        Image.fromarray(picture(80, 60, seed=100 + number)).save(buffer, "PNG")
        (folder / "good.png").write_bytes(buffer.getvalue())
        names += [str((folder / name).relative_to(root)) for name in ("good.txt", "good.png")]
    return names
