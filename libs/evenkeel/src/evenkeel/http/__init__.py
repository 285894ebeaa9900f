"""What stands around a service's routes: problem documents, preconditions, entity tags, idempotency keys, OpenAPI.

Knows FastAPI and Starlette, and neither Redis nor a database.
"""
