"""A start without a collector, which the server turns on again."""

import gc
import importlib
import sys
from unittest.mock import AsyncMock, Mock

import pytest
import uvicorn
from fastapi import FastAPI

from evenkeel.service import server
from evenkeel.service.draining import Draining
from evenkeel.service.starting import quick_start


def test_in_the_block_nothing_is_collected_and_an_old_pydantic_is_not_imported(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delitem(sys.modules, "pydantic.v1", raising=False)
    with quick_start():
        assert not gc.isenabled()
        with pytest.raises(ImportError):
            importlib.import_module("pydantic.v1")
    assert gc.isenabled()
    assert "pydantic.v1" not in sys.modules


def test_what_has_been_imported_stays(monkeypatch: pytest.MonkeyPatch) -> None:
    module = Mock()
    monkeypatch.setitem(sys.modules, "pydantic.v1", module)
    with quick_start():
        assert sys.modules["pydantic.v1"] is module
    assert sys.modules["pydantic.v1"] is module


@pytest.mark.anyio
async def test_a_server_that_has_started_collects_what_comes_later(monkeypatch: pytest.MonkeyPatch) -> None:
    collector = Mock()
    monkeypatch.setattr(server, "gc", collector)
    started = AsyncMock()
    monkeypatch.setattr(uvicorn.Server, "startup", started)
    await server._Server(uvicorn.Config(FastAPI()), draining=Draining(), drain=0).startup()
    started.assert_awaited_once()
    assert [call[0] for call in collector.method_calls] == ["freeze", "set_threshold", "enable"]
