"""`verify cache --target` against replicas that break their promises on purpose, one each."""

import asyncio
import json
import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import pytest
from tests.support import fake_http, verify_program

from verify.cache.asker import is_marked_stale
from verify.cache.open_loop import Rates
from verify.cache.verification import CachePlan, verify
from verify.deployment import Elsewhere

pytestmark = pytest.mark.anyio

User = dict[str, Any]
State = tuple[float, User | None]
"""Since when the user has been in that state; None: not there."""


@dataclass
class Question:
    user_id: int
    headers: dict[str, str]
    states: list[State]
    """Of that user, oldest first; the last one is the truth."""
    everything: dict[int, list[State]] = field(repr=False)

    def before(self, seconds: float) -> User | None:
        """The state that many seconds ago."""
        then = time.monotonic() - seconds
        return [user for since, user in self.states if since <= then or user is self.states[0][1]][-1]

    @property
    def is_plain(self) -> bool:
        return not {"min-version", "cache-control"} & self.headers.keys()

    @property
    def truth(self) -> User | None:
        return self.states[-1][1]


Answer = Callable[[Question], tuple[User | None, str]]
"""A replica's answer, and its Cache-Status."""


def honest(question: Question) -> tuple[User | None, str]:
    return question.truth, "memory; fwd=stale; stored"


def a_moment_late(question: Question) -> tuple[User | None, str]:
    late = question.is_plain and random.random() < 0.5
    return (question.before(0.3) if late else question.truth), "memory; hit"


def three_seconds_late(question: Question) -> tuple[User | None, str]:
    return question.before(3 if question.is_plain else 0), "memory; hit"


def three_seconds_late_and_saying_so(question: Question) -> tuple[User | None, str]:
    return question.before(3), "redis; hit; stale, memory; fwd=bypass"


def deaf_to_min_version(question: Question) -> tuple[User | None, str]:
    return question.before(0.5 if "min-version" in question.headers else 0), "memory; hit"


def deaf_to_no_cache(question: Question) -> tuple[User | None, str]:
    return question.before(0.5 if "cache-control" in question.headers else 0), "memory; hit"


def late_for_its_own_writers(question: Question) -> tuple[User | None, str]:
    return question.before(0.1 if question.is_plain else 0), "memory; hit"


def confused(question: Question) -> tuple[User | None, str]:
    others = [states[-1][1] for states in question.everything.values() if states[-1][1]]
    return (random.choice(others) if random.random() < 0.1 else question.truth), "memory; hit"


READ_ELSEWHERE = {a_moment_late, three_seconds_late}
"""Reads and writes have different X-Served-By here, so no read counts as one of the writer's own."""


class Replica:
    """Keeps users in a dict, and answers reads by the given function."""

    def __init__(self, answer: Answer) -> None:
        self._answer = answer
        self._users: dict[int, list[State]] = {}

    def respond(self, request: fake_http.Request) -> fake_http.Answer:
        status, cache_status, document = self._respond(request.method, request.path, request.headers, request.document)
        served_by = "reader" if request.method == "GET" and self._answer in READ_ELSEWHERE else "writer"
        return fake_http.Answer(
            status, document or None, (f"X-Served-By: {served_by}", f"Cache-Status: {cache_status}")
        )

    def _respond(self, method: str, path: str, headers: dict[str, str], body: User) -> tuple[int, str, User]:
        if "?ids=" in path:
            answers = {int(text): self._ask(int(text), headers) for text in path.partition("=")[2].split(",")}
            document = {
                "data": [user for user, _ in answers.values() if user],
                "missing": [user_id for user_id, (user, _) in answers.items() if not user],
            }
            return 200, next(iter(answers.values()))[1], document
        if method == "POST":
            user_id = len(self._users) + 1
            self._users[user_id] = [(time.monotonic(), body | {"id": user_id, "version": 1})]
            return 201, "", self._users[user_id][0][1] or {}
        user_id = int(path.rpartition("/")[2])
        if method == "GET":
            user, status = self._ask(user_id, headers)
            return (200, status, {"source": "memory", "data": user}) if user else (404, status, {})
        current = self._users[user_id][-1][1]
        if current is None:
            return 404, "", {}
        new = current | body | {"version": current["version"] + 1} if method == "PATCH" else None
        self._users[user_id].append((time.monotonic(), new))
        return (200, "", new) if new else (204, "", {})

    def _ask(self, user_id: int, headers: dict[str, str]) -> tuple[User | None, str]:
        if user_id not in self._users:
            return None, ""
        return self._answer(Question(user_id, headers, self._users[user_id], self._users))


