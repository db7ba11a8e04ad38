"""What all parts share: settings, data, processes, fair times, sections of results."""
