from pathlib import Path

import av
import numpy as np
import pytest
from PIL import Image

from encoder.errors import CorruptMediaError
from encoder.media import load_clip, probe, stream_frames
from tests.support.media import COLORS, tone, turn_film, write_film


@pytest.mark.parametrize(
    ("name", "video", "sound"),
    [
        ("a.mp4", "libx264", "aac"),
        ("a.mkv", "libx264", "libopus"),
        ("a.webm", "libvpx-vp9", "libopus"),
        ("a.mov", "libx264", "aac"),
        ("a.avi", "mpeg4", "libmp3lame"),
        ("a.ts", "libx264", "aac"),
    ],
)
def test_every_format_gives_the_scenes(tmp_path: Path, name: str, video: str, sound: str) -> None:
    path = write_film(tmp_path / name, video, sound)
    facts = probe(path)
    assert (facts.width, facts.height, facts.has_video, facts.has_sound) == (320, 240, True, True)
    assert facts.duration_s == pytest.approx(6, abs=0.2)
    # AVI has no times of its own: its last frame comes out one frame late.
    frames = [frame for frame in stream_frames(path, every_s=1.0) if frame[0] < 5.95]
    assert [round(time_s) for time_s, _ in frames] == [0, 1, 2, 3, 4, 5]
    for time_s, rgb in frames[1::2]:  # in the middle of each scene
        assert rgb.shape == (240, 320, 3)
        np.testing.assert_allclose(rgb.mean(axis=(0, 1)), COLORS[int(time_s / 2)], atol=14)


def test_frames_are_scaled_down(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=1, size=(640, 360))
    assert next(stream_frames(path, short_side=90))[1].shape == (90, 160, 3)


def test_all_frames_on_request(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=2)
    times = [time_s for time_s, _ in stream_frames(path, every_s=0)]
    assert times == pytest.approx(np.arange(20) / 10)


def test_threads_do_not_change_the_frames(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=3)
    for (t1, one), (t2, two) in zip(
        stream_frames(path, n_threads=1), stream_frames(path, n_threads=2), strict=True
    ):
        assert t1 == t2
        np.testing.assert_array_equal(one, two)


def test_a_film_taken_upright_is_shown_upright(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", seconds=1)
    with av.open(str(path), "w") as container:
        stream = container.add_stream("libx264", rate=10)
        stream.width, stream.height, stream.pix_fmt = 320, 240, "yuv420p"
        rgb = np.zeros((240, 320, 3), np.uint8)
        rgb[:, :80] = 255  # the left edge: after a turn to the right it is the upper one
        container.mux(stream.encode(av.VideoFrame.from_ndarray(rgb, format="rgb24")))
        container.mux(stream.encode())
    _, shown = next(stream_frames(turn_film(path)))
    assert shown.shape == (320, 240, 3)
    assert shown[20].mean() > 200
    assert shown[-20].mean() < 50


def test_a_song_with_a_cover_is_no_film(tmp_path: Path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "cover.jpg")
    with av.open(str(tmp_path / "a.mp3"), "w") as container:
        sound = container.add_stream("libmp3lame", rate=44_100, layout="mono")
        cover = container.add_stream("mjpeg", rate=1)
        cover.width, cover.height, cover.pix_fmt = 64, 64, "yuvj420p"
        cover.disposition = av.stream.Disposition.attached_pic
        container.mux(cover.encode(av.VideoFrame.from_image(Image.open(tmp_path / "cover.jpg"))))
        container.mux(cover.encode())
        samples = tone(1).reshape(1, -1)
        for start in range(0, 44_100 - 1152, 1152):
            frame = av.AudioFrame.from_ndarray(
                samples[:, start : start + 1152], format="fltp", layout="mono"
            )
            frame.sample_rate, frame.pts = 44_100, start
            container.mux(sound.encode(frame))
        container.mux(sound.encode())
    facts = probe(tmp_path / "a.mp3")
    assert facts.has_sound
    assert not facts.has_video


def test_a_film_cut_off(tmp_path: Path) -> None:
    whole = write_film(tmp_path / "a.mkv").read_bytes()
    frames = list(stream_frames(whole[: len(whole) // 2]))
    assert 0 < frames[-1][0] < 5
    whole = write_film(tmp_path / "a.mp4").read_bytes()
    with pytest.raises(CorruptMediaError, match="cannot be decoded as sound or video"):
        probe(whole[: len(whole) // 2])  # an MP4 has its index at the end


def test_a_playlist_cannot_reach_other_files(tmp_path: Path) -> None:
    film = write_film(tmp_path / "a.ts", seconds=1)
    playlist = f"#EXTM3U\n#EXT-X-TARGETDURATION:9\n#EXTINF:9,\n{film}\n#EXT-X-ENDLIST\n"
    (tmp_path / "list.m3u8").write_text(playlist)
    (tmp_path / "concat.txt").write_text(f"ffconcat version 1.0\nfile {film}\n")
    for name in ("list.m3u8", "concat.txt"):
        with pytest.raises(CorruptMediaError):
            probe(tmp_path / name)


@pytest.mark.parametrize(
    "name", ["line\nbreak.mp4", "🎬 film.mp4", "concat:a|b.mp4", "-i.mp4", "a%d.mp4"]
)
def test_names_are_not_read_as_addresses(tmp_path: Path, name: str) -> None:
    path = write_film(tmp_path / "plain.mp4", seconds=1).rename(tmp_path / name)
    assert probe(path).has_video
    assert len(list(stream_frames(path))) == 2


@pytest.mark.parametrize("max_frames", [1, 4, 1000])
def test_a_clip_is_spread_over_the_film(tmp_path: Path, max_frames: int) -> None:
    clip = load_clip(write_film(tmp_path / "a.mp4"), max_frames=max_frames)
    assert 1 <= len(clip.frames) <= max_frames
    assert clip.sound.duration_s == pytest.approx(6, abs=0.1)
    if max_frames > 3:
        first, last = clip.frames[0].mean(axis=(0, 1)), clip.frames[-1].mean(axis=(0, 1))
        np.testing.assert_allclose(first, COLORS[0], atol=14)
        np.testing.assert_allclose(last, COLORS[2], atol=14)
