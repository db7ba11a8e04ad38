"""Where files come from: folders and URLs."""
