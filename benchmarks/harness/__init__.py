"""What all benchmarks share: command line, fair times, measures, sections of results."""
