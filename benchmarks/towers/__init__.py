"""Towers of the bundles: items a second, side by side, and how near they come to the limit."""
