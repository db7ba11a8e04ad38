"""The search API under load: latency by kind of query, throughput, and what ingest does to it."""
