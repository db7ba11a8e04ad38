"""The search API under load: latency by kind of query, throughput, and the effect of ingest."""
