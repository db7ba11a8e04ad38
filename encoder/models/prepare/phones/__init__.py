"""The towers of a model as programs for phones, which needs torch."""
