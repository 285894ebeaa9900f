"""Export of all counters, and import, as a stream of lines."""
