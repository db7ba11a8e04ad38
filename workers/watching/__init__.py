"""Watch folders: from file system events to what has to be ingested or forgotten."""
