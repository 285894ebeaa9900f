"""Read-through over an ordered list of cache tiers in front of a database."""
