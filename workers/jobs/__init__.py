"""Jobs: one board, shards with leases, on Redis or in this process."""
