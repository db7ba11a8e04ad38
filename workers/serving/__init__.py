"""Wiring of processes: the resources each holds, and how servers and workers are composed."""