async def _verify(answer: Answer, *, seconds: int) -> dict[str, Any]:
    """What a phase of load alone finds, without a process of its own."""
    plan = CachePlan(["none"], seconds, users=20, rates=Rates(reads=300, writes=40))
    async with fake_http.answering(Replica(answer).respond) as url:
        [tally] = await verify(Elsewhere([url]), plan, lambda *_: None)
    return tally.as_dict()


async def test_an_honest_replica_passes() -> None:
    async with fake_http.answering(Replica(honest).respond) as url:
        status, output, errors = await verify_program.run(
            *("cache", "--target", url, "--seconds", "2", "--users", "20", "--reads", "300", "--writes", "40", "--json")
        )
    assert (status, errors) == (0, "verify cache: none …\n")
    document = json.loads(output)
    [phase] = document["phases"]
    assert (document["ok"], phase["problems"], phase["stale"], phase["marked_stale"]) == (True, [], 0, 0)
    assert phase["reads"] > 100
    assert phase["own_reads"] > 20
    assert phase["writes"] > 20
    assert phase["errors"] == {}


async def test_a_broken_promise_is_the_exit_status() -> None:
    async with fake_http.answering(Replica(confused).respond) as url:
        status, output, _ = await verify_program.run(
            "cache", "--target", url, "--seconds", "1", "--users", "20", "--json"
        )
    assert (status, json.loads(output)["ok"]) == (1, False)


async def test_staleness_within_the_promise_passes_and_is_measured() -> None:
    phase = await _verify(a_moment_late, seconds=2)
    assert phase["problems"] == []
    assert phase["stale_share"] > 0.01
    assert 100 < phase["staleness_ms"]["max"] < 400


@pytest.mark.parametrize(
    ("answer", "breach", "seconds"),
    [
        (three_seconds_late, "late", 4),
        (deaf_to_min_version, "min-version", 2),
        (deaf_to_no_cache, "no-cache", 2),
        (late_for_its_own_writers, "own-write", 1),
        (confused, "foreign", 1),
    ],
)
async def test_a_broken_promise_is_found(answer: Answer, breach: str, seconds: int) -> None:
    phase = await _verify(answer, seconds=seconds)
    assert list(phase["breaches"]) == [breach]
    assert phase["problems"]
    assert phase["examples"][0].startswith(f"{breach}: ")


async def test_what_is_marked_stale_may_be_late_but_not_older_than_min_version() -> None:
    phase = await _verify(three_seconds_late_and_saying_so, seconds=4)
    assert phase["marked_stale"] > 100
    assert list(phase["breaches"]) == ["min-version"]
    assert phase["problems"]
    assert phase["stale"] == 0


async def test_silence_proves_nothing() -> None:
    async with await asyncio.start_server(lambda _, writer: writer.close(), "127.0.0.1", 0) as server:
        port = server.sockets[0].getsockname()[1]
        status, output, errors = await verify_program.run("cache", "--target", f"http://127.0.0.1:{port}")
    assert (status, output) == (1, "")
    assert errors.startswith("verify: 300 of 300 users could not be made: ")
    assert errors.count("\n") == 1


@pytest.mark.parametrize(
    ("cache_status", "marked"),
    [
        ("", False),
        ("memory; hit; ttl=1", False),
        ("redis; fwd=stale; stored, memory; fwd=uri-miss", False),
        ("redis; hit; ttl=-5; stale, memory; fwd=uri-miss", True),
        ("redis; fwd=uri-miss, memory; hit; stale", True),
        ("memory; hit; stale; detail=x", True),
        ("memory; hit; detail=stale", False),
    ],
)
async def test_the_mark_is_a_parameter_of_its_own(cache_status: str, *, marked: bool) -> None:
    assert is_marked_stale(cache_status) is marked
