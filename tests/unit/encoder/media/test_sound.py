"""Sounds and films."""

import io
from pathlib import Path

import av
import numpy as np
import pytest
import soundfile
from numpy.typing import NDArray
from PIL import Image

from encoder.errors import CorruptMediaError, MediaLimitError
from encoder.media import load_clip, load_sound, probe, stream_frames, stream_sound
from tests.support.media import COLORS, tone, turn_film, write_film, write_sound


def loudest_hz(samples: NDArray[np.float32], rate: int) -> float:
    spectrum = np.abs(np.fft.rfft(samples * np.hanning(len(samples))))
    return float(spectrum.argmax() * rate / len(samples))


@pytest.mark.parametrize("suffix", ["wav", "flac", "mp3", "ogg", "aiff"])
def test_formats_of_soundfile(tmp_path: Path, suffix: str) -> None:
    path = tmp_path / f"a.{suffix}"
    soundfile.write(path, tone(3), 44_100)
    check_tone(path, 3.0)


@pytest.mark.parametrize(
    ("name", "codec"),
    [
        ("a.m4a", "aac"),
        ("a.opus", "libopus"),
        ("a.mp3", "libmp3lame"),
        ("a.aac", "aac"),
        ("a.mka", "libopus"),
        ("a.mp4", "aac"),
    ],
)
def test_formats_of_av(tmp_path: Path, name: str, codec: str) -> None:
    check_tone(write_sound(tmp_path / name, codec), 3.0)


def check_tone(path: Path, seconds: float) -> None:
    sound = load_sound(path)
    assert sound.sampling_rate == 44_100
    assert sound.samples.dtype == np.float32
    assert sound.samples.ndim == 1
    assert sound.duration_s == pytest.approx(seconds, abs=0.06)
    middle = sound.samples[22_050:110_250]
    assert loudest_hz(middle, 44_100) == pytest.approx(440, abs=1)
    assert np.sqrt((middle**2).mean()) == pytest.approx(0.3 / np.sqrt(2), rel=0.1)


@pytest.mark.parametrize("rate", [4_000, 7_350, 22_050, 96_000, 192_000])
@pytest.mark.parametrize("wanted", [16_000, 44_100])
def test_odd_rates_are_resampled(tmp_path: Path, rate: int, wanted: int) -> None:
    soundfile.write(tmp_path / "a.wav", tone(2, rate), rate)
    sound = load_sound(tmp_path / "a.wav", wanted)
    assert sound.sampling_rate == wanted
    assert sound.duration_s == pytest.approx(2, abs=0.01)
    assert loudest_hz(sound.samples, wanted) == pytest.approx(440, abs=1)


@pytest.mark.parametrize("n_channels", [2, 3, 6, 8, 17, 32])
def test_channels_are_averaged(tmp_path: Path, n_channels: int) -> None:
    channels = np.random.default_rng(0).uniform(-0.5, 0.5, (5_000, n_channels)).astype(np.float32)
    soundfile.write(tmp_path / "a.wav", channels, 44_100, subtype="FLOAT")
    np.testing.assert_allclose(
        load_sound(tmp_path / "a.wav").samples, channels.mean(axis=1), atol=1e-6
    )


@pytest.mark.parametrize("n_channels", [7, 8, 9, 12, 23])
def test_many_channels_in_planes(tmp_path: Path, n_channels: int) -> None:
    channels = np.repeat(tone(2, 48_000)[:, None], n_channels, axis=1)
    soundfile.write(tmp_path / "a.ogg", channels, 48_000)
    sound = load_sound(tmp_path / "a.ogg", 48_000)
    np.testing.assert_allclose(sound.samples[:90_000], channels[:90_000, 0], atol=0.02)


