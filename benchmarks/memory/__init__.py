"""What processes hold: workers, servers, and a small machine under limits."""
