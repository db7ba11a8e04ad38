"""From paths to shards on the queues."""
