"""What is stored of a library: files that moved, files that are gone, and what a user removes."""
