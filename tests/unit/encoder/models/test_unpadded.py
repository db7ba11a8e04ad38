"""Pictures in patches, as graphs take them."""

import json
from pathlib import Path

import numpy as np
import transformers

from encoder.towers.processors import open_pictures


def test_patches_that_are_padding_in_every_picture_are_left_out(tmp_path: Path) -> None:
    processor = transformers.Gemma4ImageProcessor(max_soft_tokens=70)
    settings = {**processor.to_dict(), "image_processor_type": "Gemma4ImageProcessor"}
    path = tmp_path / "processor.json"
    path.write_text(json.dumps(settings, default=str))
    read = open_pictures(path, {"pixel_values": "float32", "image_position_ids": "int64"}, {})
    wide = np.zeros((100, 160, 3), np.uint8)
    made = read([wide])
    places = made["image_position_ids"]
    assert (places[0, -1] != -1).all()
    assert places.shape[1] < 70 * 9
    assert made["pixel_values"].shape[1] == places.shape[1]
    several = read([wide, np.zeros((90, 90, 3), np.uint8)])["image_position_ids"]
    assert (several[:, -1] != -1).any()
