"""From the segments of assets to the rows that are stored."""
