"""Where the counters are."""
