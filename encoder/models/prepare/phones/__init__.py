"""The towers of a model as programs for phones; this needs torch."""
