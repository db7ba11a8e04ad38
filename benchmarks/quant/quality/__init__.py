"""What few bits cost: networks by size, judged by their tasks."""
