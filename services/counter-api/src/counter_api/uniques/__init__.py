"""How many different members there were, without keeping the members."""
