"""What is searched or judged: texts, pictures and segments, fetched or made the same each time."""
