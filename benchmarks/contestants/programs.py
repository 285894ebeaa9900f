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


def cashews(database_url: str, cache_url: str, *, client_side: bool = False) -> Program:
    environment = {"DATABASE_URL": _asyncpg(database_url), "CACHE_URL": cache_url}
    if client_side:
        environment["CLIENT_SIDE"] = "1"
    return _uvicorn(
        "benchmarks.contestants.cashews.app:app", python=environments.python("cashews"), environment=environment
    )


def fastapi_cache2(database_url: str, cache_url: str) -> Program:
    environment = {"DATABASE_URL": _asyncpg(database_url), "CACHE_URL": cache_url}
    return _uvicorn(
        "benchmarks.contestants.fastapi_cache2.app:app",
        python=environments.python("fastapi_cache2"),
        environment=environment,
    )


def _uvicorn(
    application: str, *options: str, python: Path = Path(sys.executable), environment: Mapping[str, str] | None = None
) -> Program:
    command = [str(python), "-m", "uvicorn", application, "--no-access-log", *options]
    return Program(command, environment or {}, ready="/openapi.json")


def _asyncpg(url: str) -> str:
    return url.replace("postgresql://", "postgresql+asyncpg://")
