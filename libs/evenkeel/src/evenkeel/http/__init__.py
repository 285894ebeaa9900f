"""HTTP around the routes of a service: problem documents, preconditions, entity tags, idempotency keys, OpenAPI.

It stands on FastAPI and Starlette, and works without Redis and without a database.
"""
