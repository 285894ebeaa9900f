"""Paths of the stack's files, and free ports."""

import hashlib
import os
import secrets
import socket
import stat
import tempfile
from collections import deque
from dataclasses import dataclass
from pathlib import Path

from stack.errors import StackError

# Linux gives ports from 32768 to outgoing connections, and macOS from 49152. Such a connection could otherwise take a
# server's port while the server restarts.
PORTS = range(20000, 30000)

PORTS_VARIABLE = "STACK_PORTS"
"""`first-last`: a part of PORTS. Without it, stacks that start at the same moment could choose the same port."""

# A socket's path has at most 108 bytes on Linux and 104 on macOS, including the final zero.
SOCKET_PATH_MAX = 103


@dataclass(frozen=True)
class Layout:
    """The paths of one stack."""

    directory: Path
    """Data, logs and secrets; kept until `stack down --delete-data`."""
    repository: Path
    """Holds `gateway/`."""

    @property
    def secrets(self) -> Path:
        return self.directory / "secrets.json"

    @property
    def signing_keys(self) -> Path:
        """Of access tokens."""
        return self.directory / "signing-keys.json"

    @property
    def state(self) -> Path:
        return self.directory / "state.json"

    @property
    def lock(self) -> Path:
        return self.directory / "lock"

    @property
    def logs(self) -> Path:
        return self.directory / "log"

    @property
    def data(self) -> Path:
        return self.directory / "data"

    @property
    def gateway(self) -> Path:
        return self.directory / "gateway"

    def log(self, name: str) -> Path:
        return self.logs / f"{name}.log"

    @property
    def sockets(self) -> Path:
        """A private directory with a short path: paths of sockets must be short, and the stack's may be long."""
        digest = hashlib.sha256(os.fsencode(self.directory)).hexdigest()[:12]
        directory = Path(tempfile.gettempdir()) / f"evenkeel-{os.getuid()}-{digest}"
        if len(os.fsencode(directory / "cache-20000.sock")) > SOCKET_PATH_MAX:  # the longest name of a socket
            directory = Path("/tmp") / directory.name  # noqa: S108 (made_private checks the owner)
        return directory

    @property
    def control_socket(self) -> Path:
        return self.sockets / "control.sock"

    @property
    def admin_socket(self) -> Path:
        return self.sockets / "envoy.sock"

    def sidecar_socket(self, port: int) -> Path:
        """The socket of the cache sidecar of the replica on that port."""
        return self.sockets / f"cache-{port}.sock"

    def make(self) -> None:
        """Create the directories that are missing."""
        try:
            self.directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            for directory in (self.logs, self.data, self.gateway):
                directory.mkdir(mode=0o700, exist_ok=True)
        except OSError as error:
            raise StackError(f"{self.directory} cannot be used: {error.strerror}") from error
        made_private(self.sockets)


def made_private(directory: Path) -> Path:
    """The directory, which is made if it is missing. Raises StackError if another user owns it or can enter it."""
    directory.mkdir(mode=0o700, exist_ok=True)
    found = directory.lstat()
    if not stat.S_ISDIR(found.st_mode) or found.st_uid != os.getuid() or found.st_mode & 0o077:
        raise StackError(f"{directory} must be a directory that only you can enter")
    return directory


def repository_root() -> Path:
    """The checkout that this package is installed from, or else the one of the working directory."""
    for start in (Path(__file__).resolve(), Path.cwd()):
        for candidate in (start, *start.parents):
            if (candidate / "gateway" / "envoy.yaml").is_file():
                return candidate
    raise StackError("gateway/envoy.yaml was not found: run this command in a checkout of Evenkeel")


def port_is_free(port: int) -> bool:
    """Whether a server could listen on 127.0.0.1:port.

    Raises StackError for a port on which only root may listen.
    """
    with socket.socket() as probe:
        probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        try:
            probe.bind(("127.0.0.1", port))
        except PermissionError:
            raise StackError(f"only root may listen on port {port}; choose one from 1024 with PORT=…") from None
        except OSError:
            return False
    return True


def free_port(preferred: int | None = None) -> int:
    """A free port: the preferred one if possible."""
    if preferred is not None and port_is_free(preferred):
        _GIVEN.append(preferred)
        return preferred
    ports = _ports()
    for attempt in range(1000):
        port = secrets.choice(ports)
        # If there are few ports, one has to be given again.
        if (port not in _GIVEN or attempt >= 500) and port_is_free(port):
            _GIVEN.append(port)
            return port
    raise StackError(f"no free port between {ports.start} and {ports.stop - 1}")


_GIVEN: deque[int] = deque(maxlen=100)
"""The last ports that `free_port` has given. Each is free until its server listens."""


def _ports() -> range:
    named = os.environ.get(PORTS_VARIABLE)
    if named is None:
        return PORTS
    first, _, last = named.partition("-")
    if not (first.isdecimal() and last.isdecimal() and int(first) <= int(last)):
        raise StackError(f"{PORTS_VARIABLE} must look like {PORTS.start}-{PORTS.stop - 1}")
    return range(int(first), int(last) + 1)
