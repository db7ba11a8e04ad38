"""The networks that are quantized, and the pictures they are fitted and judged on."""
