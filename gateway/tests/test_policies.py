"""The gateway's policies for replicas and callers: the real Envoy, in front of upstreams that misbehave on demand."""

import asyncio
import json
import re
from collections.abc import AsyncIterator
from pathlib import Path

import httpx
import pytest
import yaml
from tests.support.gateway_bench import Bench, gateway_bench, gateway_problem

from evenkeel.service.server import KEEP_ALIVE
from stack.layout import repository_root

pytestmark = pytest.mark.anyio

KEY = {"Idempotency-Key": "k"}


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """The gateway in front of two replicas of user-api, which misbehave once in total, and of no counter-api."""
    async with gateway_bench(tmp_path) as bench:
        yield bench


@pytest.fixture(scope="module")
async def lasting_bench(tmp_path_factory: pytest.TempPathFactory) -> AsyncIterator[Bench]:
    """For the tests that send a request or two, and change nothing. Both services have replicas."""
    async with gateway_bench(tmp_path_factory.mktemp("bench")) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


@pytest.fixture
def shared(lasting_bench: Bench) -> Bench:
    """No request has reached a replica yet, and no replica has misbehaved."""
    lasting_bench.forget_requests()
    return lasting_bench


@pytest.fixture
async def hasty_bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """As `bench`, with every limit of 5 to 60 seconds shortened to one second."""
    async with gateway_bench(tmp_path, (r'"(5|15|30|60)s"', '"1s"')) as bench:
        await bench.publish(bench.ports, "counter-api")
        yield bench


async def test_what_may_be_repeated_is_repeated_elsewhere(shared: Bench) -> None:
    for behaviour in ("reset-once", "fail-once"):
        response = await shared.client.get(f"/v1/users/{behaviour}")
        assert response.status_code == 200
        assert shared.received[f"GET /v1/users/{behaviour}"] == 2


async def test_what_every_replica_would_answer_is_not_repeated(shared: Bench) -> None:
    response = await shared.client.get("/v1/users/no-database")
    assert response.status_code == 503
    assert shared.received["GET /v1/users/no-database"] == 1
    assert "x-envoy-ratelimited" not in response.headers


async def test_a_change_of_a_counter_with_a_key_is_repeated(shared: Bench) -> None:
    response = await shared.client.post("/v1/counters/reset-once", headers=KEY, content=b"x")
    assert response.status_code == 200
    assert shared.received["POST /v1/counters/reset-once"] == 2
    assert (await shared.client.post("/v1/counters/fail-once")).status_code == 503
    assert shared.received["POST /v1/counters/fail-once"] == 1


@pytest.mark.parametrize("method", ["POST", "PATCH", "DELETE"])
async def test_a_change_of_a_user_with_a_key_is_repeated(shared: Bench, method: str) -> None:
    response = await shared.client.request(method, "/v1/users/reset-once", headers=KEY, content=b"x")
    assert response.status_code == 200
    assert shared.received[f"{method} /v1/users/reset-once"] == 2


async def test_a_change_without_a_key_is_sent_once(shared: Bench) -> None:
    response = await shared.client.post("/v1/users/reset-once")
    assert gateway_problem(response) == (503, "unavailable")
    assert "is not known" in response.json()["detail"]
    assert response.headers["retry-after"] == "1"
    assert shared.received["POST /v1/users/reset-once"] == 1


async def test_a_change_that_was_refused_is_not_repeated(shared: Bench) -> None:
    assert (await shared.client.patch("/v1/users/fail-once")).status_code == 503
    assert shared.received["PATCH /v1/users/fail-once"] == 1


async def test_a_service_without_replicas(bench: Bench) -> None:
    response = await bench.client.get("/v1/counters/a")
    assert gateway_problem(response) == (503, "unavailable")
    assert response.headers["retry-after"] == "1"


@pytest.mark.parametrize("path", ["/x", "/metrics", "/livez", "/readyz", "/counter/", "/openapi.json", "/v2/users"])
async def test_what_is_not_routed(shared: Bench, path: str) -> None:
    assert gateway_problem(await shared.client.get(path)) == (404, "not-found")
    assert not shared.received


async def test_a_body_may_have_64_kib(shared: Bench) -> None:
    assert (await shared.client.post("/v1/users", content=b"x" * 65536)).status_code == 200
    assert gateway_problem(await shared.client.post("/v1/users", content=b"x" * 65537)) == (413, "content-too-large")
    assert shared.received["POST /v1/users"] == 1


async def test_an_import_may_have_any_length(shared: Bench) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for _ in range(100):
            yield b"x" * 10_000

    for content in (b"x" * 1_000_000, chunks()):
        for headers in ({}, KEY):
            response = await shared.client.post("/v1/counters:import", content=content, headers=headers)
            assert response.status_code == 200
            content = chunks()  # noqa: PLW2901 (an iterator is used up)
    response = await shared.client.post("/v1/counters:batch", content=chunks())
    assert gateway_problem(response) == (413, "content-too-large")


