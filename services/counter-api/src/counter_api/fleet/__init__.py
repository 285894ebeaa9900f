"""Which replicas of counter-api run, what each is doing, and which counters are the busiest."""
