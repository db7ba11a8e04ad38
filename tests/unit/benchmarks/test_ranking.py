"""``python -m benchmarks.quant ranking`` on a small network."""

from __future__ import annotations

from pathlib import Path

import torch
from torch import Tensor, nn

from benchmarks.quant.networks.subjects import Subject
from benchmarks.quant.quality.judge import embedder_figures, outputs
from benchmarks.quant.ranking import agreements, noise, rank_agreement
from encoder.quant.sensitivity.calibration import CalibrationData


class Small(nn.Module):
    def __init__(self) -> None:
        super().__init__()
        self.body = nn.Sequential(
            nn.Conv2d(3, 8, 3, 2), nn.BatchNorm2d(8), nn.ReLU(), nn.Conv2d(8, 8, 3, 2), nn.ReLU()
        )
        self.head = nn.Linear(8, 16)

    def forward(self, pixels: Tensor) -> Tensor:
        scores: Tensor = self.head(self.body(pixels).mean((2, 3)))
        return scores


def test_every_estimate_is_compared_with_what_was_measured(tmp_path: Path) -> None:
    torch.manual_seed(0)
    batches = [{"pixels": torch.randn(4, 3, 32, 32)} for _ in range(4)]
    subject = Subject(
        name="small",
        model=Small().eval(),
        objective="cosine",
        data=CalibrationData.split(batches),
        answer=lambda model: outputs(model, batches),
        compare=embedder_figures,
        more=lambda: batches,
        cache=tmp_path,
    )
    found = agreements(subject)
    assert len(found) == 5
    assert all(-1 <= rho <= 1 for rho in found.values())
    assert found["Fisher's information, real data"] > 0


def test_ranks_count_and_not_values() -> None:
    measured = {"a": 1.0, "b": 2.0, "c": 3.0}
    assert rank_agreement(measured, {"a": 0.0, "b": 10.0, "c": 11.0, "d": 5.0}) > 0.999
    assert rank_agreement(measured, {"a": 3.0, "b": 2.0, "c": 1.0}) < -0.999


def test_noise_takes_the_place_of_pixels_only() -> None:
    pixels, ids = torch.zeros(2, 3, 8, 8), torch.ones(2, 5, dtype=torch.int64)
    mask = torch.ones(2, 5)
    data = CalibrationData([{"pixels": pixels}], [{"input_ids": ids, "mask": mask}])
    made = noise(data)
    assert made.fit[0]["pixels"].std() > 0.5
    assert made.score[0]["input_ids"] is ids
    assert made.score[0]["mask"] is mask
