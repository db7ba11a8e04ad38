"""What happens when a worker, a planner or a message is lost."""
