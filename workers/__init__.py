"""The composition root: Celery tasks over jobs, and the command line."""
