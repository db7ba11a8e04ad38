"""Files in archives, and what archives may not do."""

from __future__ import annotations

import gzip
import io
import os
import tarfile
import zipfile
from collections.abc import Mapping
from pathlib import Path

import pytest

from encoder.errors import MediaError
from ingest import Asset, IngestConfig, identify, ingest, segments
from ingest.sources.archives import identify_members
from ingest.types import Failure

CONFIG = IngestConfig(isolate=True)
FILES = {"b.txt": b"The ferry leaves.", "deep/c.md": b"# Whales", "page.html": b"<p>Gulls.</p>"}


def write_zip(path: Path, files: Mapping[str, bytes]) -> Path:
    with zipfile.ZipFile(path, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return path


def write_tar(path: Path, files: Mapping[str, bytes]) -> Path:
    with tarfile.open(path, "w:gz" if path.suffix == ".tgz" else "w") as archive:
        for name, data in files.items():
            entry = tarfile.TarInfo(name)
            entry.size = len(data)
            archive.addfile(entry, io.BytesIO(data))
    return path


def members(path: Path, scratch: Path, config: IngestConfig = CONFIG) -> list[Asset | str]:
    found: list[Asset | str] = []

    def refuse(uri: str, error: MediaError) -> None:
        found.append(f"{uri.removeprefix(str(path))}: {error}")

    for asset in identify_members(identify(path, config), scratch, config, refuse):
        found.append(asset)
    return found


WRITERS = {".zip": write_zip, ".tar": write_tar, ".tgz": write_tar}


@pytest.mark.slow
@pytest.mark.parametrize("suffix", WRITERS)
def test_each_file_is_an_asset(tmp_path: Path, suffix: str) -> None:
    path = WRITERS[suffix](tmp_path / f"a{suffix}", FILES)
    found = members(path, tmp_path)
    assert [(one.uri, one.media_type, one.metadata["title"]) for one in found] == [
        (f"{path}!/b.txt", "text/plain", "b"),
        (f"{path}!/deep/c.md", "text/markdown", "c"),
        (f"{path}!/page.html", "text/html", "page"),
    ]
    assert [next(segments(one, CONFIG)).content for one in found] == [
        "The ferry leaves.",
        "# Whales",
        "Gulls.",
    ]
    (tmp_path / "b.txt").write_bytes(FILES["b.txt"])
    assert found[0].asset_id == identify(tmp_path / "b.txt", CONFIG).asset_id


def test_a_packed_file_and_archives_in_archives(tmp_path: Path) -> None:
    path = tmp_path / "note.txt.gz"
    path.write_bytes(gzip.compress(b"Foxes."))
    (note,) = members(path, tmp_path)
    assert note.uri == f"{path}!/note.txt"
    inner = write_tar(tmp_path / "inner.tgz", {"x.txt": b"Owls."}).read_bytes()
    outer = write_zip(tmp_path / "outer.zip", {"inner.tgz": inner, "d.txt": b"Dogs."})
    assert [one.uri.rpartition("zip!/")[2] for one in members(outer, tmp_path)] == [
        "inner.tgz!/x.txt",
        "d.txt",
    ]
    flat = CONFIG.model_copy(update={"max_archive_depth": 1})
    refused, dogs = members(outer, tmp_path, flat)
    assert "max_archive_depth" in refused
    assert dogs.uri.endswith("d.txt")


def test_the_library_reads_archives(tmp_path: Path) -> None:
    (tmp_path / "in").mkdir()
    write_zip(tmp_path / "in" / "a.zip", {**FILES, "x.bin": bytes(range(256)), "empty.txt": b""})
    failures: list[Failure] = []
    found = [s.content for s in ingest(tmp_path / "in", CONFIG, on_failure=failures.append)]
    assert found == ["The ferry leaves.", "# Whales", "Gulls."]
    assert [f.uri.rpartition("!/")[2] for f in failures] == ["x.bin", "empty.txt"]
    assert all("a.zip!/" in f.reason for f in failures)


@pytest.mark.parametrize(
    ("limit", "value"), [("max_archive_files", 2), ("max_archive_bytes", 20_000_000)]
)
def test_limits(tmp_path: Path, limit: str, value: int) -> None:
    path = write_zip(tmp_path / "a.zip", {f"{n}.txt": bytes(9_000_000) for n in range(3)})
    with pytest.raises(MediaError, match=limit):
        members(path, tmp_path, CONFIG.model_copy(update={limit: value}))


@pytest.mark.slow
def test_a_bomb_is_not_unpacked(tmp_path: Path) -> None:
    path = tmp_path / "bomb.zip"
    write_zip(path, {"zeros.txt": bytes(100 * 2**20)})
    with pytest.raises(MediaError, match="200 times"):
        members(path, tmp_path)


def test_names_lead_nowhere(tmp_path: Path) -> None:
    scratch = tmp_path / "a" / "b"
    scratch.mkdir(parents=True)
    names = ["../../evil.txt", "/etc/evil.txt", "..\\evil.txt", "x/" * 100 + "long.txt"]
    path = write_zip(tmp_path / "a.zip", dict.fromkeys(names, b"Evil."))
    assert len(members(path, scratch)) == len(names)
    written = [Path(folder) / name for folder, _, files in os.walk(tmp_path) for name in files]
    assert all(file == path or scratch in file.parents for file in written)


def test_an_encrypted_file_says_so(tmp_path: Path) -> None:
    path = write_zip(tmp_path / "a.zip", FILES)
    data = bytearray(path.read_bytes())
    at = data.find(b"PK\x01\x02")
    data[at + 8] |= 1  # the flag of the first file in the directory
    path.write_bytes(data)
    refused, *others = members(path, tmp_path)
    assert refused.startswith("!/b.txt: ")
    assert "is encrypted" in refused
    assert len(others) == 2


@pytest.mark.slow
@pytest.mark.parametrize("method", ["ZIP_STORED", "ZIP_DEFLATED", "ZIP_BZIP2", "ZIP_LZMA"])
@pytest.mark.parametrize("at", [0.02, 0.98], ids=["start", "end"])
def test_a_damaged_file_costs_no_other(tmp_path: Path, method: str, at: float) -> None:
    path = tmp_path / "a.zip"
    bad = os.urandom(3_000_000).hex().encode()  # of several pieces
    with zipfile.ZipFile(path, "w", getattr(zipfile, method)) as archive:
        for name, data in {"a.txt": b"Gulls.", "bad.txt": bad, "c.txt": b"Terns."}.items():
            archive.writestr(name, data)
        entry = archive.getinfo("bad.txt")
    damaged = bytearray(path.read_bytes())
    start = entry.header_offset + 100 + int(at * (entry.compress_size - 300))
    damaged[start : start + 64] = b"\xff" * 64
    path.write_bytes(damaged)
    first, refused, last = members(path, tmp_path)
    assert [Path(one.uri).name for one in (first, last)] == ["a.txt", "c.txt"]
    assert refused.startswith("!/bad.txt: ")
    assert "cannot be unpacked" in refused
