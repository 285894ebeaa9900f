"""`verify cache --read …` against services that a test invents."""

import asyncio
import json
import signal
import time
from collections.abc import AsyncIterator, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any
from urllib.parse import unquote

import pytest
from click.testing import CliRunner
from tests.support import fake_http, verify_program

from verify.cache.any_service import measurement
from verify.cache.any_service.prober import Requests, ServiceProber, Way, writing
from verify.cache.any_service.records import Records
from verify.cache.any_service.templates import Template, ValuePath
from verify.cache.rows import ForeignAnswer
from verify.cache.staleness import NEVER
from verify.cache.tally import CacheTally
from verify.cli import main
from verify.connection import NO_ANSWER, Connection, Reply
from verify.target import Target

pytestmark = pytest.mark.anyio


OLD = {"1": "Ada", "2": 'Grace "Amazing" Hopper', "no/3": None, "4": 41, "5": "Not to be touched"}


@dataclass
class Service:
    """Notes in a dict. Reads are so many seconds late, as if a cache had answered."""

    late: float = 0
    status: int = 200
    """Of writes. The change is made anyway."""
    refused: int = 0
    """How many writes come without an effect and are answered with 503."""
    states: dict[str, list[tuple[float, Any]]] = field(default_factory=dict)
    requests: list[fake_http.Request] = field(default_factory=list)
    """Writes."""
    mine: bool = False
    """Whether another program has just written the record."""

    def __post_init__(self) -> None:
        self.states = {record: [(0.0, value)] for record, value in OLD.items()}

    @property
    def now(self) -> dict[str, Any]:
        return {record: states[-1][1] for record, states in self.states.items()}

    def respond(self, request: fake_http.Request) -> fake_http.Answer:
        record = unquote(request.path.removeprefix("/notes/"))
        if record not in self.states:
            return fake_http.Answer(404, {})
        if request.method == "GET" and self.mine:
            return fake_http.Answer(200, {"data": {"text": "Mine"}})
        if request.method == "GET":
            seen = [value for since, value in self.states[record] if since <= time.monotonic() - self.late]
            return fake_http.Answer(200, {"data": {"id": record, "text": seen[-1], "tags": [[]]}})
        self.requests.append(request)
        if self.refused > 0:
            self.refused -= 1
            return fake_http.Answer(503, {})
        self.states[record].append((time.monotonic(), request.document["text"]))
        return fake_http.Answer(self.status, {})


@pytest.fixture
async def service() -> Service:
    return Service()


@pytest.fixture
async def url(service: Service) -> AsyncIterator[str]:
    async with fake_http.answering(service.respond) as address:
        yield address


def _arguments(url: str, **others: str) -> list[str]:
    """Correct ones, except for the others."""
    given = {
        "ids": "1,2,no/3,4",
        "read": f"GET {url}/notes/{{id}}",
        "write": f'PATCH {url}/notes/{{id}} {{"text": "{{value}}"}}',
        "value": "data.text",
        "seconds": "1",
        "quiet": "0.5",
        "rate": "200",
    }
    return [word for name, value in (given | others).items() if value for word in (f"--{name}", value)]


async def _start(*arguments: str) -> asyncio.subprocess.Process:
    return await verify_program.started("cache", "--json", *arguments)


async def _measure(*arguments: str) -> tuple[int, dict[str, dict[str, Any]]]:
    """The exit status, and the phases by their names."""
    process = await _start(*arguments)
    output, errors = await process.communicate()
    assert output, errors.decode()
    return process.returncode or 0, {phase["phase"]: phase for phase in json.loads(output)["phases"]}


async def test_an_exact_service_has_no_stale_answer_and_its_values_back(service: Service, url: str) -> None:
    async with fake_http.answering(service.respond) as replica:
        status, phases = await _measure(*_arguments(url), "--replica", replica, "--header", "X-Key: s3cret")
    assert (status, list(phases)) == (0, ["none"])
    assert (phases["none"]["stale"], phases["none"]["errors"], phases["none"]["own_stale"]) == (0, {}, 0)
    assert phases["none"]["reads"] > 100
    assert phases["none"]["writes"] > 10
    assert service.now == OLD
    assert {type(value) for _, value in service.states["4"]} == {int}
    assert len(service.states["5"]) == 1
    assert len({request.headers["host"] for request in service.requests}) == 2  # both addresses
    assert {request.headers["x-key"] for request in service.requests} == {"s3cret"}


