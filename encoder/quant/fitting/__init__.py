"""Fit the stored weights: fold batch norms, round layer by layer, and tune all together."""