async def test_an_import_is_repeated_if_it_carries_a_key(shared: Bench) -> None:
    for behaviour in ("reset-once", "fail-once"):
        path = f"/v1/counters:import?{behaviour}"
        assert (await shared.client.post(path, headers=KEY, content=b"x" * 100_000)).status_code == 200
        assert shared.received[f"POST {path}"] == 2
    assert (await shared.client.post("/v1/counters:import?fail-once")).status_code == 200


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("POST", "/v1/counters:import?fail-once"),
        ("GET", "/v1/counters:export?fail-once"),
        ("GET", "/v1/counters/a/badge.svg?hit=true&fail-once"),
        ("GET", "/counter?fail-once"),
        ("DELETE", "/v1/uniques/fail-once"),
    ],
)
async def test_what_is_sent_once(shared: Bench, method: str, path: str) -> None:
    path = path.replace("&", "&x=?")  # the upstream reads from here how to behave
    assert (await shared.client.request(method, path)).status_code == 503
    assert shared.received[f"{method} {path}"] == 1


@pytest.mark.parametrize(
    ("method", "path"),
    [
        ("GET", "/v1/counters/a/events?reset-once"),
        ("GET", "/v1/counters/a/badge.svg?fail-once"),
        ("POST", "/v1/uniques/fail-once"),
        ("GET", "/v1/uniques/reset-once"),
    ],
)
async def test_what_changes_nothing_when_repeated_is_repeated(shared: Bench, method: str, path: str) -> None:
    assert (await shared.client.request(method, path)).status_code == 200
    assert shared.received[f"{method} {path}"] == 2


@pytest.mark.parametrize("path", ["/v1/counters/a/events?slowly", "/v1/counters:export?slowly"])
async def test_no_limit_cuts_an_answer_that_goes_on(hasty_bench: Bench, path: str) -> None:
    response = await hasty_bench.client.get(path)
    assert (response.status_code, response.content) == (200, b"x" * 10)


@pytest.mark.slow
async def test_no_limit_cuts_an_import_that_goes_on(hasty_bench: Bench) -> None:
    for headers in ({}, KEY):
        response = await hasty_bench.client.post("/v1/counters:import", content=_slowly(), headers=headers)
        assert response.status_code == 200


async def test_everything_else_has_its_time(hasty_bench: Bench) -> None:
    with pytest.raises(httpx.RemoteProtocolError):
        await hasty_bench.client.get("/v1/users/slowly")
    reader, writer = await asyncio.open_connection("127.0.0.1", hasty_bench.gateway.port)
    writer.write(b"POST /v1/counters:batch HTTP/1.1\r\nHost: localhost\r\nContent-Length: 10\r\n\r\nx")
    assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
    writer.close()


async def _slowly() -> AsyncIterator[bytes]:
    """A body that takes two seconds."""
    for _ in range(10):
        await asyncio.sleep(0.2)
        yield b"x"


@pytest.mark.parametrize(
    ("path", "headers"), [("/v1/users%2F1", {}), ("/v1/users%5c1", {}), ("/v1/users", {"a_b": "1"})]
)
async def test_ambiguous_requests_are_refused(shared: Bench, path: str, headers: dict[str, str]) -> None:
    assert gateway_problem(await shared.client.get(path, headers=headers)) == (400, "bad-request")


@pytest.mark.parametrize("given", ["abc-1.2_Z", "01234567-89ab-cdef-0123-456789abcdef", "x" * 128])
async def test_a_plain_request_id_is_kept(shared: Bench, given: str) -> None:
    response = await shared.client.get("/v1/users/1", headers={"X-Request-Id": given})
    assert response.text.split()[0] == response.headers["x-request-id"] == given


@pytest.mark.parametrize("given", ["", "a b", '"', "x" * 129, "{}"])
async def test_another_request_id_is_replaced(shared: Bench, given: str) -> None:
    response = await shared.client.get("/v1/users/1", headers={"X-Request-Id": given})
    assert response.text.split()[0] == response.headers["x-request-id"] != given
    assert len(response.headers["x-request-id"]) == 36


async def test_callers_do_not_give_orders_and_learn_nothing_of_the_server(shared: Bench) -> None:
    response = await shared.client.get("/v1/users/1", headers={"X-Envoy-Retry-On": "5xx"})
    assert response.text.split()[1] == "None"
    assert not [name for name in response.headers if name == "server" or name.startswith("x-envoy")]


