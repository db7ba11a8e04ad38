"""EDF, WFDB and CSV files become windows of ten seconds of one lead."""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path

import numpy as np
from numpy.typing import NDArray

from encoder.errors import CorruptMediaError, UnsupportedMediaError
from encoder.types import IMAGE, Modality
from ingest import Asset, IngestConfig, Segment
from ingest.kinds import Head, Kind, Match, Place
from ingest.types import Fact

EDF, WFDB, CSV = "application/x-edf", "application/x-wfdb", "text/x-ecg-csv"
RATE_HZ = 125
_WINDOW_S, _LEAST_S = 10, 5
_LEAD = re.compile(r"(?i)\b(ecg|ekg|ml?ii|[iv]{1,3}|v[1-6]|av[rlf])\b")
_TIME = re.compile(r"(?i)(time|t|sec|seconds)(_s|\s*[\[(]s[\])])?")
_HEADER = re.compile(rb"(#.*\s)*[\w-]+(/\d+)? \d+ [\d.]+(/\S+)?( \d+)?")
_SIGNAL = re.compile(rb"(?m)^[\w.-]+ (8|16|24|32|61|80|160|212|310|311)\b")

Lead = NDArray[np.float32]


class Ecg(Kind):
    """Recordings of the heart."""

    name, label = "ecg", "ECG"
    modality = Modality("ecg")
    formats = ("ECG in EDF, WFDB or CSV",)
    media_types = frozenset({EDF, WFDB, CSV})
    suffixes = (".edf", ".hea")
    cost = "image"
    max_bytes = "max_media_bytes"
    shows = True

    def sniff(self, head: Head) -> Match | None:
        """EDF by its version; WFDB by the two kinds of lines of its header; CSV by its columns."""
        if head.data.startswith(b"0       ") and head.data[184:192].strip().isdigit():
            return Match(EDF, 0.95)
        if not head.is_text:
            return None
        if _HEADER.match(head.start) and _SIGNAL.search(head.start):
            return Match(WFDB, 0.9)
        first, *others = _cells(head.start.partition(b"\n")[0].decode("utf-8", "replace"))
        timed = _TIME.fullmatch(first) and any(map(_LEAD.search, others))
        return Match(CSV, 0.9) if timed else None

    def describe(self, path: Path, media_type: str, config: IngestConfig) -> Mapping[str, Fact]:  # noqa: ARG002
        """Title and duration_s."""
        return {"title": path.stem, "duration_s": len(_read(path, media_type)) / RATE_HZ}

    def segments(self, asset: Asset, path: Path, config: IngestConfig) -> Iterator[Segment]:  # noqa: ARG002
        """Windows of float32 [n_samples] at 125 Hz; one shorter than 5 s joins the last."""
        lead = _read(path, asset.media_type)
        length = _WINDOW_S * RATE_HZ
        n_windows = max(1, (len(lead) + length - _LEAST_S * RATE_HZ) // length)
        for index in range(n_windows):
            end = len(lead) if index == n_windows - 1 else (index + 1) * length
            times = {"start_s": float(index * _WINDOW_S), "end_s": end / RATE_HZ}
            content = lead[index * length : end]
            yield Segment(asset.asset_id, self.modality, index, content, **times)

    def preview(self, asset: Asset, path: Path, place: Place, config: IngestConfig) -> Segment:  # noqa: ARG002
        """The curve of five seconds."""
        lead = _read(path, asset.media_type)
        at = min(int(place.at_s * RATE_HZ), max(0, len(lead) - _LEAST_S * RATE_HZ))
        return Segment(asset.asset_id, IMAGE, 0, drawn(lead[at : at + _LEAST_S * RATE_HZ]))

    def whole(self, segments: Sequence[Segment], max_frames: int = 16) -> Lead:  # noqa: ARG002
        """The first minute."""
        return np.concatenate([segment.content for segment in segments[:6]])


def drawn(lead: Lead) -> NDArray[np.uint8]:
    """A lead as a curve, [240, 640, 3]."""
    from PIL import Image, ImageDraw

    low, high = np.quantile(lead, [0.001, 0.999])
    rows = 225 - (lead - low) / max(float(high - low), 1e-6) * 210
    picture = Image.new("RGB", (640, 240), "#fff6f4")
    points = np.stack([np.linspace(0, 639, len(lead)), np.clip(rows, 1, 238)], axis=1)
    ImageDraw.Draw(picture).line(points.ravel().tolist(), fill="#1e1e3c", width=2)
    return np.array(picture)


def _cells(line: str) -> list[str]:
    return [cell.strip().strip('"') for cell in re.split("[,;\t]", line)]


def _read(path: Path, media_type: str) -> Lead:
    """One lead in millivolts (of a CSV, in its unit), at 125 Hz."""
    from scipy.signal import resample_poly

    try:
        samples, rate_hz = {EDF: _of_edf, WFDB: _of_wfdb, CSV: _of_csv}[media_type](path)
        samples = np.nan_to_num(np.asarray(samples, np.float64), posinf=0, neginf=0)
        if not 30 <= rate_hz <= 20_000:
            raise ValueError(f"{rate_hz:g} samples a second")
        lead = resample_poly(samples, RATE_HZ * 8, round(rate_hz * 8), padtype="line")
    except UnsupportedMediaError:
        raise
    except Exception as error:  # the readers raise whatever they meet
        problem = f"{path} cannot be read as an ECG ({type(error).__name__}: {error})."
        remedy = "Export it again; a .hea file needs its signal file beside it."
        raise CorruptMediaError(problem, remedy=remedy) from error
    if len(lead) < _LEAST_S * RATE_HZ:
        problem = f"{path} is {len(lead) / RATE_HZ:.1f} s long."
        raise UnsupportedMediaError(problem, remedy=f"Record {_LEAST_S} s or more.")
    return lead.astype(np.float32)


def _lead_of(path: Path, names: Sequence[str]) -> int:
    """Which channel is an ECG; lead II, where there are several."""
    found = [place for place, name in enumerate(names) if _LEAD.search(name)]
    if not found:
        problem = f"{path} has no ECG among its signals: {', '.join(names)}."
        raise UnsupportedMediaError(problem, remedy="Name it ECG, or after its lead (I, II, V1 …).")
    return min(found, key=lambda place: "II" not in names[place].upper().split())


def _of_edf(path: Path) -> tuple[NDArray[np.floating], float]:
    import edfio

    signals = edfio.read_edf(path).signals
    chosen = signals[_lead_of(path, [signal.label for signal in signals])]
    return chosen.data, chosen.sampling_frequency


def _of_wfdb(path: Path) -> tuple[NDArray[np.floating], float]:
    import wfdb

    record = wfdb.rdrecord(str(path.with_suffix("")))
    return record.p_signal[:, _lead_of(path, record.sig_name)], record.fs


def _of_csv(path: Path) -> tuple[NDArray[np.floating], float]:
    with path.open(encoding="utf-8-sig") as file:
        line = file.readline()
        rows = np.loadtxt(file, delimiter=next(mark for mark in ",;\t" if mark in line), ndmin=2)
    rate_hz = float(1 / np.median(np.diff(rows[:, 0])))
    return rows[:, 1 + _lead_of(path, _cells(line)[1:])], rate_hz