async def test_late_answers_and_a_fault_that_fails(service: Service, url: str, tmp_path: Path) -> None:
    service.late = 0.4
    fault = ("--fault", "x=echo no >&2; exit 3", "--heal", f"x=touch {tmp_path}/healed")
    status, phases = await _measure(*_arguments(url, ids="1", quiet="1"), "--within", "0.3", *fault)
    staleness = phases["none"]["staleness_ms"]
    assert 300 < staleness["max"] <= 400
    assert phases["none"]["stale"] > 20
    assert (status, list(phases["none"]["breaches"])) == (1, ["late"])
    assert phases["x"]["problems"][-1] == (
        "the fault could not be injected: 'echo no >&2; exit 3' ended with status 3: no"
    )
    assert (tmp_path / "healed").exists()
    assert service.now == OLD


async def test_a_value_that_another_program_has_written_is_noticed(service: Service, url: str) -> None:
    process = await _start(*_arguments(url, ids="1"))
    while not service.requests:  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.01)
    service.mine = True
    await asyncio.sleep(0.3)
    service.mine = False
    output, _ = await process.communicate()
    [phase] = json.loads(output)["phases"]
    assert (process.returncode, list(phase["breaches"])) == (1, ["foreign"])
    assert phase["examples"][0] == "foreign: 1 was answered with 'Mine', which this run has not written there"


@pytest.fixture
def hang_up() -> Iterator[None]:
    """Programs that the test starts take SIGHUP, even if the tests run under nohup."""
    before = signal.signal(signal.SIGHUP, signal.SIG_DFL)
    yield
    signal.signal(signal.SIGHUP, before)


@pytest.mark.usefixtures("hang_up")
@pytest.mark.parametrize(
    "number", [signal.SIGTERM, *(pytest.param(each, marks=pytest.mark.slow) for each in (signal.SIGINT, signal.SIGHUP))]
)
async def test_a_signal_heals_and_writes_the_old_values_back(
    service: Service, url: str, tmp_path: Path, number: signal.Signals
) -> None:
    process = await _start(
        *_arguments(url, quiet="0"),
        *(
            "--fault",
            f"broken=touch {tmp_path}/broken; echo output",
            "--heal",
            f"broken=sleep 0.3; touch {tmp_path}/healed",
        ),
        *("--fault", f"never=touch {tmp_path}/never"),
    )
    while not (tmp_path / "broken").exists():  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.05)
    service.refused = 3  # so the first attempt to write back fails
    for _ in range(2):  # the second signal changes nothing
        process.send_signal(number)
        await asyncio.sleep(0.1)
    output, errors = await process.communicate()
    assert service.now == OLD
    assert (tmp_path / "healed").exists()
    assert not (tmp_path / "never").exists()
    assert process.returncode == 128 + number
    assert b"writing the old values back" in errors
    phases = {phase["phase"]: phase["problems"] for phase in json.loads(output)["phases"]}
    assert phases == {"none": [], "broken": ["it was interrupted"]}


@pytest.mark.usefixtures("hang_up")
async def test_under_nohup_a_closed_terminal_ends_nothing(service: Service, url: str) -> None:
    signal.signal(signal.SIGHUP, signal.SIG_IGN)
    process = await _start(*_arguments(url))
    while not service.requests:  # noqa: ASYNC110 (another process)
        await asyncio.sleep(0.01)
    process.send_signal(signal.SIGHUP)
    output, _ = await process.communicate()
    assert (process.returncode, json.loads(output)["ok"]) == (0, True)
    assert service.now == OLD


def _notes(url: str) -> tuple[ServiceProber, Target]:
    read = Template.read(f"GET {url}/notes/{{id}}")
    write = Template.write(f'PUT {url}/notes/{{id}} {{"text": "{{value}}"}}')
    return ServiceProber(Requests(read, write, ValuePath("data.text")), None), Target.at(url, url)


