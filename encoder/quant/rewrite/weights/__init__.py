"""Linear layers and token tables with weights in 8 or 4 bits."""
