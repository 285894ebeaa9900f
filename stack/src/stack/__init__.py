"""The local stack: PostgreSQL, two Valkey servers, replicas of the services and the gateway, as child processes.

`cli` talks through `control` to one `supervisor` per stack directory, which keeps each `process` alive.
"""
