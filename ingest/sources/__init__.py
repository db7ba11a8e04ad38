"""Sources of files: folders and URLs."""
