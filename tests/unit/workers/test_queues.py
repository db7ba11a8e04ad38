from workers.config import Settings
from workers.queues import shards


def test_a_shard_is_about_a_second_of_work_whatever_its_kind() -> None:
    names = [f"{n}.{suffix}" for n in range(128) for suffix in ("txt", "jpg", "wav", "mp4")]
    sizes = {(cost, len(paths)) for cost, paths in shards(names, Settings().shard_files)}
    assert sizes == {("text", 64), ("image", 64), ("audio", 8), ("video", 1)}


def test_small_shards_hold_one_file_at_least() -> None:
    assert [paths for _, paths in shards(["a.wav", "b.mp4", "c.wav"], 2)] == [
        ["a.wav"],
        ["b.mp4"],
        ["c.wav"],
    ]
