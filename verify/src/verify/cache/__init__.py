"""`verify cache` writes and reads users through all replicas, breaks things, and measures how stale answers were.

It works like Meta's Polaris ("Cache made consistent", Engineering at Meta, 2022): as a client that relies only on the
promises to readers. Every answer has a version. The prober knows when each later version was committed, so staleness is
measured, not inferred.
"""
