"""Export never fails or delays a request, a start or an end: the collector may be away, silent, or talk nonsense."""

import asyncio
import json
import os
import subprocess
import sys
import time
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from pathlib import Path

import httpx
import pytest
from tests.support.spans import collector

from evenkeel.service import telemetry
from stack.layout import free_port

pytestmark = pytest.mark.anyio

PROGRAM = str(Path(sys.executable).with_name("counter-api"))

LATE = 10.0
"""Seconds that a request must not take, whatever the collector does. Busy machines need some."""


@asynccontextmanager
async def a_replica(environment: Mapping[str, str], log: Path) -> AsyncIterator[httpx.AsyncClient]:
    """A counter-api that counts in its memory. It gets SIGTERM at the end, and must end well."""
    port = free_port()
    settings = {"STORE": "memory", "PORT": str(port), "DRAIN": "0", "REPLICA_NAME": "r-1"}
    with log.open("wb") as errors:
        process = await asyncio.create_subprocess_exec(
            *(PROGRAM, "serve"),
            env=os.environ | {f"COUNTER_API_{name}": value for name, value in settings.items()} | dict(environment),
            stderr=errors,
        )
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=LATE) as client:
            async with asyncio.timeout(60):
                while True:
                    with suppress(httpx.TransportError):
                        if (await client.get("/readyz")).status_code == 200:
                            break
                    await asyncio.sleep(0.05)
            yield client
    finally:
        process.terminate()
        began = time.monotonic()
        status = await asyncio.wait_for(process.wait(), 60)
    assert status == 0
    assert time.monotonic() - began < LATE + telemetry.FLUSH


def endpoint(url: str, **others: str) -> dict[str, str]:
    # Small queues and batches, so that they are full at once.
    small = {"SCHEDULE_DELAY": "50", "MAX_QUEUE_SIZE": "8", "MAX_EXPORT_BATCH_SIZE": "4"}
    return {
        "OTEL_EXPORTER_OTLP_ENDPOINT": url,
        **{f"OTEL_BSP_{name}": value for name, value in small.items()},
        **others,
    }


async def increments(client: httpx.AsyncClient, *, first: int = 1, count: int = 20) -> None:
    for n in range(first, first + count):
        assert (await client.post("/v1/counters/a/increment")).json() == {"name": "a", "value": n}


async def test_a_collector_that_does_not_work(tmp_path: Path) -> None:
    answers: list[int | bytes | None] = [200, 503, b"nonsense\r\n\r\n", None]
    async with collector() as broken, a_replica(endpoint(broken.url), tmp_path / "log") as client:
        for n, answer in enumerate(answers):
            broken.answer, before = answer, broken.requests
            await increments(client, first=20 * n + 1)
            async with asyncio.timeout(60):
                while broken.requests == before:  # noqa: ASYNC110 (the collector sets no event)
                    await asyncio.sleep(0.05)
        broken.stop()
        await increments(client, first=20 * len(answers) + 1)


@pytest.mark.parametrize(
    "wrong",
    [
        pytest.param({"OTEL_EXPORTER_OTLP_ENDPOINT": "::::"}, marks=pytest.mark.slow),
        {"OTEL_EXPORTER_OTLP_TIMEOUT": "soon", "OTEL_BSP_MAX_QUEUE_SIZE": "-1", "OTEL_TRACES_SAMPLER": "sometimes"},
    ],
    ids=["endpoint", "numbers"],
)
async def test_wrong_settings_are_no_reason_not_to_start(wrong: dict[str, str], tmp_path: Path) -> None:
    async with a_replica(endpoint("http://127.0.0.1:9") | wrong, tmp_path / "log") as client:
        await increments(client, count=3)


async def test_the_last_spans_are_exported_at_the_end(tmp_path: Path) -> None:
    log = tmp_path / "log"
    async with collector() as received:
        settings = {"OTEL_BSP_SCHEDULE_DELAY": "3600000", "OTEL_RESOURCE_ATTRIBUTES": "deployment.environment=test"}
        async with a_replica({"OTEL_EXPORTER_OTLP_ENDPOINT": received.url, **settings}, log) as client:
            await increments(client, count=3)
            assert not received.spans
        assert [name for name, _ in received.spans] == ["counter-api"] * 3
    assert {span.name for _, span in received.spans} == {"POST /v1/counters/{name}/increment"}


def test_a_flush_ends_although_the_exporter_does_not(monkeypatch: pytest.MonkeyPatch) -> None:
    class Stuck:
        def close(self) -> None:
            time.sleep(60)

    monkeypatch.setattr(telemetry, "FLUSH", 0.1)
    began = time.monotonic()
    with telemetry.traced(Stuck()):  # type: ignore[arg-type]
        pass
    assert time.monotonic() - began < 30


@pytest.mark.parametrize(
    ("environment", "wanted"),
    [
        ({}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": ""}, False),
        ({"OTEL_TRACES_SAMPLER": "always_on"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318"}, True),
        ({"OTEL_EXPORTER_OTLP_TRACES_ENDPOINT": "http://c:4318/v1/traces"}, True),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_SDK_DISABLED": "true"}, False),
        ({"OTEL_EXPORTER_OTLP_ENDPOINT": "http://c:4318", "OTEL_TRACES_EXPORTER": "none"}, False),
    ],
)
def test_when_traces_are_wanted(environment: dict[str, str], wanted: bool, monkeypatch: pytest.MonkeyPatch) -> None:  # noqa: FBT001
    for name in [name for name in os.environ if name.startswith("OTEL_")]:
        monkeypatch.delenv(name)
    for name, value in environment.items():
        monkeypatch.setenv(name, value)
    assert telemetry.wanted() is wanted


@pytest.mark.parametrize("service", ["user_api.cli", "counter_api.cli"])
def test_without_the_variable_nothing_of_it_is_imported(service: str) -> None:
    program = f"""
import json, sys, {service}
from evenkeel.service import telemetry
with telemetry.exported("a", "b", "1"):
    pass
print(json.dumps([name for name in sys.modules if name.split(".")[0] in ("requests", "google")
                  or name.startswith(("opentelemetry.sdk", "opentelemetry.exporter"))]))
"""
    environment = {name: value for name, value in os.environ.items() if not name.startswith("OTEL_")}
    printed = subprocess.run(
        [sys.executable, "-c", program], env=environment, capture_output=True, text=True, check=True
    )
    assert json.loads(printed.stdout) == []


def test_without_the_extra_a_line_says_so(monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture) -> None:
    monkeypatch.setenv("OTEL_EXPORTER_OTLP_ENDPOINT", "http://127.0.0.1:9")
    monkeypatch.setitem(sys.modules, "opentelemetry.exporter.otlp.proto.http.trace_exporter", None)
    with telemetry.exported("a", "b", "1"):
        assert telemetry.current() is None
    assert "the extra [telemetry] is not installed" in str(caplog.records[0].__dict__["reason"])
