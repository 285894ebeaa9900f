"""`verify cache --read …`: how stale the answers of any service are, whose reads and writes are given as templates.

The load, the histories and the counts are those of `verify cache` for Evenkeel.
"""
