"""Coherent read-through of a table's rows, by process memory and Redis. Changes show within a second or two.

async with open_cache("book", load=load_books, changes=ChangeLog(...), …) as books:
    answer = await books.get("42")
    await books.invalidate(["42"])   # after every commit that changed it
"""

from evenkeel.cache.answer import Answer
from evenkeel.cache.change_log import ChangeLog
from evenkeel.cache.database_breaker import DatabaseBreaker
from evenkeel.cache.entry import Entry
from evenkeel.cache.errors import Busy, Disconnected, LoadError, NotAnswering
from evenkeel.cache.gate import Gate
from evenkeel.cache.keyring import KeyRing
from evenkeel.cache.metrics import Metrics
from evenkeel.cache.opening import Memory, SharedRedis, open_cache
from evenkeel.cache.read_through import ReadThrough

__all__ = [
    "Answer",
    "Busy",
    "ChangeLog",
    "DatabaseBreaker",
    "Disconnected",
    "Entry",
    "Gate",
    "KeyRing",
    "LoadError",
    "Memory",
    "Metrics",
    "NotAnswering",
    "ReadThrough",
    "SharedRedis",
    "open_cache",
]
