"""All counters out of a store, and into one, as a stream of lines."""
