"""counter-api through the gateway. Each row names the section of RFC 9110."""

import httpx
import pytest
from tests.integration.conformance import JSON, Row, check, unused

pytestmark = pytest.mark.anyio

ONE, NONE = "/v1/counters/{name}", "/v1/counters/{absent}"
ADD, ADD_NEW = f"{ONE}/increment", f"{NONE}/increment"
IS_SEVEN, IS_EIGHT = {"If-Match": '"7"'}, {"If-Match": '"8"'}
NEW_ONLY = {"If-None-Match": "*"}
SET = {"value": 9}
NDJSON = {"Content-Type": "application/x-ndjson"}

ROWS = [
    Row("9.3.1", "GET", ONE, 200, answered={"ETag": '"7"', "Cache-Control": "no-cache"}),
    Row("9.3.1", "GET", NONE, 404, "not-found", answered={"Cache-Control": "no-store"}),
    Row("9.3.2", "HEAD", ONE, 200, answered={"ETag": '"7"'}),
    Row("9.3.2", "HEAD", NONE, 404),
    Row("9.3.2", "HEAD", "/counter", 200),
    Row("9.3.2", "HEAD", "/v1/counters:export", 200, answered={"Content-Type": "application/x-ndjson"}),
    Row("9.3.2", "HEAD", f"{ONE}/events", 200),
    Row("9.3.2", "HEAD", "/v1/counters?limit=1", 200),
    Row("9.3.4", "PUT", NONE, 201, body=SET, answered={"ETag": '"9"'}),
    Row("9.3.4", "PUT", ONE, 200, body=SET, answered={"ETag": '"9"'}),
    Row("9.3.5", "DELETE", ONE, 204),
    Row("9.3.5", "DELETE", NONE, 404, "not-found"),
    Row("15.5.6", "PATCH", ONE, 405, "method-not-allowed", answered={"Allow": "DELETE, GET, HEAD, PUT"}),
    Row("15.5.6", "GET", ADD, 405, "method-not-allowed", answered={"Allow": "POST"}),
    Row("15.6.2", "PROPFIND", ONE, 501, "unknown-method"),
    Row("15.5.14", "PUT", ONE, 413, "content-too-large", JSON, b"x" * 70_000),
    # Preconditions on reads.
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": '"7"'}, answered={"ETag": '"7"'}),
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": 'W/"7"'}),
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": '"8", , "7"'}),
    Row("13.1.2", "GET", ONE, 304, headers=NEW_ONLY),
    Row("13.1.2", "GET", ONE, 200, headers={"If-None-Match": '"8"'}),
    Row("13.1.1", "GET", ONE, 200, headers=IS_SEVEN),
    Row("13.1.1", "GET", ONE, 412, "precondition-failed", IS_EIGHT),
    # Preconditions on changes.
    Row("13.1.1", "PUT", ONE, 200, headers=IS_SEVEN, body=SET),
    Row("13.1.1", "PUT", ONE, 200, headers={"If-Match": '"8", , "7"'}, body=SET),
    Row("13.1.1", "PUT", ONE, 412, "precondition-failed", IS_EIGHT, SET),
    Row("13.1.1", "PUT", ONE, 412, "precondition-failed", {"If-Match": 'W/"7"'}, SET),
    Row("13.1.1", "PUT", NONE, 412, "precondition-failed", {"If-Match": "*"}, SET),
    Row("13.1.2", "PUT", ONE, 412, "precondition-failed", NEW_ONLY, SET),
    Row("13.1.2", "PUT", NONE, 201, headers=NEW_ONLY, body=SET),
    Row("13.1.2", "PUT", ONE, 412, "precondition-failed", {"If-None-Match": '"7"'}, SET),
    Row("13.1.2", "PUT", ONE, 200, headers={"If-None-Match": '"8"'}, body=SET),
    Row("13.1.4", "PUT", ONE, 200, headers={"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, body=SET),
    Row("13.1.1", "POST", ADD, 200, headers=IS_SEVEN),
    Row("13.1.1", "POST", ADD, 412, "precondition-failed", IS_EIGHT),
    Row("13.1.1", "POST", ADD_NEW, 412, "precondition-failed", {"If-Match": "*"}),
    Row("13.1.2", "POST", ADD, 412, "precondition-failed", NEW_ONLY),
    Row("13.1.2", "POST", ADD_NEW, 200, headers=NEW_ONLY),
    Row("13.1.1", "DELETE", ONE, 204, headers=IS_SEVEN),
    Row("13.1.1", "DELETE", ONE, 412, "precondition-failed", IS_EIGHT),
    Row("13.1.2", "DELETE", ONE, 412, "precondition-failed", NEW_ONLY),
    Row("13.1", "POST", "/v1/counters:batch", 422, "validation", NEW_ONLY, {"operations": [{"name": "{absent}"}]}),
    Row("13.1", "POST", "/v1/counters:import", 422, "validation", NDJSON | NEW_ONLY, b""),
    Row("13.1", "POST", "/v1/uniques/{absent}", 422, "validation", NEW_ONLY, {"member": "a"}),
    Row("13.1.1", "PUT", ONE, 422, "validation", {"If-Match": "7"}, SET),
    # A missing resource comes before a precondition, and a precondition before a conflict.
    Row("13.2.2", "DELETE", NONE, 404, "not-found", IS_SEVEN),
    Row("13.2.2", "POST", ADD, 412, "precondition-failed", IS_EIGHT, {"by": 9, "max": 10}),
    Row("15.5.10", "POST", ADD, 409, "counter-bound", IS_SEVEN, {"by": 9, "max": 10}),
    # Media types.
    Row("15.5.16", "PUT", ONE, 415, "unsupported-media-type", {"Content-Type": "text/plain"}, b'{"value": 9}'),
    Row("15.5.16", "PUT", ONE, 415, "unsupported-media-type", body=b'{"value": 9}'),
    Row("15.5.16", "PUT", ONE, 415, "unsupported-media-type", JSON | {"Content-Encoding": "gzip"}, b"{}"),
    Row("15.5.16", "POST", ADD, 415, "unsupported-media-type", {"Content-Type": "text/plain"}, b'{"by": 2}'),
    Row("15.5.16", "POST", "/v1/counters:import", 415, "unsupported-media-type", JSON, b"{}"),
    Row("15.5.16", "POST", "/v1/counters:batch", 415, "unsupported-media-type", NDJSON, b"{}"),
    Row("8259, 8.1", "PUT", ONE, 422, "malformed-json", JSON, '{"value": 9}'.encode("utf-16")),
    Row("8.3", "POST", ADD, 200),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row(client: httpx.AsyncClient, row: Row) -> None:
    state = {"name": unused(), "absent": unused()}
    assert (await client.put(f"/v1/counters/{state['name']}", json={"value": 7})).status_code == 201
    await check(client, row, state)
    if row.status >= 400:
        assert (await client.get(f"/v1/counters/{state['name']}")).json()["value"] == 7
        assert (await client.get(f"/v1/counters/{state['absent']}")).status_code == 404
