"""What holds for every request: limits, threads, metrics, logs."""
