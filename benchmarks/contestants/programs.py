"""How the contestants are started."""

import sys
from collections.abc import Mapping
from pathlib import Path

from benchmarks import environments
from benchmarks.serving import ROOT, Program

STEPS = ROOT / "docs" / "guide" / "steps"


def floor() -> Program:
    return _uvicorn("benchmarks.contestants.floor:create_app", "--factory")


def tutorial(step: str, **environment: str) -> Program:
    """One of the programs of the guide, such as `04_dict`."""
    return _uvicorn("app:app", "--app-dir", str(STEPS / step), environment=environment)


def template(database_url: str) -> Program:
    return _uvicorn("benchmarks.contestants.template:app", environment={"DATABASE_URL": _asyncpg(database_url)})


def cashews(database_url: str, cache_url: str, *, client_side: bool = False, **environment: str) -> Program:
    if client_side:
        environment["CLIENT_SIDE"] = "1"
    return _with_cache("cashews", database_url, cache_url, environment)


def fastapi_cache2(database_url: str, cache_url: str, **environment: str) -> Program:
    return _with_cache("fastapi_cache2", database_url, cache_url, environment)


def aiocache(database_url: str, cache_url: str, **environment: str) -> Program:
    return _with_cache("aiocache", database_url, cache_url, environment)


def _with_cache(name: str, database_url: str, cache_url: str, environment: Mapping[str, str]) -> Program:
    return _uvicorn(
        f"benchmarks.contestants.{name}.app:app",
        python=environments.python(name),
        environment={"DATABASE_URL": _asyncpg(database_url), "CACHE_URL": cache_url, **environment},
    )


def _uvicorn(
    application: str, *options: str, python: Path = Path(sys.executable), environment: Mapping[str, str] | None = None
) -> Program:
    command = [str(python), "-m", "uvicorn", application, "--no-access-log", *options]
    return Program(command, environment or {}, ready="/openapi.json")


def _asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")
