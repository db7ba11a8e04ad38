"""From files to a store: whole ingests, jobs on workers, and their single steps."""
