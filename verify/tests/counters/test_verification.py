"""`verify counters --target` against services that break one promise each, most of them a single time."""

import contextlib
import json
import time
from typing import Any

import pytest
from tests.support import verify_program
from tests.support.fake_http import Answer, Request, answering

from verify.counters.verification import CountersPlan, verify
from verify.deployment import Elsewhere

pytestmark = pytest.mark.anyio

AFTER = 60
"""Increments of one counter, or reads, before something goes wrong."""


class Service:
    """Counts right. Its subclasses each do something wrong."""

    hasty = False
    operations = 1500
    """So many that the error happens."""

    def __init__(self) -> None:
        self.values: dict[str, int] = {}
        self.answered: dict[tuple[str, str, int], int] = {}
        self.wrongs = 0

    def respond(self, request: Request) -> Answer:
        name = request.path.split("/")[3].removesuffix("/increment") if "batch" not in request.path else ""
        if request.method == "GET":
            value = self.read(name)
            return Answer(200, {"name": name, "value": value}) if value else Answer(404, {"status": 404})
        if request.method == "DELETE":
            return Answer(204)
        operations = request.document["operations"] if not name else [{"name": name, "by": 1} | request.document]
        key = request.headers.get("idempotency-key", "")
        results = self.count_all([(each["name"], each["by"]) for each in operations], key)
        marks = ("Idempotency-Replayed: true",) if any(replayed for _, replayed in results) else ()
        documents = [
            {"name": each["name"], "value": value} for each, (value, _) in zip(operations, results, strict=True)
        ]
        return Answer(200, documents[0] if name else {"results": documents}, marks)

    def count_all(self, increments: list[tuple[str, int]], key: str) -> list[tuple[int, bool]]:
        return [self.count_once(name, by, key, place) for place, (name, by) in enumerate(increments)]

    def count_once(self, name: str, by: int, key: str, place: int) -> tuple[int, bool]:
        record = (name, key, place)
        if key and record in self.answered:
            return self.answered[record], True
        value = self.answered[record] = self.count(name, by)
        return value, False

    def count(self, name: str, by: int) -> int:
        self.values[name] = self.values.get(name, 0) + by
        return self.values[name]

    def read(self, name: str) -> int:
        return self.values.get(name, 0)

    def once(self, condition: object) -> bool:
        """The first time that the condition holds."""
        return self.thrice(condition) and self.wrongs == 1

    def thrice(self, condition: object) -> bool:
        """The first times that the condition holds; the client may hang up on one of them."""
        self.wrongs += bool(condition)
        return bool(condition) and self.wrongs <= 3

    def is_exact(self, name: str) -> bool:
        """Whether the counter has counted for a while, and no outcome will remain unknown."""
        return "cut" not in name and self.values.get(name, 0) > AFTER


class Loses(Service):
    def count(self, name: str, by: int) -> int:
        value = super().count(name, by)
        if self.once(self.is_exact(name)):
            self.values[name] -= by
        return value


class LosesItsLastState(Service):
    """Loses values, as a crash without a log does."""

    def count(self, name: str, by: int) -> int:
        if self.once(self.is_exact(name)):
            self.values[name] -= 7
        return super().count(name, by)


class Doubles(Service):
    def count(self, name: str, by: int) -> int:
        if self.once(self.is_exact(name)):
            super().count(name, by)
        return super().count(name, by)


class ForgetsKeys(Service):
    def count_once(self, name: str, by: int, key: str, place: int) -> tuple[int, bool]:
        self.answered.clear()
        return super().count_once(name, by, key, place)


class ForgetsToMarkReplays(Service):
    def count_once(self, name: str, by: int, key: str, place: int) -> tuple[int, bool]:
        return super().count_once(name, by, key, place)[0], False


class ReplaysThePresentValue(Service):
    def count_once(self, name: str, by: int, key: str, place: int) -> tuple[int, bool]:
        value, replayed = super().count_once(name, by, key, place)
        return self.values[name] if replayed else value, replayed


class Reorders(Service):
    """Leaves one value out, and answers it long after later ones."""

    left: tuple[str, float] | None = None
    value = 0

    def count(self, name: str, by: int) -> int:
        if by == 1 and self.once(self.is_exact(name)):
            self.value, self.left = super().count(name, by), (name, time.monotonic() + 0.05)
        elif by == 1 and self.left and self.left[0] == name and time.monotonic() > self.left[1]:
            self.left = None
            return self.value
        return super().count(name, by)


class ReadsThePast(Service):
    def __init__(self) -> None:
        super().__init__()
        self.past: dict[str, tuple[float, int]] = {}

    def read(self, name: str) -> int:
        since, value = self.past.get(name, (0, 0))
        if time.monotonic() - since > 0.05:
            self.past[name] = time.monotonic(), super().read(name)
        return value


class ReadsTheMiddle(Service):
    def __init__(self) -> None:
        super().__init__()
        self.last_by: dict[str, int] = {}

    def count(self, name: str, by: int) -> int:
        self.last_by[name] = by
        return super().count(name, by)

    def read(self, name: str) -> int:
        middle = self.last_by.get(name, 1) - 1
        return super().read(name) - (middle if self.once(middle and self.is_exact(name)) else 0)


