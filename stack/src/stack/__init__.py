"""The local stack: PostgreSQL, two Valkey servers, replicas of the services and the gateway, as child processes.

Each stack directory has one `supervisor`, which keeps each `process` alive. `cli` sends requests to it by `control`.
"""
