"""From a request to a plan: terms, kinds, pages, and when to stop."""
