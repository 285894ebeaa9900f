"""How many different members there were, without keeping who they are."""
