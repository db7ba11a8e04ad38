"""From a source to an artifact: graphs, precisions, gates. Most of it needs torch."""
