"""What a hit in memory and an increment cost in one process, from the bytes of the request to those of the answer.

There is no kernel, no PostgreSQL and no Redis in it, so a difference of a hundredth of a microsecond shows. Run by
benchmarks/traces.py, which gives the service, and the address of a collector if traces are to be measured.
"""

import asyncio
import gc
import json
import os
import sys
import time
from collections.abc import Callable, Sequence
from types import SimpleNamespace
from typing import Any

import uvicorn
import uvloop
from uvicorn.server import ServerState

from evenkeel.redis.combining import Combiner
from evenkeel.service.whole_responses import WholeResponses

CONNECTIONS = 32
TURNS = 10
"""Requests on each connection in one measurement."""

ROUNDS = 150
"""Measurements of each kind. The least one counts, since everything else on the machine only adds."""

LIKE_SERVER: dict[str, Any] = {"access_log": False, "server_header": False, "proxy_headers": False}
"""As evenkeel.service.server has it."""

PARENT = b"traceparent: 00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-00\r\n"


def users() -> tuple[Any, Callable[[], dict[str, Any]], bytes]:
    """The application, what its lifespan would yield, and a request."""
    from user_api.main import create_app  # noqa: PLC0415 (one service in a process)
    from user_api.settings import Settings  # noqa: PLC0415

    settings = Settings(database_url="postgresql://127.0.0.1/x", cache_tiers="")
    body = json.dumps({"source": "memory", "data": {"id": 1, "email": "user1@example.com", "name": "User 1"}}).encode()
    headers = [(b"content-length", b"%d" % len(body)), (b"content-type", b"application/json"), (b"etag", b'"1"')]
    hit = SimpleNamespace(ready=SimpleNamespace(body=body, headers=headers), ttl=3000.0)
    state = {"users": SimpleNamespace(peek=lambda _: hit)}
    return create_app(settings), lambda: state, b"GET /v1/users/1 HTTP/1.1\r\nhost: 127.0.0.1\r\n"


def counters() -> tuple[Any, Callable[[], dict[str, Any]], bytes]:
    from counter_api.main import create_app  # noqa: PLC0415
    from counter_api.settings import Settings  # noqa: PLC0415

    async def send(items: Sequence[int]) -> Sequence[int]:
        await asyncio.sleep(0)
        return items

    def state() -> dict[str, Any]:
        lane: Combiner[Any, Any] = Combiner(send)

        async def increment_by_one(_: str) -> int:
            value: int = await lane.submit(1)
            return value

        counting = SimpleNamespace(increment_by_one=increment_by_one)
        return {"counters": counting, "tally": SimpleNamespace(count=lambda: lane.submit(None))}

    request = b"POST /v1/counters/a/increment HTTP/1.1\r\nhost: 127.0.0.1\r\ncontent-length: 0\r\n"
    return create_app(Settings(store="memory")), state, request


class Connection(asyncio.Transport):
    """Takes answers, and sends the next request."""

    def __init__(self, app: uvicorn.Config, state: dict[str, Any], request: bytes) -> None:
        super().__init__()
        self._request = request + b"\r\n"
        self._left = 0
        self.done: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._protocol = WholeResponses(app, ServerState(), state)
        self._protocol.connection_made(self)

    def begin(self, requests: int) -> "asyncio.Future[None]":
        self._left, self.done = requests, asyncio.get_running_loop().create_future()
        self._protocol.data_received(self._request)
        return self.done

    def write(self, data: Any) -> None:
        if not data.startswith(b"HTTP/1.1 200"):
            sys.exit(f"an answer that was not expected: {data!r}")
        self._left -= 1
        if self._left:
            asyncio.get_running_loop().call_soon(self._protocol.data_received, self._request)
        else:
            self.done.set_result(None)

    def is_closing(self) -> bool:
        return False

    def get_extra_info(self, name: str, default: Any = None) -> Any:
        return ("127.0.0.1", 8000) if name in ("sockname", "peername") else default

    def pause_reading(self) -> None: ...
    def resume_reading(self) -> None: ...


class Kind:
    """A way to answer the request: traced, or not."""

    def __init__(self, service: str, tracer: Any, fields: bytes = b"") -> None:
        self._tracer = tracer
        self._use()
        app, state, request = {"users": users, "counters": counters}[service]()
        config = uvicorn.Config(app, http=WholeResponses, lifespan="off", log_config=None, **LIKE_SERVER)
        config.load()
        yielded = state()
        self._connections = [Connection(config, yielded, request + fields) for _ in range(CONNECTIONS)]
        self.least = float("inf")

    def _use(self) -> None:
        if "evenkeel.service.telemetry" in sys.modules:
            telemetry, tracing = sys.modules["evenkeel.service.telemetry"], sys.modules["evenkeel.tracing"]
            telemetry._current = self._tracer  # type: ignore[attr-defined]  # noqa: SLF001 (no lifespan sets it)
            tracing.use(self._tracer)

    async def measure(self) -> None:
        """Microseconds of CPU for a request, with the export of its spans."""
        self._use()
        began = time.process_time()
        await asyncio.gather(*(connection.begin(TURNS) for connection in self._connections))
        if self._tracer is not None:
            self._tracer.flush()
        self.least = min(self.least, (time.process_time() - began) * 1e6 / (TURNS * CONNECTIONS))


def _tracer(share: float) -> Any:
    from evenkeel.service import telemetry  # noqa: PLC0415 (earlier releases have none)

    os.environ |= {"OTEL_TRACES_SAMPLER": "parentbased_traceidratio", "OTEL_TRACES_SAMPLER_ARG": str(share)}
    tracer = telemetry.tracer("measured", "r-1", "1")
    gc.collect()
    return tracer


async def main(service: str, collector: str | None) -> None:
    kinds = {"off": Kind(service, None)}
    if collector is not None:
        os.environ["OTEL_EXPORTER_OTLP_ENDPOINT"] = collector
        some, every = _tracer(1e-9), _tracer(1)
        kinds |= {"not sampled": Kind(service, some), "sampled": Kind(service, every)}
        kinds |= {"off, with a parent": Kind(service, None, PARENT)}
        kinds |= {"not sampled, with a parent": Kind(service, some, PARENT)}
    gc.collect()
    gc.freeze()
    gc.set_threshold(10_000, 20, 50)  # as evenkeel.service.server has it
    for _ in range(ROUNDS):
        for kind in kinds.values():
            await kind.measure()
    print(json.dumps({name: kind.least for name, kind in kinds.items()}))
    sys.stdout.flush()
    os._exit(0)  # exporters would wait for their last spans


if __name__ == "__main__":
    with asyncio.Runner(loop_factory=uvloop.new_event_loop) as runner:
        runner.run(main(sys.argv[1], sys.argv[2] if len(sys.argv) > 2 else None))
