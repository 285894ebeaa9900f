"""State that stays right when a FastAPI service runs as more than one replica.

Each package is a room, and imports only rooms below it: `cache` and `service`, then `redis` and `http`, then
`tasks` and `tracing`.
"""
