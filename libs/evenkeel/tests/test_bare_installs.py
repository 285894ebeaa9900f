"""Each room in an environment of its own: it needs what pyproject.toml says, and no more.

uv installs from the package index that it is configured for, or from its cache. Without either, these tests fail and
say so.
"""

import asyncio
import json
import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest
from tests.support.cache_servers import cache_server

ROOT = Path(__file__).parents[3]
LIBRARY = ROOT / "libs/evenkeel"
TESTS = LIBRARY / "tests"
UV = Path(sys.executable).with_name("uv")

pytestmark = [pytest.mark.anyio, pytest.mark.slow, pytest.mark.xdist_group("bare installs")]

ROOMS = {
    "": ["redis", "tasks", "tracing"],
    "[telemetry]": ["redis", "tasks", "tracing", "spans"],
    "[cache]": ["redis", "tasks", "cache"],
    "[http]": ["redis", "tasks", "http"],
    "[service]": ["redis", "tasks", "http", "service"],
}
"""What can be imported with each extra."""

OF_OTHERS = {
    "": ["asyncpg", "cachetools", "cryptography", "fastapi", "prometheus_client", "pydantic", "sqlalchemy", "uvicorn"],
    "[telemetry]": ["asyncpg", "cachetools", "cryptography", "fastapi", "pydantic", "sqlalchemy", "uvicorn"],
    "[cache]": ["fastapi", "pydantic", "sqlalchemy", "starlette", "uvicorn"],
    "[http]": ["asyncpg", "cachetools", "cryptography", "sqlalchemy", "uvicorn"],
    "[service]": ["asyncpg", "cachetools", "cryptography", "sqlalchemy"],
}
"""What must not be there, or the rooms would need less than they get."""

NEEDS_SERVERS = (
    "cache/test_change_log.py",
    "cache/test_change_log_history.py",
    "cache/test_change_log_install.py",
    "cache/test_change_log_poll.py",
    "cache/test_change_log_table.py",
    "cache/test_log_tail.py",
    "cache/test_pruning.py",
    "cache/test_relay.py",
    "cache/test_second_table.py",
    "redis/test_primary.py",
    "service/test_telemetry.py",
)
"""Tests that start PostgreSQL or Redis servers, or services, with the whole of Evenkeel installed."""

IMPORT_ALL = """
import importlib, importlib.util, json, pkgutil, sys
rooms, others = json.loads(sys.argv[1])
for room in rooms:
    package = importlib.import_module(f"evenkeel.{room}")
    for module in pkgutil.walk_packages(getattr(package, "__path__", []), f"{package.__name__}."):
        importlib.import_module(module.name)
print(json.dumps([name for name in others if importlib.util.find_spec(name)]))
"""


def _run(*command: str | Path) -> str:
    # Without what belongs to the environment that runs this test.
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("PYTEST_", "VIRTUAL_ENV"))}
    if pyenv := shutil.which("pyenv"):
        # Else pyenv hides all Pythons but one.
        versions = subprocess.run([pyenv, "versions", "--bare"], capture_output=True, text=True, check=True).stdout
        environment["PYENV_VERSION"] = ":".join(versions.split())
    # The tests that run there find the stack's helpers, but none of its distributions.
    environment["PYTHONPATH"] = str(ROOT / "stack/src")
    done = subprocess.run(command, cwd=ROOT, env=environment, capture_output=True, text=True, check=False)
    if done.returncode != 0:
        pytest.fail(f"{' '.join(map(str, command))}\n{done.stdout[-4000:]}{done.stderr[-4000:]}", pytrace=False)
    return done.stdout


def _environment(folder: Path, version: str, *requirements: str) -> Path:
    """A new environment of this version of Python with these installed; the path of its Python."""
    _run(UV, "venv", "--quiet", "--python", version, folder)
    python = folder / "bin/python"
    _run(UV, "pip", "install", "--quiet", "--python", python, *requirements)
    return python


@pytest.mark.parametrize("extra", ROOMS, ids=lambda extra: extra or "none")
def test_a_room_needs_its_extra_and_no_more(extra: str, tmp_path: Path) -> None:
    python = _environment(tmp_path / "bare", sys.executable, f"{LIBRARY}{extra}")
    found = _run(python, "-c", IMPORT_ALL, json.dumps([ROOMS[extra], OF_OTHERS[extra]]))
    assert json.loads(found) == []


@pytest.mark.parametrize(
    ("version", "resolution"), [("3.11", "lowest-direct"), ("3.13", "highest")], ids=["loosest", "image"]
)
async def test_the_library_works_with(version: str, resolution: str, tmp_path: Path) -> None:
    """The loosest versions that pyproject.toml allows, on the oldest Python; and the images' Python."""
    library = f"{LIBRARY}[cache,service,telemetry]"
    python = _environment(tmp_path / "bare", version, "--resolution", resolution, library)
    _run(UV, "pip", "install", "--quiet", "--python", python, "pytest", "httpx", "hypothesis")
    async with cache_server(tmp_path, "redis") as redis:
        options = ["-p", "tests.support.bare", "-p", "no:cacheprovider", "--redis", redis.url, "-c", "pyproject.toml"]
        # Old versions may warn of what has changed since.
        options += ["-q", "--rootdir", str(ROOT), "--confcutdir", str(LIBRARY), "-o", "filterwarnings="]
        options += [f"--ignore={TESTS / name}" for name in (*NEEDS_SERVERS, Path(__file__).name)]
        passed = await asyncio.to_thread(_run, python, "-m", "pytest", *options, str(TESTS))
    assert " passed" in passed.splitlines()[-1]
    assert "skipped" not in passed
