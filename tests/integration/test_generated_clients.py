"""Clients that are generated from the documents work with every operation, and with every kind of error."""

import re
import sys
import uuid
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path
from typing import Any

import pytest
from tests.support.generated_client import GeneratedClient

GUIDE = Path(__file__).parents[2] / "docs" / "clients.md"

MAX = 2**63 - 1
MIN = -(2**63)

LEFT_OUT = {"watch_counter", "watch_user_api_fleet", "watch_counter_api_fleet"}
"""Such a client reads an answer to its end, but a stream has none."""


@pytest.fixture(scope="module")
def users(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratedClient]:
    client = GeneratedClient("user-api", gateway, tmp_path_factory.mktemp("users"))
    with client.client:
        yield client


@pytest.fixture(scope="module")
def counters(gateway: str, tmp_path_factory: pytest.TempPathFactory) -> Iterator[GeneratedClient]:
    client = GeneratedClient("counter-api", gateway, tmp_path_factory.mktemp("counters"))
    with client.client:
        yield client


@pytest.fixture
def ada(users: GeneratedClient, email: str) -> Any:
    return users("create_user", body=users.models.NewUser(email=email, name="Ada"))


def _kind(problem: Any) -> tuple[int, str]:
    return problem.status, problem.type_.removeprefix("urn:evenkeel:problem:")


class TestUsers:
    def test_create(self, users: GeneratedClient, email: str) -> None:
        new = users.models.NewUser(email=email, name="Ada")
        user = users("create_user", body=new)
        assert (user.email, user.name, user.version) == (email, "Ada", 1)
        assert user.created_at.tzinfo is not None
        assert _kind(users("create_user", body=new)) == (409, "email-taken")
        problem = users("create_user", body=users.models.NewUser(email="nobody", name=""))
        assert _kind(problem) == (422, "validation")
        assert [(each.in_, each.field) for each in problem.errors] == [("body", "email"), ("body", "name")]

    def test_read(self, users: GeneratedClient, ada: Any) -> None:
        answer = users("read_user", ada.id)
        assert answer.data == ada
        assert answer.source in set(users.models.UserAnswerSource)
        assert users("read_user", ada.id, if_none_match="*") is None
        assert users("read_user", ada.id, cache_control="no-cache").source == "database"
        problem = users("read_user", ada.id, min_version=MAX)
        assert (_kind(problem), problem.current) == ((412, "precondition-failed"), 1)
        assert _kind(users("read_user", MAX)) == (404, "user-not-found")
        assert _kind(users("read_user", MAX + 1)) == (422, "validation")

    def test_lists(self, users: GeneratedClient, ada: Any) -> None:
        batch = users("list_users", ids=[MAX, ada.id])
        assert (batch.data, batch.missing) == ([ada], [MAX])
        assert users("list_users", email=ada.email).data == ada
        page = users("list_users", after=ada.id - 1, limit=1)
        assert isinstance(page, users.models.UserPage)
        assert page.data == [ada]
        assert users("list_users", after=MAX).data == []
        assert _kind(users("list_users", limit=0)) == (422, "validation")
        assert _kind(users("list_users", email="nobody@example.org")) == (404, "user-not-found")

    def test_change(self, users: GeneratedClient, ada: Any, email: str) -> None:
        other = users("create_user", body=users.models.NewUser(email=f"2{email}", name="Other"))
        patch = users.models.UserPatch(name="Lovelace")
        problem = users("change_user", ada.id, body=patch, if_match='"other"')
        assert (_kind(problem), problem.current) == ((412, "precondition-failed"), 1)
        changed = users("change_user", ada.id, body=patch, if_match="*")
        assert (changed.name, changed.email, changed.version) == ("Lovelace", ada.email, 2)
        taken = users.models.UserPatch(email=other.email)
        assert _kind(users("change_user", ada.id, body=taken)) == (409, "email-taken")

    def test_delete(self, users: GeneratedClient, ada: Any) -> None:
        assert users("delete_user", ada.id) is None
        assert _kind(users("delete_user", ada.id)) == (404, "user-not-found")

    def test_fleet(self, users: GeneratedClient) -> None:
        fleet = users("read_user_api_fleet")
        assert [replica.state for replica in fleet.replicas] == ["ready"] * len(fleet.replicas)
        assert fleet.replicas[0].hits.memory >= 0
        assert fleet.relay.lag_seconds >= 0


