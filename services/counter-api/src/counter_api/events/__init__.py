"""Changes of counters as they happen, as server-sent events."""
