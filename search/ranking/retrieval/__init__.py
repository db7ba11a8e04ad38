"""What a query finds in the store: enough candidates for a page."""
