"""Processes: what each holds, and how a server and a worker are put together."""
