"""Our encoder compared with other libraries, with the same weights."""
