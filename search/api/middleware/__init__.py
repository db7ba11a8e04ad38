"""Applied to every request: limits, threads, metrics, logs."""
