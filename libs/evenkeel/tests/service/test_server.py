import gc
import resource
from collections.abc import Iterator

import pytest
import uvicorn

from evenkeel.service.draining import Draining
from evenkeel.service.server import GARBAGE_THRESHOLD, MOST_FILES, _Server, allow_many_connections

pytestmark = pytest.mark.anyio


@pytest.fixture(autouse=True)
def _nothing_frozen() -> Iterator[None]:
    """The root's conftest.py has frozen what all tests share, and here it is frozen again at the end."""
    thresholds, frozen = gc.get_threshold(), gc.get_freeze_count()
    gc.unfreeze()
    yield
    gc.unfreeze()
    gc.set_threshold(*thresholds)
    if frozen:
        gc.freeze()


async def app(_scope: object, _receive: object, _send: object) -> None: ...


def test_as_many_connections_as_the_system_allows() -> None:
    """6,000 event streams are more files than the 1,024 that many systems begin with."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (512, hard))
    try:
        allow_many_connections()
        assert resource.getrlimit(resource.RLIMIT_NOFILE) == (min(hard, MOST_FILES), hard)
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


async def test_garbage_collector_leaves_alone_what_stays() -> None:
    config = uvicorn.Config(app, port=0, lifespan="off", log_config=None)
    config.load()
    server = _Server(config, draining=Draining(), drain=0)
    server.lifespan = config.lifespan_class(config)
    assert gc.get_freeze_count() == 0
    await server.startup()
    try:
        assert server.started
        assert gc.get_freeze_count() > 10_000
        assert gc.get_threshold()[0] == GARBAGE_THRESHOLD
    finally:
        for listening in server.servers:
            listening.close()
