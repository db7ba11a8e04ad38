"""Dynamic sparse inference: long texts lose tokens from layer to layer, without training."""
