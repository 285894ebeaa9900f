"""Counters: what can be done to one, over HTTP and in both stores."""
