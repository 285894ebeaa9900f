"""How the contestants are started."""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments
from benchmarks.contestants import tutorials
from benchmarks.serving import Program


def floor() -> Program:
    return _uvicorn("floor:create_app", "--factory")


def tutorial(name: str, **environment: str) -> Program:
    """One of the applications of benchmarks/contestants/tutorials.py."""
    return _uvicorn(f"tutorials:{getattr(tutorials, name).__name__}", "--factory", environment=environment)


def template(database_url: str) -> Program:
    return _uvicorn("template:app", environment={"DATABASE_URL": _asyncpg(database_url)})


def cashews(database_url: str, cache_url: str, *, client_side: bool = False) -> Program:
    environment = {"DATABASE_URL": _asyncpg(database_url), "CACHE_URL": cache_url}
    if client_side:
        environment["CLIENT_SIDE"] = "1"
    return _uvicorn("cashews.app:app", python=environments.python("cashews"), environment=environment)


def fastapi_cache2(database_url: str, cache_url: str) -> Program:
    environment = {"DATABASE_URL": _asyncpg(database_url), "CACHE_URL": cache_url}
    return _uvicorn("fastapi_cache2.app:app", python=environments.python("fastapi_cache2"), environment=environment)


def _uvicorn(
    application: str, *options: str, python: Path = Path(sys.executable), environment: Mapping[str, str] | None = None
) -> Program:
    command = [str(python), "-m", "uvicorn", f"benchmarks.contestants.{application}", "--no-access-log", *options]
    return Program(command, environment or {}, ready="/openapi.json")


def _asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")