class TestCounters:
    def test_increment(self, counters: GeneratedClient, name: str) -> None:
        increment = counters.functions["increment_counter"]
        assert increment.sync(name, client=counters.client).value == 1
        assert counters("increment_counter", name).value == 2
        request = counters.models.IncrementRequest
        assert counters("increment_counter", name, body=request(by=-4, min_=-2)).value == -2
        problem = counters("increment_counter", name, body=request(by=-1, min_=-2))
        assert (_kind(problem), problem.name, problem.current) == ((409, "counter-bound"), name, -2)
        problem = counters("increment_counter", name, body=request(by=MIN))
        assert (_kind(problem), problem.current) == ((409, "counter-overflow"), -2)
        problem = counters("increment_counter", name, body=request(by=MAX + 1))
        assert (_kind(problem), problem.errors[0].field) == ((422, "validation"), "by")

    def test_retries(self, counters: GeneratedClient, name: str) -> None:
        request = counters.models.IncrementRequest
        for _ in range(2):
            assert counters("increment_counter", name, body=request(by=5), idempotency_key=name).value == 5
        problem = counters("increment_counter", name, body=request(by=6), idempotency_key=name)
        assert _kind(problem) == (422, "idempotency-mismatch")

    def test_read_set_and_delete(self, counters: GeneratedClient, name: str) -> None:
        assert _kind(counters("read_counter", name)) == (404, "not-found")
        for value in (MIN, MAX):
            assert counters("set_counter", name, body=counters.models.PutRequest(value)).value == value
            assert counters("read_counter", name).value == value
            assert counters("read_counter", name, if_none_match=f'"{value}"') is None
        problem = counters("set_counter", name, body=counters.models.PutRequest(1), if_match='"7"')
        assert (_kind(problem), problem.current) == ((412, "precondition-failed"), MAX)
        assert counters("delete_counter", name) is None
        assert _kind(counters("delete_counter", name)) == (404, "not-found")

    def test_lists(self, counters: GeneratedClient, name: str) -> None:
        for end in "ab":
            counters("increment_counter", name + end)
        page = counters("list_counters", prefix=name, limit=1)
        assert [counter.name for counter in page.data] == [name + "a"]
        page = counters("list_counters", prefix=name, after=page.data[0].name)
        assert [counter.name for counter in page.data] == [name + "b"]
        assert _kind(counters("list_counters", limit=0)) == (422, "validation")

    def test_batch(self, counters: GeneratedClient, name: str) -> None:
        operation = counters.models.BatchOperation
        operations = [operation(name=name, by=2), operation(name=name, max_=2)]
        one, other = counters("increment_counters", body=counters.models.BatchRequest(operations)).results
        assert (one.name, one.value) == (name, 2)
        assert (_kind(other), other.name, other.current) == ((409, "counter-bound"), name, 2)
        problem = counters("increment_counters", body=counters.models.BatchRequest([]))
        assert _kind(problem) == (422, "validation")

    def test_series(self, counters: GeneratedClient, name: str) -> None:
        hour = counters.models.SeriesUnit.HOUR
        counters("increment_counter", name, body=counters.models.IncrementRequest(by=3, series=[hour]))
        series = counters("read_series", name, unit=hour, last=2)
        assert (series.name, series.unit, len(series.data)) == (name, hour, 2)
        assert sum(bucket.value for bucket in series.data) == 3
        assert _kind(counters("read_series", name, unit=hour, last=0)) == (422, "validation")

    def test_badge(self, counters: GeneratedClient, name: str) -> None:
        counted = counters.models.DrawBadgeHit.TRUE
        picture = counters("draw_badge", name, label="visits", hit=counted)
        assert picture.startswith("<svg")
        assert "visits: 1" in picture
        assert _kind(counters("draw_badge", name, label="x" * 65)) == (422, "validation")

    def test_export_and_import(self, counters: GeneratedClient, name: str) -> None:
        lines = b'{"name":"%b","value":42}\n' % name.encode()
        assert counters("import_counters", body=counters.file(BytesIO(lines))).imported == 1
        assert counters("export_counters", prefix=name).payload.read() == lines
        problem = counters("import_counters", body=counters.file(BytesIO(lines + b"no JSON\n")))
        assert (_kind(problem), problem.line, problem.applied) == ((422, "malformed-json"), 2, 1)
        assert _kind(counters("export_counters", prefix="-")) == (422, "validation")

    def test_uniques(self, counters: GeneratedClient, name: str) -> None:
        member = counters.models.AddMember(member="ada@example.com")
        for _ in range(2):
            assert counters("add_member", name, body=member).value == 1
        assert counters("count_members", name).name == name
        assert counters("delete_members", name) is None
        assert _kind(counters("count_members", name)) == (404, "not-found")
        assert _kind(counters("delete_members", name)) == (404, "not-found")
        assert _kind(counters("add_member", name, body=counters.models.AddMember(""))) == (422, "validation")

    def test_of_the_tutorials(self, counters: GeneratedClient) -> None:
        assert counters("count_visit").current_count < counters("count_visit").current_count
        stats = counters("read_stats")
        assert 0 < sum(stats.replicas.additional_properties.values()) <= stats.total_requests

    def test_fleet(self, counters: GeneratedClient, name: str) -> None:
        counters("increment_counter", name)
        fleet = counters("read_counter_api_fleet")
        assert fleet.replicas[0].seen_at.tzinfo is not None
        assert all(counter.per_second > 0 for counter in fleet.busiest)

    @pytest.mark.anyio
    async def test_asynchronous(self, counters: GeneratedClient) -> None:
        name = f"test:{uuid.uuid4().hex}"
        async with counters.client:
            counter = await counters.functions["increment_counter"].asyncio(name, client=counters.client)
        assert counter.value == 1


def test_the_program_in_the_documentation(
    gateway: str, counters: GeneratedClient, name: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert counters.package.__name__ in sys.modules  # imported by the program
    (program,) = re.findall(r"^```python\n(.+?)^```", GUIDE.read_text(), re.MULTILINE | re.DOTALL)
    here = {"http://127.0.0.1:8080": gateway, "downloads": name, "upload-7": name}
    exec(re.sub("|".join(here), lambda found: here[found[0]], program), {})  # noqa: S102 (our own)
    assert capsys.readouterr().out == "6\n"


def test_every_operation_was_called_and_understands_what_the_gateway_answers(
    users: GeneratedClient, counters: GeneratedClient
) -> None:
    for client in (users, counters):
        assert client.calls.keys() == client.functions.keys() - LEFT_OUT
        for operation in client.calls:
            assert _kind(client.from_a_foreign_page(operation)) == (403, "foreign-page")
