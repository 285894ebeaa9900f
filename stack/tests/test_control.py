"""The control socket, with a handler in place of the supervisor."""

import asyncio
import socket
from pathlib import Path

import pytest

from stack import control
from stack.errors import StackError

pytestmark = pytest.mark.anyio


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "control.sock"


async def _handle(request: control.Request) -> control.Answer:
    if request.get("command") == "fail":
        raise StackError("it cannot be done")
    if request.get("command") == "write":
        raise OSError(28, "No space left on device")
    await asyncio.sleep(request.get("delay", 0))
    return {"got": request}


async def test_an_answer(path: Path) -> None:
    async with control.Server(path, _handle):
        assert control.listens(path)
        assert await asyncio.to_thread(control.ask, path, {"a": "ü"}) == {"got": {"a": "ü"}}


async def test_an_error(path: Path) -> None:
    async with control.Server(path, _handle):
        with pytest.raises(StackError, match=r"^it cannot be done$"):
            await asyncio.to_thread(control.ask, path, {"command": "fail"})


async def test_a_failing_disk_is_no_supervisor_that_went_away(path: Path) -> None:
    async with control.Server(path, _handle):
        with pytest.raises(StackError, match=r"^the supervisor failed: .*No space left on device$") as raised:
            await asyncio.to_thread(control.ask, path, {"command": "write"})
    assert not isinstance(raised.value, control.NotRunningError)


async def test_nonsense_gets_an_answer(path: Path) -> None:
    async with control.Server(path, _handle):
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(b"hello\n")
        assert await reader.readline() == b'{"error": "the request is not a line of JSON"}\n'
        writer.close()
        await writer.wait_closed()


async def test_what_has_begun_is_answered_before_it_closes(path: Path) -> None:
    async with control.Server(path, _handle):
        asking = asyncio.create_task(asyncio.to_thread(control.ask, path, {"delay": 0.3}))
        await asyncio.sleep(0.1)
    assert await asking == {"got": {"delay": 0.3}}
    assert not control.listens(path)


async def test_nobody_there(path: Path) -> None:
    with pytest.raises(control.NotRunningError, match="the stack is not running"):
        control.ask(path, {})


async def test_what_a_dead_supervisor_has_left_is_replaced(path: Path) -> None:
    with socket.socket(socket.AF_UNIX) as dead:
        dead.bind(str(path))
    with pytest.raises(control.NotRunningError):
        control.ask(path, {})
    async with control.Server(path, _handle):
        assert control.listens(path)
