"""`verify cache`: writes and reads users through all replicas, breaks things, and says how stale answers were.

In the manner of Meta's Polaris ("Cache made consistent", Engineering at Meta, 2022): a client that knows nothing of how
the cache works, only of what its readers were promised. Every answer carries a version, and the prober knows since when
a later one was committed, so staleness is measured, not inferred.
"""
