"""The query on the command line: options to terms and filters, and the search itself."""
