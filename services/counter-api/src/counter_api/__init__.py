"""Counters that stay exact over any number of replicas."""
