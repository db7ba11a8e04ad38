from pathlib import Path

from workers.config import Settings
from workers.pipeline.files import shards


def test_a_shard_is_about_a_second_of_work_whatever_its_kind() -> None:
    names = [f"{n}.{suffix}" for n in range(192) for suffix in ("txt", "jpg", "wav", "mp4")]
    sizes = {(cost, len(paths)) for cost, paths in shards(names, Settings().shard_files)}
    assert sizes == {("text", 96), ("image", 96), ("audio", 12), ("video", 1)}


def test_small_shards_hold_one_file_at_least() -> None:
    assert [paths for _, paths in shards(["a.wav", "b.mp4", "c.wav"], 2)] == [
        ["a.wav"],
        ["b.mp4"],
        ["c.wav"],
    ]


def test_a_shard_of_large_files_holds_fewer(tmp_path: Path) -> None:
    for number in range(4):
        (tmp_path / f"{number}.txt").write_bytes(b"x" * 2**20)
    names = [str(tmp_path / f"{number}.txt") for number in (0, 1, 2, 3, "missing")]
    assert [paths for _, paths in shards(names, 64)] == [names[:2], names[2:4], names[4:]]


def test_names_that_no_file_can_have_are_left_to_the_workers() -> None:
    names = ["nul\0.txt", "https://example.org/a.txt"]
    assert list(shards(names, 64)) == [("text", names)]
