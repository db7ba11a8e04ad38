"""Search over HTTP: `create_app` makes the application, `workers.serve` composes its parts."""
