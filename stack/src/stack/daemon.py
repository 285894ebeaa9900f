"""The supervisor as a process of its own."""

import asyncio
import contextlib
import logging
import os
import resource
import shutil
import sys
from pathlib import Path

from stack.errors import StackError
from stack.launch import holding
from stack.layout import Layout
from stack.state import State
from stack.supervisor import Supervisor

log = logging.getLogger(__name__)


def main() -> int:
    """Supervise; the arguments are the stack's directory and the repository."""
    layout = Layout(Path(sys.argv[1]), Path(sys.argv[2]))
    logging.basicConfig(level=logging.INFO, format="%(asctime)s %(levelname)s %(message)s")
    os.umask(0o077)
    _allow_many_connections()
    try:
        with holding(layout):
            state = State(layout.state)
            for name in state.stop_orphans():
                log.info("ended %s, left by a supervisor that was killed", name)
            layout.make()  # again: the previous supervisor may have removed its sockets meanwhile
            state.begin(layout.control_socket)
            asyncio.run(Supervisor(layout, state).run())
            shutil.rmtree(layout.sockets)
    except StackError as error:
        log.error("%s", error)  # noqa: TRY400 (one line, without a traceback)
        return error.exit_status
    return 0


def _allow_many_connections() -> None:
    """The gateway and Valkey need a file descriptor for each connection; shells often allow 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    with contextlib.suppress(ValueError, OSError):
        wanted = 65536 if hard == resource.RLIM_INFINITY else min(hard, 65536)
        resource.setrlimit(resource.RLIMIT_NOFILE, (max(soft, wanted), hard))


if __name__ == "__main__":
    sys.exit(main())
