"""`verify` uses a deployment of Evenkeel, breaks things meanwhile, and checks that the promises are kept.

It uses only what a service offers its callers. Each folder is one command: `cache`, `counters` and `disruptions`.
"""
