"""Which of a store's embedding spaces is searched, and how that changes."""
