"""How many requests all replicas have had."""
