"""From results to answers: plain values, files, the page."""