async def test_the_documentation_page(shared: Bench) -> None:
    response = await shared.client.get("/docs")
    assert (response.status_code, response.headers["content-type"]) == (200, "text/html; charset=utf-8")
    assert (response.headers["x-served-by"], len(response.headers["x-request-id"])) == ("gateway", 36)
    assert response.text == (repository_root() / "gateway" / "docs.html").read_text()


async def test_a_replica_that_leaves_gets_nothing_more(bench: Bench) -> None:
    [stays, _] = sorted(await bench.gateway.healthy_ports("user-api"))
    await bench.publish({stays})
    assert await bench.gateway.healthy_ports("user-api") == {stays}
    for _ in range(20):
        assert (await bench.client.get("/v1/users/1")).status_code == 200


async def test_a_replica_that_is_not_ready_gets_nothing(bench: Bench) -> None:
    unready, ready = bench.upstreams
    unready.ready, unready.broken = False, True  # each request that reaches it is lost
    answered = 0
    async with asyncio.timeout(60):
        while answered < 20 or await bench.gateway.healthy_ports("user-api") != {ready.port}:
            answered = answered + 1 if (await bench.client.post("/v1/users")).status_code == 200 else 0
    unready.ready, unready.broken = True, False
    await bench.until_healthy(bench.ports)


async def test_a_replica_that_becomes_ready_after_another_one_gets_requests_at_once(bench: Bench) -> None:
    """A replica that was the only one for a while has all requests. They fail when it dies."""
    first, second = bench.upstreams
    first.ready = second.ready = False
    await bench.until_healthy(set())
    first.ready = True
    await bench.until_healthy({first.port})
    second.ready = True
    await bench.until_healthy(bench.ports)
    before = second.asked
    await asyncio.gather(*(bench.client.get("/v1/users/1") for _ in range(40)))
    assert second.asked > before


async def test_if_no_replica_is_ready_all_are_asked_anyway(bench: Bench) -> None:
    for upstream in bench.upstreams:
        upstream.ready = False
    await bench.until_healthy(set())
    for _ in range(20):  # long enough for Envoy's workers to notice
        assert (await bench.client.get("/v1/users/1")).status_code == 200
        await asyncio.sleep(0.1)


async def test_a_replica_that_is_ready_and_fails_is_left_out_for_a_while(bench: Bench) -> None:
    broken, _ = bench.upstreams
    broken.broken = True
    async with asyncio.timeout(60):
        while await bench.ejected_ports() != {broken.port}:
            assert (await bench.client.get("/v1/users/1")).status_code == 200  # sent again to another replica
    broken.broken = False
    async with asyncio.timeout(60):
        while await bench.ejected_ports():  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)


async def test_headers_that_dawdle_are_not_waited_for(tmp_path: Path) -> None:
    hasty = (r'"request_headers_timeout": "10s"', '"request_headers_timeout": "1s"')
    async with gateway_bench(tmp_path, hasty) as bench:
        reader, writer = await asyncio.open_connection("127.0.0.1", bench.gateway.port)
        writer.write(b"GET /v1/users/1 HTTP/1.1\r\nHost: localhost\r\nX-Slow: ")
        async with asyncio.timeout(30):
            assert (await reader.readline()).startswith(b"HTTP/1.1 408 ")
        writer.close()
        assert not bench.received


async def test_the_access_log_is_a_line_of_json_for_each_request(bench: Bench) -> None:
    response = await bench.client.post("/v1/users?email=ada%40example.com", content=b"secret", headers=KEY)
    log = bench.layout.log("gateway")
    async with asyncio.timeout(30):
        while '"POST"' not in log.read_text():  # noqa: ASYNC110 (no event)
            await asyncio.sleep(0.1)
    [entry] = [json.loads(line) for line in log.read_text().splitlines() if '"POST"' in line]
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT[\d:.]+Z", entry.pop("time"))
    assert entry.pop("duration_ms") >= 0
    assert int(entry.pop("upstream").removeprefix("127.0.0.1:")) in bench.ports
    assert entry == {
        "method": "POST",
        "path": "/v1/users",
        "protocol": "HTTP/1.1",
        "status": 200,
        "bytes_received": 6,
        "bytes_sent": len(response.content),
        "request_id": response.headers["x-request-id"],
        "subject": None,
        "flags": "-",
        "reason": "via_upstream",
    }


def test_the_gateway_closes_idle_connections_before_the_services_do() -> None:
    config = yaml.safe_load((repository_root() / "gateway" / "envoy.yaml").read_text())
    for cluster in config["static_resources"]["clusters"]:
        [options] = cluster["typed_extension_protocol_options"].values()
        seconds = float(options["common_http_protocol_options"]["idle_timeout"].removesuffix("s"))
        assert 0 < seconds <= KEEP_ALIVE / 2
