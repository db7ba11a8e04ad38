"""Sets that nobody here had looked at, and films whose moments are known."""