async def test_values_that_cannot_be_written_back_are_printed(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(measurement, "WRITE_BACK_WITHIN", 0.3)
    service.refused = 10
    end = CacheTally("end", strict=False)
    prober, target = _notes(url)
    records = Records("run", {"1": "Ada", "2": "Grace"})
    records.next_value(next(iter(records)), end)
    await measurement._write_back(prober, records, [Way(target, target)], end)
    target.pool.close()
    assert end.failure == 'these old values could not be written back (1 PUT 503): {"1": "Ada"}'


async def test_a_service_that_hangs_keeps_the_end_waiting_once(monkeypatch: pytest.MonkeyPatch) -> None:
    """However many records there are: each request may take ten seconds."""
    monkeypatch.setattr(measurement, "WRITE_BACK_WITHIN", 0.3)
    end = CacheTally("end", strict=False)
    records = Records("run", {str(number): "Ada" for number in range(100)})
    for record in records:
        records.next_value(record, end)
    async with fake_http.answering(lambda _: None) as url:
        prober, target = _notes(url)
        async with asyncio.timeout(9):
            await measurement._write_back(prober, records, [Way(target, target)], end)
        target.pool.close()
    assert end.failure is not None
    assert json.loads(end.failure.partition("(no answer): ")[2]) == {record.id: "Ada" for record in records}


async def test_a_write_that_is_committed_after_the_first_write_back(
    service: Service, url: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A frozen service commits what it had received when it goes on."""
    monkeypatch.setattr(measurement, "LATE", 0.3)
    end = CacheTally("end", strict=False)
    prober, target = _notes(url)
    records = Records("run", {"1": "Ada", "2": 'Grace "Amazing" Hopper'})
    [ada, grace] = records
    records.next_value(grace, end)
    value, position = records.next_value(ada, end)
    ada.unsettled.add(position)
    writing_back = asyncio.create_task(measurement._write_back(prober, records, [Way(target, target)], end))
    while len(service.requests) < 2:  # noqa: ASYNC110 (the service is a task of this loop)
        await asyncio.sleep(0.01)
    service.states["1"].append((time.monotonic(), value))
    await writing_back
    target.pool.close()
    assert (service.now, end.failure) == (OLD, None)
    assert len(service.requests) == 3, f"{grace.id} has no such write"


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"ids": "1,9"}, "--ids: GET {url}/notes/9 was answered with 404"),
        ({"value": "data.name"}, "--value: there is no data.name in the answer to GET {url}/notes/1"),
        ({"value": "data.tags"}, "--value: data.tags of 1 is neither text nor a whole number: [[]]"),
        ({"value": "data.tags.1"}, "--value: there is no data.tags.1 in the answer to GET {url}/notes/1"),
    ],
)
async def test_what_cannot_be_read_is_not_written(
    service: Service, url: str, wrong: dict[str, str], sentence: str
) -> None:
    ended = await asyncio.to_thread(CliRunner().invoke, main, ["cache", *_arguments(url, **wrong)])
    assert (ended.exit_code, ended.stderr) == (2, f"verify: {sentence.format(url=url)}\n")
    assert service.requests == []


WRONG = {
    "these options are needed too: --read, --value": {"read": "", "value": ""},
    "these options are needed too: --ids": {"ids": ""},
    "--ids must be different ids": {"ids": "1,2,1"},
    "--read must be like 'GET http": {"read": "http://127.0.0.1/notes/{id}"},
    "--read: {id} is missing": {"read": "GET http://127.0.0.1/notes/1"},
    "--read: 'ftp://x/{id}' is not a URL": {"read": "GET ftp://x/{id}"},
    "--write must begin with PATCH, POST or PUT": {"write": "DELETE http://127.0.0.1/{id}"},
    "--write: {id} is missing": {"write": 'PUT http://127.0.0.1/ {"text": "{value}"}'},
    "--write: the body must be JSON": {"write": 'PUT http://127.0.0.1/{id} {"text": "Ada {value}"}'},
    "--write: the body must be JSON with": {"write": 'PUT http://127.0.0.1/{id} {"text": "Ada"}'},
    "--value must be names": {"value": "data..name"},
    "--replica must be a URL": {"replica": "http://127.0.0.1:1/notes"},
    "--header must be like 'Name: value'": {"header": "s3cret"},
    "--fault must be like NAME=COMMAND": {"fault": "killed"},
    "--fault: 'none' is the name of another phase": {"fault": "none=true"},
    "--heal: there is no --fault y=": {"fault": "x=true", "heal": "y=true"},
    "--sql-read needs --sql": {"sql-read": "SELECT 1 WHERE {id} = 1"},
    "--reads is for Evenkeel's own services": {"reads": "5"},
    "--faults is for Evenkeel's own services": {"faults": "none"},
    "invalid value for '--rate'": {"rate": "0"},
}


@pytest.mark.parametrize("sentence", WRONG)
async def test_wrong_arguments_are_one_sentence(sentence: str) -> None:
    """No service listens at this port, so this also shows that nothing is sent."""
    ended = CliRunner().invoke(main, ["cache", *_arguments("http://127.0.0.1:1", **WRONG[sentence])])
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert sentence in ended.stderr
    assert ended.stderr.count("\n") == 1
    assert "s3cret" not in ended.stderr


def test_a_url_without_a_path() -> None:
    """A request line with `?id=1` alone is no HTTP."""
    assert Template.read("GET http://h?id={id}").filled("1")[0] == "/?id=1"
    assert Template.write("POST http://h?id={id}&to={value}").filled("1", "x")[0] == "/?id=1&to=x"


async def test_a_service_that_does_not_answer() -> None:
    ended = await asyncio.to_thread(CliRunner().invoke, main, ["cache", *_arguments("http://127.0.0.1:1")])
    assert ended.exit_code == 1
    assert "GET http://127.0.0.1:1/notes/1: " in ended.stderr


TALLY = CacheTally("none", strict=False)


class TestTemplates:
    def test_a_value_keeps_its_type_and_an_id_is_quoted(self) -> None:
        template = Template.write('PUT http://h:1/a/{id}?x=1 {"id": "{id}", "a": ["{value}"], "b": {value}}')
        assert (template.method, template.server) == ("PUT", "http://h:1")
        path, body = template.filled('a/"b', 'say "{id}"')
        assert path == "/a/a%2F%22b?x=1"
        assert json.loads(body) == {"id": 'a/"b', "a": ['say "{id}"'], "b": 'say "{id}"'}
        assert json.loads(template.filled("1", 7)[1])["a"] == [7]
        assert json.loads(template.filled("1", None)[1])["b"] is None

    def test_a_value_in_the_url_needs_no_body(self) -> None:
        template = Template.write("PUT http://h:1/user/{id}?name={value}")
        assert template.filled("1", "a {id}&b") == ("/user/1?name=a%20%7Bid%7D%26b", b"")

    def test_a_value_in_a_list(self) -> None:
        assert ValuePath.parse("data.0.name").of({"data": [{"name": "Ada"}]}) == "Ada"


class TestRecords:
    def test_values_are_unique_and_ascend(self) -> None:
        records = Records("run", {"1": "Ada", "2": "Grace"})
        [ada, grace] = records
        first, second, third = (records.next_value(record, TALLY) for record in (ada, grace, ada))
        assert len({first[0], second[0], third[0]}) == 3
        assert first[1] < second[1] < third[1]
        assert (ada.position(third[0]), ada.position("Ada")) == (third[1], NEVER)
        for foreign in (second[0], "Grace", None, ["x"]):
            with pytest.raises(ForeignAnswer):
                ada.position(foreign)

    def test_an_old_answer_counts_for_the_phase_whose_write_it_lacks(self) -> None:
        records = Records("run", {"1": "Ada"})
        [ada] = records
        earlier, later = (CacheTally(name, strict=False) for name in ("none", "sql"))
        _, first = records.next_value(ada, earlier)
        _, second = records.next_value(ada, later)
        ada.history.committed(first, 10)
        ada.history.committed(second, 20)
        assert ada.blamed(NEVER, later) is earlier
        assert ada.blamed(first, earlier) is later
        assert ada.blamed(second, later) is later

    def test_a_record_has_one_writer(self) -> None:
        records = Records("run", {"1": "Ada"})
        [ada] = records
        assert records.free() is ada
        with writing(ada):
            assert records.free() is None
        assert records.free() is ada


@pytest.mark.parametrize(
    ("head", "body"),
    [
        ("Transfer-Encoding: chunked", b'3;x=1\r\n{"a\r\n5\r\n": 1}\r\n0\r\nX: y\r\n\r\n'),
        ("Content-Length: 8", b'{"a": 1}'),
    ],
)
async def test_bodies_of_both_kinds(head: str, body: bytes) -> None:
    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        for _ in range(2):
            await reader.readuntil(b"\r\n\r\n")
            writer.write(f"HTTP/1.1 200 OK\r\n{head}\r\n\r\n".encode() + body)
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        Connection(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection,
    ):
        assert [(await connection.request("GET", "/")).json() for _ in range(2)] == [{"a": 1}, {"a": 1}]


async def _answers(sent: bytes) -> list[bytes]:
    """The bodies of two replies that a server sends like this. It closes the connection after each."""

    async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        await reader.readuntil(b"\r\n\r\n")
        writer.write(sent)
        writer.close()

    async with (
        await asyncio.start_server(serve, "127.0.0.1", 0) as server,
        Connection(f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}") as connection,
    ):
        return [(await connection.request("GET", "/")).body for _ in range(2)]


@pytest.mark.parametrize(
    "sent",
    [
        b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\n\r\nbody",
        b"HTTP/1.0 200 OK\r\nContent-Length: 4\r\n\r\nbody",
        b"HTTP/1.1 103 x\r\nLink: x\r\n\r\nHTTP/1.1 200\r\nContent-Length: 4\r\nConnection: close\r\n\r\nbody",
    ],
)
async def test_answers_of_older_servers_and_of_newer_ones(sent: bytes) -> None:
    assert await _answers(sent) == [b"body", b"body"]


@pytest.mark.parametrize("sent", [b"nonsense\r\n\r\n", b"HTTP/1.1\r\n\r\n", b"HTTP/1.1 x\r\n\r\n", b"\r\n\r\n", b"x"])
async def test_nonsense_is_no_answer(sent: bytes) -> None:
    with pytest.raises(NO_ANSWER):
        await _answers(sent)


async def test_json_that_is_too_deep_is_none() -> None:
    with pytest.raises(ValueError, match="deep"):
        Reply(200, {}, b"[" * 100_000).json()
