"""Dynamic sparse inference: long texts with fewer tokens from layer to layer, without training."""
