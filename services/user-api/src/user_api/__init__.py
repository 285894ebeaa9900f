"""Users in PostgreSQL, read through a cache that any number of replicas share."""
