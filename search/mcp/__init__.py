"""A server of the Model Context Protocol, through which agents use the HTTP API."""
