"""Cheap connections for tests that send thousands of requests."""

from verify.connection import Connection, Reply

__all__ = ["Connection", "Reply"]
