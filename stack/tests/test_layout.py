import os
import socket
import tempfile
from pathlib import Path

import pytest

from stack.errors import StackError
from stack.layout import PORTS_VARIABLE, SOCKET_PATH_MAX, Layout, free_port, made_private, port_is_free, repository_root


def test_sockets_have_short_paths_however_deep_the_stack_is(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    for temporary in (tempfile.gettempdir(), str(tmp_path / ("t" * 90))):
        monkeypatch.setattr(tempfile, "tempdir", temporary)
        layout = Layout(tmp_path / ("d" * 200), tmp_path)
        assert len(os.fsencode(layout.control_socket)) <= SOCKET_PATH_MAX


def test_stacks_have_sockets_of_their_own(tmp_path: Path) -> None:
    assert Layout(tmp_path / "a", tmp_path).sockets != Layout(tmp_path / "b", tmp_path).sockets


def test_a_private_directory_is_refused_when_others_can_enter(tmp_path: Path) -> None:
    (tmp_path / "open").mkdir()
    (tmp_path / "open").chmod(0o755)
    with pytest.raises(StackError, match="must be a directory that only you can enter"):
        made_private(tmp_path / "open")


def test_a_private_directory_is_refused_when_it_is_a_link(tmp_path: Path) -> None:
    (tmp_path / "real").mkdir(mode=0o700)
    (tmp_path / "link").symlink_to(tmp_path / "real")
    with pytest.raises(StackError, match="must be a directory that only you can enter"):
        made_private(tmp_path / "link")


def test_a_port_that_somebody_listens_on_is_not_free() -> None:
    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        assert not port_is_free(port)
        assert free_port(port) != port


def test_a_preferred_port_is_taken_when_it_is_free() -> None:
    port = free_port()
    assert free_port(port) == port


def test_no_port_is_given_twice_before_its_server_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv(PORTS_VARIABLE, "19000-19029")
    free = [port for port in range(19000, 19030) if port_is_free(port)]
    assert sorted(free_port() for _ in free) == free
    assert free_port() in free, "but later, as there are no others"


def test_the_repository_is_found() -> None:
    assert (repository_root() / "stack" / "pyproject.toml").is_file()


def test_a_port_that_only_root_may_have_is_not_called_taken(monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError

    monkeypatch.setattr("socket.socket.bind", refuse)
    with pytest.raises(StackError, match=r"^only root may listen on port 80; choose one from 1024 with PORT=…$"):
        port_is_free(80)
