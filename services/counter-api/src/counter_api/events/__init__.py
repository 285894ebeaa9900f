"""Changes of counters as they happen, for whoever listens."""
