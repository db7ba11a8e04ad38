"""Sources of files: folders, URLs and object stores."""
