"""What was prepared on this machine: folders, locks, hashes, the catalogue."""
