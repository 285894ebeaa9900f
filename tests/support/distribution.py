"""How pytest-xdist distributes the tests: each by itself, unless it shares something expensive with others."""

import os
from collections import defaultdict
from dataclasses import dataclass
from pathlib import Path

import pytest
from _pytest.nodeid import NodeId

from stack.layout import PORTS, PORTS_VARIABLE

MORE_WORKERS_THAN_CORES = 1
"""Tests wait more than half of the time. But with many more workers, faults would be injected late."""

MORE_WITHOUT_SLOW_TESTS = 2
"""The same without slow tests, many of which put whole systems under load."""

SLOW_AT_MOST = 0.05
"""The share of all tests that `make test` may leave out."""


@dataclass(frozen=True)
class Collected:
    """How many tests were collected, before any are deselected by a marker."""

    every: int
    slow: int


COLLECTED = pytest.StashKey[Collected]()

WHOLE_SYSTEMS = Path(__file__).parents[1] / "integration"
"""Tests of these files put stacks under load. Side by side they would not get enough CPU time."""


def share_out_ports() -> None:
    """Give each worker its own range of ports. A port that one worker has chosen is free to others until a server
    listens.
    """
    worker = os.environ.get("PYTEST_XDIST_WORKER", "").removeprefix("gw")
    if worker:
        workers = int(os.environ["PYTEST_XDIST_WORKER_COUNT"])
        size = len(PORTS) // workers
        first = PORTS.start + int(worker) * size
        os.environ[PORTS_VARIABLE] = f"{first}-{first + size - 1}"


def stay_together(item: pytest.Item) -> None:
    """Run the tests that share a fixture, such as a running stack, on one worker, so that it is made only once.

    The fixtures of the root's conftest.py, such as the servers, are made once on each worker.
    """
    shared = [WHOLE_SYSTEMS.name] if item.path.is_relative_to(WHOLE_SYSTEMS) else _shared(item)
    if shared and not _group(item):
        item.add_marker(pytest.mark.xdist_group(" ".join(shared)))
    if item.config.getoption("loadgroup", default=False) and _group(item):
        # pytest-xdist 3.8 writes the group into an attribute that pytest 9.2 no longer reads (its issue 1386).
        item._id = NodeId.parse(f"{item.nodeid}@{_group(item)}")


def longest_first(items: list[pytest.Item]) -> None:
    """Order the tests so that all workers end at about the same time.

    Whole systems come first, because one worker has all of them. Then come the other groups, and last the tests without
    one, which `spread` mixes. The order within a file stays.
    """
    position = {path: number for number, path in enumerate(dict.fromkeys(item.path for item in items))}
    items.sort(key=lambda item: (_group(item) != WHOLE_SYSTEMS.name, not _group(item), -position[item.path]))


def spread(items: list[pytest.Item]) -> None:
    """Spread the tests of each file evenly over the time in which tests without a group run.

    Tests of one file resemble each other. If all workers waited for faults at once, the cores would have nothing to do.
    """
    files: defaultdict[Path, list[pytest.Item]] = defaultdict(list)
    for item in items:
        if not _group(item):
            files[item.path].append(item)
    moment = {item: (place + 0.5) / len(tests) for tests in files.values() for place, item in enumerate(tests)}
    items.sort(key=lambda item: moment.get(item, 0))


def _group(item: pytest.Item) -> str:
    marker = item.get_closest_marker("xdist_group")
    return str(marker.args[0]) if marker else ""


def _shared(item: pytest.Item) -> list[str]:
    """The files and folders whose fixtures outlive a test, each with its parameter.

    Without a bracket, because pytest-xdist looks for the group behind the last bracket.
    """
    if not isinstance(item, pytest.Function):
        return []
    parameters = item.callspec.params if hasattr(item, "callspec") else {}
    shared: dict[str, str] = {}
    for name, definitions in item._fixtureinfo.name2fixturedefs.items():
        fixture = definitions[-1]
        if fixture.scope == "function" or not fixture.baseid:
            continue
        where = fixture.baseid if fixture.scope == "session" else item.nodeid.partition("::")[0]
        shared[where] = f" {parameters[name]}" if name in parameters else shared.get(where, "")
    return sorted(where + parameter for where, parameter in shared.items())
