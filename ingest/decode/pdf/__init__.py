"""Pages of PDFs: their text in reading order."""
