"""A store moves to another model while it is searched."""
