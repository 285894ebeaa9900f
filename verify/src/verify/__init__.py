"""`verify`: uses a deployment of Evenkeel, breaks things meanwhile, and checks that its promises are kept.

It knows no more of a service than its callers do. Each room is one command: `cache` and `counters`.
"""