@pytest.mark.parametrize(
    "subtype", ["PCM_U8", "PCM_16", "PCM_24", "PCM_32", "FLOAT", "DOUBLE", "ULAW"]
)
def test_sample_formats_have_the_same_scale(tmp_path: Path, subtype: str) -> None:
    soundfile.write(tmp_path / "a.wav", np.stack([tone(1), tone(1)], 1), 44_100, subtype=subtype)
    np.testing.assert_allclose(load_sound(tmp_path / "a.wav").samples, tone(1), atol=0.011)


@pytest.mark.parametrize("rate", [44_100, 48_000])
@pytest.mark.parametrize("value", [np.nan, np.inf])
def test_samples_that_are_no_numbers_are_refused(tmp_path: Path, rate: int, value: float) -> None:
    samples = tone(1, rate)
    samples[500] = value
    soundfile.write(tmp_path / "bad.wav", samples, rate, subtype="FLOAT")
    with pytest.raises(CorruptMediaError, match=r"bad\.wav holds samples that are not finite"):
        load_sound(tmp_path / "bad.wav")


def test_absurd_rates_are_refused(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1), 2)
    with pytest.raises(CorruptMediaError, match=r"a\.wav claims a sampling rate of 2 Hz"):
        load_sound(tmp_path / "a.wav")


def test_samples_beyond_one_are_clipped(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "loud.wav", tone(1) * 20, 44_100, subtype="FLOAT")
    assert np.abs(load_sound(tmp_path / "loud.wav").samples).max() == 1.0


def test_a_stream_is_the_whole_in_chunks(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(4, 48_000), 48_000)
    chunks = list(stream_sound(tmp_path / "a.wav"))
    assert len(chunks) > 3
    np.testing.assert_array_equal(np.concatenate(chunks), load_sound(tmp_path / "a.wav").samples)


def test_what_resampling_leaves_nothing_of_is_no_sound(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(1, 16_000)[:10], 16_000)
    with pytest.raises(CorruptMediaError, match=r"a\.wav holds no sound"):
        list(stream_sound(tmp_path / "a.wav"))


def test_the_sound_of_a_film(tmp_path: Path) -> None:
    check_tone(write_film(tmp_path / "a.mkv"), 6.0)


@pytest.mark.parametrize("name", ["a.wav", "a.mp3"])
def test_a_sound_cut_off_gives_what_is_there(tmp_path: Path, name: str) -> None:
    path = tmp_path / name
    soundfile.write(path, tone(4), 44_100)
    path.write_bytes(path.read_bytes()[: path.stat().st_size // 2])
    assert load_sound(path).duration_s == pytest.approx(2, abs=0.2)


def test_junk_within_a_song_is_left_out(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.mp3", tone(4), 44_100)
    data = bytearray((tmp_path / "a.mp3").read_bytes())
    data[10_000:10_400] = np.random.default_rng(0).bytes(400)
    assert load_sound(bytes(data)).duration_s == pytest.approx(4, abs=0.3)


def test_a_silent_film_has_no_sound_track(tmp_path: Path) -> None:
    path = write_film(tmp_path / "a.mp4", sound_codec=None, seconds=1)
    assert not probe(path).has_sound
    with pytest.raises(CorruptMediaError, match="has no sound track"):
        load_sound(path)


def test_long_sound_is_not_loaded_whole(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(3), 44_100)
    with pytest.raises(MediaLimitError, match="max_duration_s, 2"):
        load_sound(tmp_path / "a.wav", max_duration_s=2)


class CountingFile(io.BytesIO):
    """A file that counts how much of it was read."""

    n_read = 0

    def read(self, size: int | None = -1) -> bytes:
        data = super().read(size)
        self.n_read += len(data)
        return data


def test_the_header_of_a_wav_is_known_from_its_beginning(tmp_path: Path) -> None:
    soundfile.write(tmp_path / "a.wav", tone(30), 44_100)
    file = CountingFile((tmp_path / "a.wav").read_bytes())
    assert probe(file).duration_s == pytest.approx(30)
    assert file.n_read < len(file.getvalue()) / 5


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
