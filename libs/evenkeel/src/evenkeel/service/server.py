"""One uvicorn process: one event loop, one replica. To run several is the operator's work."""

import contextlib
import gc
import resource
import signal
import socket
import sys
from types import FrameType

import uvicorn
from fastapi import FastAPI

from evenkeel.service import logs, telemetry
from evenkeel.service.draining import Draining
from evenkeel.service.settings import ServiceSettings
from evenkeel.service.whole_responses import WholeResponses

KEEP_ALIVE = 75
"""Seconds an idle connection stays open. The gateway's limit is shorter, so it never sends on a closing connection."""

MOST_FILES = 65536

GRACEFUL_SHUTDOWN = 10
"""Seconds that requests in flight have after the server stops accepting."""


GARBAGE_THRESHOLD = 10_000
"""New objects after which Python looks for cyclic garbage. Its default of 700 is two dozen requests."""


class _Server(uvicorn.Server):
    def __init__(self, config: uvicorn.Config, *, draining: Draining, drain: float) -> None:
        super().__init__(config)
        self._draining = draining
        self._drain = drain

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        """The first SIGTERM begins the draining; another signal, or SIGINT, does not wait for its end."""
        if sig == signal.SIGTERM and self.started and not self._draining.begun:
            self._draining.begin(self._drain)
            self._close_connections_after_answers()
        else:
            super().handle_exit(sig, frame)

    def _close_connections_after_answers(self) -> None:
        """Behind an address that stands for all replicas, an open connection continues to lead to this one."""
        close = (b"connection", b"close")
        self.config.encoded_headers.append(close)  # uvicorn takes these for its default headers once a second
        self.server_state.default_headers.append(close)

    async def on_tick(self, counter: int) -> bool:
        return await super().on_tick(counter) or self._draining.done

    async def startup(self, sockets: list[socket.socket] | None = None) -> None:
        """Exclude the objects of the application from garbage collection, since they stay until the end.

        Otherwise it takes a tenth of the time of reads from the cache (docs/performance.md). The garbage among them
        stays, too: to look for it would take a twentieth of the start, and finds a thousand of 80,000 objects.
        """
        await super().startup(sockets)
        gc.freeze()
        gc.set_threshold(GARBAGE_THRESHOLD, 20, 50)
        gc.enable()


def allow_many_connections() -> None:
    """Allow more file descriptors, one for each connection. Shells and container engines often set only 1,024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    wanted = MOST_FILES if hard == resource.RLIM_INFINITY else min(hard, MOST_FILES)
    with contextlib.suppress(ValueError, OSError):
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


def serve(app: FastAPI, settings: ServiceSettings) -> None:
    """Serve until SIGTERM or SIGINT, then finish what is in flight; ends the process.

    The application is one of `create_application`: after SIGTERM its /readyz fails for as long as `settings.drain` says
    before nothing more is accepted.
    """
    logs.configure(settings.log_level, settings.replica_name)
    allow_many_connections()
    server = _Server(
        uvicorn.Config(
            app,
            host=settings.host,
            port=settings.port,
            loop="uvloop",
            http=WholeResponses,
            ws="none",
            lifespan="on",
            log_config=None,
            access_log=False,  # the gateway writes it, with the request id
            server_header=False,
            proxy_headers=False,
            timeout_keep_alive=KEEP_ALIVE,
            timeout_graceful_shutdown=GRACEFUL_SHUTDOWN,
        ),
        draining=app.state.draining,
        drain=settings.drain,
    )

    def stop(*_: object) -> None:
        server.should_exit = True

    # For a signal before uvicorn's own handlers are installed. And uvicorn raises the signal again after it has
    # shut down, which would end a clean stop with status 143.
    for number in (signal.SIGTERM, signal.SIGINT):
        signal.signal(number, stop)
    with telemetry.exported(app.title, settings.replica_name, app.version):
        server.run()
    sys.exit(0 if server.started else 1)
