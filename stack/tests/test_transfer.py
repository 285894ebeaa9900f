"""Export and import where the gateway refuses, is away, or breaks off."""

import contextlib
import socket
import threading
import time
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest
from click.testing import CliRunner, Result

from stack import control, progress
from stack.cli import main
from stack.layout import free_port
from stack.transfer import Gateway, TransferError, exported, imported

LINE = b'{"name":"a","value":1}\n'
CHUNKED = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n17\r\n" + LINE + b"\r\n"
REFUSAL = b"HTTP/1.1 503 Service Unavailable\r\nContent-Length: %d\r\n\r\n%b"


@contextlib.contextmanager
def _answering(answer: bytes) -> Iterator[Gateway]:
    """A gateway that sends this as soon as a request begins, and closes the connection when its client has."""

    def serve() -> None:
        connection, _ = server.accept()
        with connection, contextlib.suppress(ConnectionError):
            connection.recv(1)
            connection.sendall(answer)
            connection.shutdown(socket.SHUT_WR)
            while connection.recv(65536):
                pass

    with socket.create_server(("127.0.0.1", 0)) as server:
        serving = threading.Thread(target=serve, daemon=True)
        serving.start()
        yield Gateway("127.0.0.1", server.getsockname()[1], {})
        serving.join(10)


def _run(directory: Path, gateway: Gateway, monkeypatch: pytest.MonkeyPatch, *arguments: str) -> Result:
    answer = {"gateway": f"http://{gateway.host}:{gateway.port}", "processes": []}
    monkeypatch.setattr(control, "ask", lambda *_, **__: answer)
    return CliRunner().invoke(main, ["--directory", str(directory), *arguments])


def test_an_export_without_an_end_leaves_the_file_as_it_was(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "counters.ndjson"
    file.write_text("before")
    with _answering(CHUNKED) as gateway:
        ended = _run(tmp_path, gateway, monkeypatch, "export", str(file))
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr.endswith("stack: the answer has no end\n")
    assert file.read_text() == "before"
    assert list(tmp_path.iterdir()) == [file]


def test_an_export_with_an_end(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "counters.ndjson"
    with _answering(CHUNKED + b"0\r\n\r\n") as gateway:
        ended = _run(tmp_path, gateway, monkeypatch, "export", str(file))
    assert (ended.exit_code, ended.stdout) == (0, f"exported 1 counter to {file}\n")
    assert ended.stderr == f"exporting to {file} …\n"
    assert file.read_bytes() == LINE


@pytest.mark.parametrize(
    ("body", "reason"), [(b'{"detail": "Not now."}', "Not now."), (b"[]", "503 Service Unavailable"), (b"<", "503 S")]
)
def test_a_refusal_says_why(body: bytes, reason: str) -> None:
    answer = REFUSAL % (len(body), body)
    with _answering(answer) as gateway, pytest.raises(TransferError, match=reason):
        list(exported(gateway, ""))
    moved: list[int] = []
    with _answering(answer) as gateway, pytest.raises(TransferError, match=reason):
        imported(gateway, BytesIO(LINE * 100_000), "key", moved.append)
    assert moved == []


def test_an_import_without_a_gateway_says_how_to_go_on(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    file = tmp_path / "counters.ndjson"
    file.write_bytes(LINE)
    ended = _run(tmp_path, Gateway("127.0.0.1", free_port(), {}), monkeypatch, "import", str(file), "--key", "mine")
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert "stack: the gateway does not answer: " in ended.stderr
    assert ended.stderr.endswith("; to go on where the import was, add --key mine\n")


@pytest.mark.parametrize(
    "arguments",
    [
        ("import", "missing.ndjson"),
        ("import", "."),
        ("import", "here.ndjson", "--key", "a\nb"),
        ("import",),
        ("export", "."),
        ("export", "/dev/null"),
        ("export",),
    ],
)
def test_wrong_usage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, arguments: tuple[str, ...]) -> None:
    monkeypatch.chdir(tmp_path)
    (tmp_path / "here.ndjson").touch()
    ended = _run(tmp_path, Gateway("127.0.0.1", 1, {}), monkeypatch, *arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.count("\n") == 1


def test_lines_of_progress_are_few(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    now = iter([0.0, 1.0, 5.0, 5.0, 6.0])
    monkeypatch.setattr(time, "monotonic", lambda: next(now))
    with progress.moved("importing x", 3000) as moved:
        for _ in range(3):
            moved(1000)
    assert capsys.readouterr().err == "importing x …\nimporting x: 2,000 of 3,000 bytes\n"
