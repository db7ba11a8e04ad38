"""What was measured, for people: tables, plots, progress."""
