"""The caches that are compared: how a replica of each is started, and how users are read and written there."""

from collections.abc import Callable
from dataclasses import dataclass

from benchmarks import environments
from benchmarks.contestants import programs
from benchmarks.serving import BIN, KEY, Program
from benchmarks.users import TEMPLATE_TABLE

TTL = 60
"""Seconds that entries of the libraries live. Their documentation has examples from 10 seconds to 3 hours."""


@dataclass(frozen=True)
class Cache:
    name: str
    make: Callable[[str, str], Program]
    """From the URLs of the database and of Redis."""
    read: str
    write: str
    value: str
    table: str
    """In which the users are."""


def _evenkeel(database_url: str, cache_url: str) -> Program:
    """With the default settings."""
    settings = {
        "USER_API_DATABASE_URL": database_url,
        "USER_API_CACHE_URL": cache_url,
        "USER_API_CACHE_KEYS": KEY,
    }
    return Program([str(BIN / "user-api"), "serve"], settings, ready="/readyz")


def _tutorial(database_url: str, cache_url: str) -> Program:
    return programs.tutorial("06_redis", DATABASE_URL=database_url, REDIS_URL=cache_url)


def _library(name: str, package: str, make: Callable[..., Program]) -> Cache:
    return Cache(
        f"{package} {environments.version(name, package)}",
        lambda database_url, cache_url: make(database_url, cache_url, CACHE_TTL=str(TTL)),
        "GET {url}/v1/users/{{id}}",
        'PATCH {url}/v1/users/{{id}} {{"name": "{{value}}"}}',
        "name",
        TEMPLATE_TABLE,
    )


def caches() -> list[Cache]:
    return [
        Cache(
            *("tutorial", _tutorial, "GET {url}/user/redis/{{id}}", "PUT {url}/user/{{id}}?name={{value}}"),
            *("data.name", "users"),
        ),
        _library("cashews", "cashews", programs.cashews),
        _library("fastapi_cache2", "fastapi-cache2", programs.fastapi_cache2),
        _library("aiocache", "aiocache", programs.aiocache),
        Cache(
            *("Evenkeel", _evenkeel, "GET {url}/v1/users/{{id}}"),
            *('PATCH {url}/v1/users/{{id}} {{"name": "{{value}}"}}', "data.name", "users"),
        ),
    ]
