"""What all tests share: real servers, announced at the top, and Redis servers that are empty at first."""

import base64
import functools
import gc
import os
from collections.abc import Iterator

import httpx
import pytest
from redis import Redis
from tests.support import chromium, leftovers, pgbouncer, promtool
from tests.support.distribution import (
    COLLECTED,
    MORE_WITHOUT_SLOW_TESTS,
    MORE_WORKERS_THAN_CORES,
    Collected,
    longest_first,
    share_out_ports,
    spread,
    stay_together,
)
from tests.support.routes_once import build_routes_once
from tests.support.servers import Servers, backend, container_trouble, docker_answers

import verify  # noqa: F401 (imported here, because otherwise pytest takes the folder of that name for the package)

# For each client, httpx reads the certificates of all authorities of this machine, also for http://. It takes 30 ms.
httpx._transports.default.create_ssl_context = functools.cache(httpx.create_ssl_context)  # type: ignore[attr-defined]  # noqa: SLF001
build_routes_once()

CACHE_KEY = base64.b64encode(b"k" * 32).decode()


_WHY_EMBEDDED = pytest.StashKey[str]()


def _chosen_backend() -> tuple[str, str]:
    """The backend for this machine, and why it is the embedded servers if it is these."""
    if not docker_answers():
        return "embedded", "no Docker"
    trouble = container_trouble()
    return ("containers", "") if trouble is None else ("embedded", f"Docker starts no usable container: {trouble}")


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption(
        "--backend",
        choices=["containers", "embedded"],
        help="where PostgreSQL and Redis come from (default: containers if Docker answers)",
    )
    parser.addoption(
        "--gateway",
        metavar="URL",
        help="run test_smoke.py and test_console.py of tests/integration against this gateway",
    )
    parser.addoption("--compose", metavar="PROJECT", help="run tests/compose on this project, behind --gateway")


def pytest_configure(config: pytest.Config) -> None:
    if config.option.backend is None:
        config.option.backend, config.stash[_WHY_EMBEDDED] = _chosen_backend()
    share_out_ports()
    if hasattr(config, "workerinput") or not config.getoption("numprocesses", default=None):
        config.add_cleanup(leftovers.watched())


@pytest.hookimpl(optionalhook=True)
def pytest_xdist_auto_num_workers(config: pytest.Config) -> int:
    """`-n auto`: more workers than cores, because tests wait most of the time."""
    more = MORE_WITHOUT_SLOW_TESTS if config.option.markexpr == "not slow" else MORE_WORKERS_THAN_CORES
    return len(os.sched_getaffinity(0)) + more


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Set the marks that -m and the workers need, and deselect tests that cannot run here."""
    if not config.option.compose:
        _deselect("compose", config, items)
    for marker in _not_installed():
        _deselect(marker, config, items)
    config.stash[COLLECTED] = Collected(len(items), sum(1 for item in items if item.get_closest_marker("slow")))
    for item in items:
        if {"servers", "stack_servers"} & set(getattr(item, "fixturenames", ())):
            item.add_marker(pytest.mark.servers)
        stay_together(item)
    longest_first(items)
    if config.getoption("loadgroup", default=False):
        spread(items)


def pytest_collection_finish() -> None:
    """Spare the garbage collector what stays until the end: half of its time."""
    gc.freeze()


def pytest_terminal_summary(terminalreporter: pytest.TerminalReporter) -> None:
    for marker in _not_installed():
        terminalreporter.write_line(f"Tests marked {marker} are left out: {marker} is not installed")


def _not_installed() -> list[str]:
    """Programs that tests need. The marker of these tests has the same name."""
    programs = {"chromium": chromium.PROGRAM, "pgbouncer": pgbouncer.PROGRAM, "promtool": promtool.PROGRAM}
    return [name for name, program in programs.items() if program is None]


def _deselect(marker: str, config: pytest.Config, items: list[pytest.Item]) -> None:
    left_out = [item for item in items if item.get_closest_marker(marker)]
    if left_out:
        config.hook.pytest_deselected(items=left_out)
        items[:] = [item for item in items if not item.get_closest_marker(marker)]


def pytest_report_header(config: pytest.Config) -> str:
    why = config.stash.get(_WHY_EMBEDDED, "as chosen")
    where = {"containers": "testcontainers (Docker)", "embedded": f"the embedded servers ({why})"}
    return f"backend: PostgreSQL and Redis from {where[config.option.backend]}"


@pytest.fixture(scope="session")
def anyio_backend() -> str:
    return "asyncio"


@pytest.fixture(scope="session")
def servers(request: pytest.FixtureRequest) -> Iterator[Servers]:
    with backend(request.config.option.backend) as running:
        yield running


@pytest.fixture
def cache_url(servers: Servers) -> str:
    """An empty Redis, configured as a cache."""
    return _emptied(servers.redis_cache)


@pytest.fixture
def counters_url(servers: Servers) -> str:
    """An empty Redis, configured for counters."""
    return _emptied(servers.redis_counters)


@pytest.fixture(scope="session")
def cache_key() -> str:
    """A key that encrypts cache entries."""
    return CACHE_KEY


def _emptied(url: str) -> str:
    with Redis.from_url(url) as client:
        client.flushdb()
    return url
