"""user-api through the gateway. Each row names the section of RFC 9110."""

import httpx
import pytest
from tests.integration.conformance import JSON, Row, check, unused
from tests.support.users import create, etag

pytestmark = pytest.mark.anyio

MERGE_PATCH = {"Content-Type": "application/merge-patch+json"}
NEW = {"email": "{new}@example.com", "name": "Ada"}
ONE, NONE = "/v1/users/{id}", "/v1/users/{absent}"
B = {"name": "B"}
TAKEN = {"email": "{taken}"}
READ = "GET, HEAD, PATCH, DELETE"

ROWS = [
    Row("9.3.1", "GET", ONE, 200, answered={"ETag": "{tag}", "Content-Type": "application/json"}),
    Row("9.3.1", "GET", NONE, 404, "user-not-found", answered={"Cache-Control": "no-store"}),
    Row("9.3.2", "HEAD", ONE, 200, answered={"ETag": "{tag}"}),
    Row("9.3.2", "HEAD", NONE, 404),
    Row("9.3.2", "HEAD", "/v1/users?limit=1", 200),
    Row("9.3.5", "DELETE", ONE, 204),
    Row("9.3.5", "DELETE", NONE, 404, "user-not-found"),
    Row("15.5.6", "PUT", ONE, 405, "method-not-allowed", answered={"Allow": "DELETE, GET, HEAD, PATCH"}),
    Row("15.5.6", "DELETE", "/v1/users", 405, "method-not-allowed", answered={"Allow": "GET, HEAD, POST"}),
    Row("15.6.2", "PROPFIND", ONE, 501, "unknown-method"),
    Row("15.5.14", "POST", "/v1/users", 413, "content-too-large", JSON, b"x" * 70_000),
    # Preconditions on reads.
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": "{tag}"}, answered={"ETag": "{tag}"}),
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": "W/{tag}"}),
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": '"other", , {tag}'}),
    Row("13.1.2", "GET", ONE, 304, headers={"If-None-Match": "*"}),
    Row("13.1.2", "HEAD", ONE, 304, headers={"If-None-Match": "{tag}"}),
    Row("13.1.2", "GET", ONE, 200, headers={"If-None-Match": '"other"'}),
    Row("13.1.2", "GET", NONE, 404, "user-not-found", {"If-None-Match": "*"}),
    Row("13.1.1", "GET", ONE, 200, headers={"If-Match": "{tag}"}),
    Row("13.1.1", "GET", ONE, 412, "precondition-failed", {"If-Match": '"other"'}),
    Row("13.1.1", "GET", ONE, 412, "precondition-failed", {"If-Match": "W/{tag}"}),
    Row("13.1.3", "GET", ONE, 200, headers={"If-Modified-Since": "Fri, 01 Jan 2100 00:00:00 GMT"}),
    # Preconditions on changes.
    Row("13.1.1", "PATCH", ONE, 200, headers={"If-Match": "{tag}"}, body=B),
    Row("13.1.1", "PATCH", ONE, 200, headers={"If-Match": '"other", , {tag}'}, body=B),
    Row("13.1.1", "PATCH", ONE, 200, headers={"If-Match": "*"}, body=B),
    Row("13.1.1", "PATCH", ONE, 412, "precondition-failed", {"If-Match": '"other"'}, B),
    Row("13.1.1", "PATCH", ONE, 412, "precondition-failed", {"If-Match": "W/{tag}"}, B),
    Row("13.1.2", "PATCH", ONE, 412, "precondition-failed", {"If-None-Match": "*"}, B),
    Row("13.1.2", "PATCH", ONE, 412, "precondition-failed", {"If-None-Match": "{tag}"}, B),
    Row("13.1.2", "PATCH", ONE, 412, "precondition-failed", {"If-None-Match": "W/{tag}"}, B),
    Row("13.1.2", "PATCH", ONE, 200, headers={"If-None-Match": '"other"'}, body=B),
    Row("13.1.4", "PATCH", ONE, 200, headers={"If-Unmodified-Since": "Thu, 01 Jan 1970 00:00:00 GMT"}, body=B),
    Row("13.1.1", "DELETE", ONE, 204, headers={"If-Match": "{tag}"}),
    Row("13.1.1", "DELETE", ONE, 412, "precondition-failed", {"If-Match": '"other"'}),
    Row("13.1.2", "DELETE", ONE, 412, "precondition-failed", {"If-None-Match": "*"}),
    Row("13.1.2", "DELETE", ONE, 204, headers={"If-None-Match": '"other"'}),
    Row("13.1", "POST", "/v1/users", 422, "validation", {"If-Match": "*"}, NEW),
    Row("13.1", "POST", "/v1/users", 422, "validation", {"If-None-Match": "*"}, NEW),
    Row("13.1.1", "PATCH", ONE, 422, "validation", {"If-Match": "other"}, B),
    Row("13.1.2", "PATCH", ONE, 422, "validation", {"If-None-Match": '"other'}, B),
    # A missing resource comes before a precondition, and a precondition before a conflict.
    Row("13.2.2", "PATCH", NONE, 404, "user-not-found", {"If-Match": '"other"'}, B),
    Row("13.2.2", "DELETE", NONE, 404, "user-not-found", {"If-Match": "*"}),
    Row("13.2.2", "PATCH", ONE, 412, "precondition-failed", {"If-Match": '"other"'}, TAKEN),
    Row("15.5.10", "PATCH", ONE, 409, "email-taken", {"If-Match": "{tag}"}, TAKEN),
    Row("15.5.10", "POST", "/v1/users", 409, "email-taken", body=TAKEN | {"name": "B"}),
    # Media types.
    Row("15.5.16", "POST", "/v1/users", 415, "unsupported-media-type", {"Content-Type": "text/plain"}, b"{}"),
    Row("15.5.16", "POST", "/v1/users", 415, "unsupported-media-type", body=b"{}"),
    Row("15.5.16", "POST", "/v1/users", 415, "unsupported-media-type", MERGE_PATCH, b"{}"),
    Row("15.5.16", "POST", "/v1/users", 415, "unsupported-media-type", JSON | {"Content-Encoding": "gzip"}, b"{}"),
    Row(
        "15.5.16",
        "POST",
        "/v1/users",
        415,
        "unsupported-media-type",
        {"Content-Type": "application/json; charset=utf-16"},
        '{"name": "B"}'.encode("utf-16"),
    ),
    Row("8259, 8.1", "POST", "/v1/users", 422, "malformed-json", JSON, '{"name": "B"}'.encode("utf-16")),
    Row("15.5.16", "PATCH", ONE, 415, "unsupported-media-type", {"Content-Type": "application/xml"}, b"{}"),
    Row("5789, 2", "PATCH", ONE, 200, headers=MERGE_PATCH, body=b'{"name": "B"}'),
    Row("8.3.1", "PATCH", ONE, 200, headers={"Content-Type": "Application/JSON;charset=UTF-8"}, body=b'{"name": "B"}'),
]


@pytest.mark.parametrize("row", ROWS, ids=str)
async def test_row(client: httpx.AsyncClient, row: Row) -> None:
    own, taken = unused(), f"{unused()}@example.com"
    user = await create(client, email=f"{own}@example.com")
    await create(client, email=taken)
    state = {
        "id": str(user["id"]),
        "absent": str(2**63 - 1),
        "tag": await etag(client, user["id"]),
        "taken": taken,
        "new": unused(),
    }
    if isinstance(row.body, dict):
        body = {name: value.format_map(state) for name, value in row.body.items()}
        row = Row(row.section, row.method, row.path, row.status, row.slug, row.headers, body, row.answered)
    await check(client, row, state)
    if row.status >= 400 and row.method in {"PATCH", "DELETE"}:
        assert await etag(client, user["id"]) == state["tag"], "what was refused has changed something"
