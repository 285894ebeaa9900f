"""What the clients of `verify counters` repeat, what they do not, and what they record."""

import contextlib
import time
from collections.abc import Iterator

import pytest
from tests.support.fake_http import Answer, Request, answering

from stack.layout import free_port
from verify.counters import client as clients
from verify.counters.client import Client
from verify.counters.history import History
from verify.counters.operation import Increment, Operation
from verify.counters.tally import CountersTally
from verify.target import FixedTargets, Target

pytestmark = pytest.mark.anyio

UNAVAILABLE = Answer(503, {"status": 503})


def one(value: int) -> Answer:
    return Answer(200, {"name": "a", "value": value})


class Scripted:
    """Gives one answer after the other, and keeps the requests."""

    def __init__(self, *answers: Answer) -> None:
        self._answers = iter(answers)
        self.requests: list[Request] = []

    def respond(self, request: Request) -> Answer:
        self.requests.append(request)
        return next(self._answers)


@contextlib.contextmanager
def at(url: str) -> Iterator[Target]:
    target = Target.at("fake", url)
    with contextlib.closing(target.pool):
        yield target


@pytest.fixture
def tally() -> CountersTally:
    return CountersTally("none")


@pytest.fixture
def history() -> History:
    return History("a")


async def count(
    url: str, operation: Operation, tally: CountersTally, *, first: str = "", cut_first: bool = False
) -> None:
    with at(url) as target, at(first or url) as first_target:
        await Client("run", FixedTargets([target])).count(operation, first_target, tally, cut_first=cut_first)


async def test_with_a_key_until_it_is_answered(history: History, tally: CountersTally) -> None:
    service = Scripted(UNAVAILABLE, Answer(504, {"status": 504}), one(3))
    began = time.monotonic()
    async with answering(service.respond) as url:
        await count(url, Operation([Increment(history, 3)], key="k"), tally)
    [counted] = history.counted
    assert (counted.value, counted.by, history.unknown) == (3, 3, [])
    assert began <= counted.began < began + 0.02 < counted.ended
    assert (tally.increments, tally.acknowledged, tally.retried, tally.unknown) == (1, 1, 2, 0)
    assert {request.headers["idempotency-key"] for request in service.requests} == {"k"}
    assert [request.document for request in service.requests] == [{"by": 3}] * 3
    assert len({request.headers["x-request-id"] for request in service.requests}) == 3


async def test_without_a_key_once(history: History, tally: CountersTally) -> None:
    service = Scripted(UNAVAILABLE)
    async with answering(service.respond) as url:
        await count(url, Operation([Increment(history)]), tally)
    assert (history.counted, len(history.unknown)) == ([], 1)
    assert (tally.acknowledged, tally.unknown, tally.retried) == (0, 1, 0)


async def test_without_a_key_again_where_nobody_had_listened(history: History, tally: CountersTally) -> None:
    asked = time.monotonic()
    async with answering(Scripted(one(1)).respond) as url:
        await count(url, Operation([Increment(history)]), tally, first=f"http://127.0.0.1:{free_port()}")
    [counted] = history.counted
    assert (counted.began > asked + 0.01, history.unknown) == (True, [])  # after the first pause
    assert (tally.retried, dict(tally.errors)) == (1, {"POST refused": 1})


async def test_elsewhere_when_a_replica_is_silent(
    history: History, tally: CountersTally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "KEYED_TIMEOUT", 0.1)
    async with (
        answering(lambda _: None) as silent,
        answering(Scripted(one(1)).respond) as url,
    ):
        await count(url, Operation([Increment(history)], key="k"), tally, first=silent)
    assert (len(history.counted), dict(tally.errors)) == (1, {"POST TimeoutError": 1})


async def test_what_is_never_answered_is_a_breach(
    history: History, tally: CountersTally, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(clients, "PATIENCE", 0.2)
    async with answering(lambda _: UNAVAILABLE) as url:
        await count(url, Operation([Increment(history, 2)], key="k"), tally)
    assert dict(tally.breaches) == {"unanswered": 1}
    assert (len(history.unknown), tally.unknown) == (2, 1)


async def test_a_client_that_hangs_up_asks_again_with_the_key(history: History, tally: CountersTally) -> None:
    service = Scripted(one(1), one(1))
    async with answering(service.respond) as url:
        await count(url, Operation([Increment(history)], key="k"), tally, cut_first=True)
    assert (tally.cut, tally.retried, tally.acknowledged) == (1, 1, 1)


async def test_a_client_that_hangs_up_without_a_key_knows_nothing(history: History, tally: CountersTally) -> None:
    async with answering(Scripted(one(1)).respond) as url:
        await count(url, Operation([Increment(history)]), tally, cut_first=True)
    assert (tally.cut, tally.unknown, len(history.unknown)) == (1, 1, 1)


def batch(*values: int | None) -> Answer:
    results = [{"status": 503} if value is None else {"name": "a", "value": value} for value in values]
    return Answer(200, {"results": results})


async def test_of_a_batch_what_is_not_answered_is_unknown(history: History, tally: CountersTally) -> None:
    async with answering(Scripted(batch(1, None, 2)).respond) as url:
        await count(url, Operation([Increment(history)] * 3, is_batch=True), tally)
    assert ([each.value for each in history.counted], len(history.unknown)) == ([1, 2], 1)
    assert (tally.increments, tally.acknowledged, tally.unknown) == (3, 2, 1)


async def test_a_batch_with_a_key_goes_on_where_it_was(history: History, tally: CountersTally) -> None:
    again = batch(1, 3, 2)
    again.headers = ("Idempotency-Replayed: true",)
    async with answering(Scripted(batch(1, None, 2), again).respond) as url:
        await count(url, Operation([Increment(history)] * 3, is_batch=True, key="k"), tally)
    assert [each.value for each in history.counted] == [1, 2, 3]
    assert history.counted[0].ended < history.counted[2].ended
    assert (tally.acknowledged, tally.replayed, dict(tally.breaches)) == (3, 1, {})


@pytest.mark.parametrize(
    ("answer", "value", "breach"),
    [
        (one(7), 7, None),
        (Answer(404, {"status": 404}), 0, None),
        (UNAVAILABLE, None, None),
        (Answer(200, {"name": "b", "value": 7}), None, "foreign"),
        (Answer(200, {"name": "a", "value": "7"}), None, "unexpected"),
        (Answer(200, {"name": "a", "value": True}), None, "unexpected"),
        (Answer(200), None, "unexpected"),
        (Answer(418, {"status": 418}), None, "unexpected"),
    ],
)
async def test_reads(
    history: History, tally: CountersTally, answer: Answer, value: int | None, breach: str | None
) -> None:
    async with answering(lambda _: answer) as url:
        with at(url) as target:
            assert await Client("run", FixedTargets([target])).read(history, target, tally) == value
    assert [each.value for each in history.seen] == ([] if value is None else [value])
    assert dict(tally.breaches) == ({breach: 1} if breach else {})
