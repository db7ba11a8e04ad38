"""Files into a store: whole ingests, jobs on workers, and single steps of them."""
