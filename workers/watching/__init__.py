"""Watch folders: from events of the file system to what has to be ingested or forgotten."""