class MixesUpCounters(Service):
    def respond(self, request: Request) -> Answer:
        answer = super().respond(request)
        if answer.status == 200 and "name" in answer.document and self.thrice(self.is_exact(answer.document["name"])):
            answer.document["name"] = "another"
        return answer


class MixesUpCallers(Service):
    caller = ""

    def respond(self, request: Request) -> Answer:
        answer = super().respond(request)
        before, self.caller = self.caller, request.headers.get("x-request-id", "")
        wrong = "name" in (answer.document or {}) and self.thrice(self.is_exact(answer.document["name"]))
        request_id = before if wrong else self.caller
        return Answer(answer.status, answer.document, (*answer.headers, f"X-Request-Id: {request_id}"))


class CountsBatchesBackwards(Service):
    def count_all(self, increments: list[tuple[str, int]], key: str) -> list[tuple[int, bool]]:
        places = reversed(list(enumerate(increments)))
        return [self.count_once(name, by, key, place) for place, (name, by) in places][::-1]


class Stumbles(Service):
    def respond(self, request: Request) -> Answer:
        if self.thrice(sum(self.values.values()) > 5 * AFTER):
            return Answer(500, {"status": 500})
        return super().respond(request)


class CountsHalfARequest(Service):
    hasty = True
    operations = 8000

    def respond(self, request: Request) -> Answer:
        with contextlib.suppress(json.JSONDecodeError):
            return super().respond(request)
        if self.once("plain" in request.path):
            self.count(request.path.split("/")[3], 1)
        return Answer(200)


async def _verify(service: Service) -> dict[str, Any]:
    """What a phase of load alone finds, without a process of its own."""
    plan = CountersPlan(["none"], service.operations, clients=8)
    async with answering(service.respond, hasty=service.hasty) as url:
        [tally] = await verify(Elsewhere([url]), plan, lambda *_: None)
    return tally.as_dict()


@pytest.mark.parametrize("phase", ["none", "disconnects"])
async def test_a_right_service_passes(phase: str) -> None:
    async with answering(Service().respond) as url:
        status, output, errors = await verify_program.run(
            *("counters", "--target", url, "--faults", phase, "--operations", "1500", "--clients", "8", "--json")
        )
    assert (status, errors) == (0, f"verify counters: {phase} …\n")
    document: dict[str, Any] = json.loads(output)
    [found] = document["phases"]
    assert (document["ok"], found["problems"], found["examples"], found["errors"]) == (True, [], [], {})
    assert found["increments"] + found["reads"] >= 1500
    assert found["acknowledged"] + found["unknown"] == found["increments"]
    assert found["unknown_applied"] <= found["unknown"]
    assert found["reads"] > 50
    assert found["cut"] > (100 if phase == "disconnects" else 5)
    assert found["replayed"] > 5


@pytest.mark.parametrize(
    ("service", "breaches"),
    [
        (Loses, {"lost"}),
        (LosesItsLastState, {"lost"}),
        (Doubles, {"doubled"}),
        (ForgetsKeys, {"doubled", "replay"}),
        (ForgetsToMarkReplays, {"replay"}),
        (ReplaysThePresentValue, {"replay"}),
        (Reorders, {"disorder"}),
        (ReadsThePast, {"disorder"}),
        (ReadsTheMiddle, {"torn"}),
        (MixesUpCounters, {"foreign"}),
        (MixesUpCallers, {"foreign"}),
        (CountsBatchesBackwards, {"batch-order"}),
        (Stumbles, {"unexpected"}),
        (CountsHalfARequest, {"doubled"}),
    ],
)
async def test_a_broken_promise_is_found(service: type[Service], breaches: set[str]) -> None:
    found = await _verify(service())
    assert breaches <= set(found["breaches"]), found
    assert found["problems"]
    assert found["examples"]


async def test_the_table_names_what_is_wrong() -> None:
    service = Doubles()
    async with answering(service.respond) as url:
        status, output, _ = await verify_program.run(
            "counters", "--target", url, "--operations", "1000", "--clients", "8"
        )
    none, disconnects = output.splitlines()[1:3]
    assert (status, none.split()[0], disconnects.split()[0]) == (1, "none", "disconnects")
    assert int(none.split()[-2]) > 0
    assert disconnects.split()[-3:] == ["0", "0", "0"]
    assert "\nnone: " in output
    assert "units are in the values that no increment made" in output


async def test_the_counters_are_deleted() -> None:
    deleted = set()

    def respond(request: Request) -> Answer:
        if request.method == "DELETE":
            deleted.add(request.path)
        return service.respond(request)

    service = Service()
    async with answering(respond) as url:
        await verify_program.run("counters", "--target", url, "--operations", "500")
    assert {f"/v1/counters/{name}" for name in service.values} == deleted


async def test_silence_proves_nothing() -> None:
    async with answering(lambda _: Answer(503, {"status": 503})) as url:
        status, output, errors = await verify_program.run("counters", "--target", url)
    assert (status, output) == (1, "")
    assert errors == f"verify: {url} does not answer a read of a counter: GET 503\n"
