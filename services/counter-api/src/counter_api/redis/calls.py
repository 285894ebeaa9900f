"""What travels to Redis in one round trip: single commands, and batches of operations on one counter."""

from abc import ABC, abstractmethod
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any

from redis.exceptions import ResponseError

from counter_api.problems import NotACounter, NothingApplied
from evenkeel.http.problems import Problem
from evenkeel.redis.scripts import Script
from evenkeel.tasks.failures import first_line

Argument = str | bytes | int


class Sending(ABC):
    """One command under way, sent again until it has a result."""

    changes = True
    """Whether it may write. Those who wait for it then wait for its replication too."""

    def __init__(self, key: str, script: Script | None = None, *, repeatable: bool) -> None:
        """`repeatable`: sent twice it still happens once, so it may be sent again when no answer comes back."""
        self.key = key
        self.script = script
        """What is to be loaded if Redis does not know it."""
        self.repeatable = repeatable
        self.unsure = False
        """Whether an earlier copy may have been executed, or may still be."""
        self.at: str | None = None
        """The address to send it to, if not where its key is."""
        self.asking = False
        """Whether a cluster that is moving the key wants it to be sent to `at`, once."""
        self.trouble = ""
        """Why it has no result yet, as a sentence."""

    @abstractmethod
    def command(self, until: int) -> tuple[Argument, ...]:
        """What to send; `until` is the last moment at which it may be executed, in milliseconds of Redis' clock."""

    @abstractmethod
    def receive(self, reply: Any) -> bool:
        """Take the reply; False asks to be sent again."""

    @abstractmethod
    def fail(self, problem: Callable[[], Problem]) -> None:
        """Have a problem, or one each, for a result."""

    def refused(self, error: ResponseError) -> None:
        """Redis said that it did nothing."""
        code = code_of(error)
        if code == "WRONGTYPE":
            self.fail(NotACounter)
        else:
            self.fail(lambda: NothingApplied(f"Redis refused, so nothing was changed: {code} {sentence(error)}"))


@dataclass(frozen=True, slots=True)
class Call:
    """A command, or what follows the script in EVALSHA: the number of keys, the keys, the arguments."""

    arguments: tuple[Argument, ...]
    script: Script | None = None
    repeatable: bool = False
    at: str | None = None
    """The address of the one server that it concerns, wherever its keys are."""

    @property
    def key(self) -> str:
        """By which it finds its server: the first argument of a command, the first key of a script."""
        key = self.arguments[1] if len(self.arguments) > 1 else ""
        return key if isinstance(key, str) else ""


class SingleCall(Sending):
    def __init__(self, call: Call, *, changes: bool) -> None:
        super().__init__(call.key, call.script, repeatable=call.repeatable)
        self.at = call.at
        self.changes = changes
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


def code_of(error: ResponseError) -> str:
    """The word by which Redis names it, `OOM` for example."""
    return getattr(error, "status_code", None) or str(error).partition(" ")[0]


def sentence(error: Exception) -> str:
    """The first line of what Redis or the system said, as a sentence; never a URL, so never a password."""
    return f"{first_line(error).rstrip('. ')}."
