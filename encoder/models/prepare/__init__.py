"""What makes weights ready to serve, once: graphs, precisions, gates. Most of it needs torch."""
