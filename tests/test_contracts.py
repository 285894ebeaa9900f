"""The contracts in pyproject.toml about imports are kept, and each of them finds a wrong import."""

import os
import shutil
import subprocess
import sys
from copy import deepcopy
from pathlib import Path
from typing import Any

import grimp
import pytest
from importlinter import api
from importlinter.contracts.acyclic_siblings import AcyclicSiblingsContract
from importlinter.contracts.forbidden import ForbiddenContract
from importlinter.contracts.layers import LayersContract
from importlinter.contracts.protected import ProtectedContract

ROOT = Path(__file__).parents[1]
SOURCES = ("libs/evenkeel", "services/counter-api", "services/user-api", "stack", "verify")
CONFIGURATION = api.read_configuration(str(ROOT / "pyproject.toml"))
CONTRACTS: dict[str, dict[str, Any]] = {options["id"]: options for options in CONFIGURATION["contracts_options"]}
KINDS: dict[str, Any] = {
    "acyclic_siblings": AcyclicSiblingsContract,
    "forbidden": ForbiddenContract,
    "layers": LayersContract,
    "protected": ProtectedContract,
}

WRONG = [
    ("services", "user_api", "counter_api.main"),
    ("services", "counter_api", "user_api.main"),
    ("services", "evenkeel.service", "user_api.main"),
    ("services", "evenkeel.redis", "counter_api.main"),
    ("verify", "stack", "verify.clock"),
    ("outside", "stack", "user_api.main"),
    ("outside", "stack", "evenkeel.redis.urls"),
    ("outside", "verify.cache", "user_api.models"),
    ("outside", "verify.counters", "counter_api.main"),
    ("outside", "verify", "evenkeel.tasks.ending"),
    ("inside", "user_api", "stack.layout"),
    ("inside", "counter_api", "verify.clock"),
    ("inside", "evenkeel.tasks", "stack.layout"),
    ("rooms", "evenkeel", "evenkeel.tasks.ending"),  # beside the rooms
    ("rooms", "evenkeel.tasks", "evenkeel.redis.urls"),
    ("rooms", "evenkeel.redis", "evenkeel.http.etags"),
    ("rooms", "evenkeel.redis", "evenkeel.cache.keys"),
    ("rooms", "evenkeel.http", "evenkeel.redis.urls"),
    ("rooms", "evenkeel.http", "evenkeel.service.logs"),
    ("rooms", "evenkeel.cache", "evenkeel.service.logs"),
    ("rooms", "evenkeel.service", "evenkeel.cache.keys"),
    ("redis", "evenkeel.redis", "prometheus_client"),
    ("redis", "evenkeel.tasks", "fastapi"),
    ("cache", "evenkeel.cache", "evenkeel.http.problems"),
    ("cache", "evenkeel.cache", "starlette.types"),
    ("replicas", "evenkeel.cache.gate", "sqlalchemy"),
    ("replicas", "user_api.health", "alembic"),
    ("replicas", "user_api.store", "user_api.models"),
    ("http", "evenkeel.http", "redis.asyncio"),
    ("http", "evenkeel.service", "evenkeel.redis.urls"),
    ("http", "evenkeel.service", "sqlalchemy"),
    ("users", "user_api.models", "user_api.store"),
    ("users", "user_api.store", "user_api.service"),
    ("users", "user_api.service", "user_api.routes"),
    ("users", "user_api.service", "user_api.hot_reads"),
    ("users", "user_api.session", "user_api.connections"),
    ("users", "user_api.pool", "user_api.idempotency"),
    ("users", "user_api", "user_api.main"),  # beside the rooms
    ("users-rows", "user_api.routes", "sqlalchemy"),
    ("users-rows", "user_api.service", "asyncpg"),
    ("users-rows", "user_api.hot_writes", "user_api.statements"),
    ("users-rows", "user_api.routes", "user_api.models"),
    ("counters", "counter_api.counters", "counter_api.transfer.lines"),
    ("counters", "counter_api.counters", "counter_api.settings"),
    ("counters", "counter_api.events", "counter_api.uniques.members"),
    ("counters", "counter_api.redis", "counter_api.counters.encoding"),
    ("counters", "counter_api.parameters", "counter_api.redis.keys"),
    ("counters", "counter_api.hot_increments", "counter_api.stores"),
    ("counters", "counter_api", "counter_api.main"),  # beside the rooms
    ("counters-routes", "counter_api.hot_increments", "counter_api.counters.routes"),
    ("counters-routes", "counter_api.uniques", "counter_api.counters.routes"),
    ("counters-routes", "counter_api.counters", "counter_api.counters.badge"),
    ("verify-rooms", "verify.cache", "verify.counters.history"),
    ("verify-rooms", "verify.counters", "verify.cache.sql"),
    ("verify-rooms", "verify.disruptions", "verify.counters.history"),
    ("verify-shared", "verify", "verify.cache.sql"),
    ("verify-shared", "verify.clock", "verify.counters.history"),
    ("circles", "evenkeel.redis.urls", "evenkeel.redis.topology"),
    ("circles", "evenkeel.http.problems", "evenkeel.http.bodies"),
    ("circles", "evenkeel.cache.keys", "evenkeel.cache.relay"),
    ("circles", "evenkeel.tasks.ending", "evenkeel.tasks.background"),
    ("circles", "counter_api.redis.calls", "counter_api.redis.pipeline"),
    ("circles", "counter_api.counters.encoding", "counter_api.counters.listing.held"),
    ("circles", "stack.layout", "stack.daemon"),
    ("circles", "user_api.schemas", "user_api.store"),
    ("circles", "verify.clock", "verify.cache.address_book"),
]
"""The contract's id, the module or the package that gets an import, and what it imports."""


