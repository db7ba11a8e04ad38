"""From files to a store: jobs on workers, and scripts to compare them with."""
