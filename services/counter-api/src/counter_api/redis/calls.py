"""What travels to Redis in one round trip: single commands, and batches to which several callers contribute."""

from abc import ABC, abstractmethod
from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import dataclass, field
from typing import Any, Protocol

from redis.exceptions import ResponseError

from counter_api.problems import NotACounter, NothingApplied
from evenkeel.http.problems import Problem
from evenkeel.http.request_context import REQUEST_ID
from evenkeel.redis.scripts import Script
from evenkeel.tasks.failures import first_line

Argument = str | bytes | int


class Sending(ABC):
    """One command under way. It is sent again until it has a result."""

    key: str
    """The command goes to the server that has this key."""

    changes = True
    """Whether it may write. If so, its callers also wait for the replicas."""

    repeatable = False
    """Whether a second copy has no effect. If so, it may be sent again when no answer comes."""

    script: Script | None = None
    """What Redis must have loaded."""

    unsure = False
    """Whether an earlier copy may have been executed, or may still be."""

    at: str | None = None
    """The address to send it to, if that is not where its key is."""

    asking = False
    """Whether the next attempt goes to `at` after ASKING, because the cluster is moving the slot."""

    request_ids: Sequence[bytes] = ()
    """Of the requests that wait for it. The lane's task belongs to none of them, so its log lines name them."""

    trouble = ""
    """Why it has no result yet, as a sentence."""

    @abstractmethod
    def command(self, until: int) -> tuple[Argument, ...]:
        """What to send. `until` is the last moment at which it may be executed, in milliseconds of Redis' clock."""

    @abstractmethod
    def receive(self, reply: Any) -> bool:
        """Take the reply. False: it has to be sent again."""

    @abstractmethod
    def fail(self, problem: Callable[[], Problem]) -> None:
        """Set a problem as the result, or one for each caller."""

    def refused(self, error: ResponseError) -> None:
        """Take an error with which Redis says that it did nothing."""
        code = code_of(error)
        if code == "WRONGTYPE":
            self.fail(NotACounter)
        else:
            self.fail(lambda: NothingApplied(f"Redis refused, so nothing was changed: {code} {sentence(error)}"))


@dataclass(frozen=True, slots=True)
class Sender:
    """A queue as the scripts see it. It has one batch of a kind under way at a time, each with a greater number."""

    name: str
    numbers: Iterator[int]


class Batch(Sending):
    """The parts of several callers as one command."""

    @abstractmethod
    def add(self, part: Any) -> Any:
        """Take the part; the place of its result."""

    @abstractmethod
    def result_at(self, place: Any) -> Any:
        """The result of the part for which `add` returned this place."""


class Part(Protocol):
    """One caller's contribution to a batch."""

    @property
    def key(self) -> str:
        """The batch goes to the server that has this key."""
        ...

    @property
    def batch_key(self) -> Hashable:
        """Parts with the same one travel in one batch."""
        ...

    @property
    def weight(self) -> int:
        """Operations, as the bounds of a queue count them."""
        ...

    def begin(self, sender: Sender) -> Batch:
        """A batch for this part and others, still empty."""
        ...


@dataclass(frozen=True, slots=True)
class Call:
    """A command, or what follows the script in EVALSHA: the number of keys, the keys, the arguments."""

    arguments: tuple[Argument, ...]
    script: Script | None = None
    repeatable: bool = False
    at: str | None = None
    """The address of the one server that it is for, wherever its keys are."""
    request_id: bytes | None = field(default_factory=REQUEST_ID.get, compare=False)

    @property
    def key(self) -> str:
        """The first argument of a command, the first key of a script."""
        key = self.arguments[1] if len(self.arguments) > 1 else ""
        return key if isinstance(key, str) else ""


class SingleCall(Sending):
    def __init__(self, call: Call, *, changes: bool) -> None:
        self.key, self.at, self.script, self.repeatable = call.key, call.at, call.script, call.repeatable
        self.changes = changes
        self.request_ids = () if call.request_id is None else (call.request_id,)
        self._command = call.arguments if call.script is None else ("EVALSHA", call.script.sha, *call.arguments)
        self.result: Any = None
        """The reply, or the problem that came instead."""

    def command(self, until: int) -> tuple[Argument, ...]:  # noqa: ARG002 (a command without a deadline)
        return self._command

    def receive(self, reply: Any) -> bool:
        self.result = reply
        return True

    def fail(self, problem: Callable[[], Problem]) -> None:
        self.result = problem()


def checked(reply: Any) -> Any:
    """The reply; raise the problem that came instead."""
    if isinstance(reply, Problem):
        raise reply
    return reply


def code_of(error: ResponseError) -> str:
    """The first word of Redis' error, such as `OOM`."""
    return getattr(error, "status_code", None) or str(error).partition(" ")[0]


def sentence(error: Exception) -> str:
    """The first line of what Redis or the system said, as a sentence. It has no URL, and so no password."""
    return f"{first_line(error).rstrip('. ')}."
