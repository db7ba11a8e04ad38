"""Search over HTTP. `create_app` makes the application from parts that `workers` composes."""
