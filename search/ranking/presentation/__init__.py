"""What is shown of a hit: its location, its snippet, and how its score came about."""