@pytest.fixture(scope="module")
def graph() -> grimp.ImportGraph:
    session = CONFIGURATION["session_options"]
    return grimp.build_graph(*session["root_packages"], include_external_packages=True, cache_dir=None)


def _kept(contract: str, graph: grimp.ImportGraph) -> bool:
    options = CONTRACTS[contract]
    checked = KINDS[options["type"]](options["name"], CONFIGURATION["session_options"], options)
    kept: bool = checked.check(deepcopy(graph), verbose=False).kept
    return kept


def test_each_contract_has_a_wrong_import() -> None:
    assert {contract for contract, _, _ in WRONG} == CONTRACTS.keys()


@pytest.mark.parametrize(("contract", "importer", "imported"), WRONG, ids=lambda name: name)
def test_a_wrong_import_is_noticed(graph: grimp.ImportGraph, contract: str, importer: str, imported: str) -> None:
    assert _kept(contract, graph)
    changed = deepcopy(graph)
    if changed.find_children(importer):
        importer = f"{importer}.wrong"
        changed.add_module(importer)
    else:
        assert importer in changed.modules
    external = imported.partition(".")[0] not in CONFIGURATION["session_options"]["root_packages"]
    imported = imported.partition(".")[0] if external else imported
    assert imported in changed.modules
    changed.add_import(importer=importer, imported=imported, line_number=1, line_contents=f"import {imported}")
    assert not _kept(contract, changed)


@pytest.mark.parametrize("wrong", ["", "def inside():\n    import evenkeel.http.etags\n"], ids=["as they are", "wrong"])
def test_make_lint_runs_them(tmp_path: Path, wrong: str) -> None:
    """The command, on a copy of the code; an import inside a function is an import, too."""
    makefile = (ROOT / "Makefile").read_text()
    assert "$(BIN)/lint-imports" in makefile.partition("\nlint:")[2].partition("\n\n")[0]
    shutil.copy(ROOT / "pyproject.toml", tmp_path)
    for source in SOURCES:
        shutil.copytree(ROOT / source / "src", tmp_path / source / "src", ignore=shutil.ignore_patterns("__pycache__"))
    with (tmp_path / "libs/evenkeel/src/evenkeel/redis/urls.py").open("a") as module:
        module.write(wrong)
    linted = subprocess.run(
        [Path(sys.executable).with_name("lint-imports"), "--no-cache"],
        cwd=tmp_path,
        env=os.environ | {"PYTHONPATH": os.pathsep.join(str(tmp_path / source / "src") for source in SOURCES)},
        capture_output=True,
        text=True,
        check=False,
    )
    assert linted.returncode == bool(wrong), linted.stdout
    assert ("evenkeel.redis.urls -> evenkeel.http.etags" in linted.stdout) == bool(wrong)
