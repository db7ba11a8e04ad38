"""The memory of workers, of servers, and of a small machine under limits."""
