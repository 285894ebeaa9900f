"""What can go wrong with users."""

import json
from typing import Any

from evenkeel.cache.errors import Busy, LoadError
from evenkeel.http.idempotency import REPLAYED
from evenkeel.http.problems import NotFound, PreconditionFailed, Problem, Unavailable


class UserNotFound(NotFound):
    slug, title = "user-not-found", "There is no such user"

    def __init__(self, user_id: int) -> None:
        super().__init__(f"There is no user {user_id}.")


class NobodyHasEmail(UserNotFound):
    def __init__(self) -> None:
        # Without the address, which must not get into logs of answers.
        NotFound.__init__(self, "No user has this e-mail address.")


class EmailTaken(Problem):
    slug, title, status = "email-taken", "The e-mail address belongs to another user", 409

    def __init__(self) -> None:
        # Without the address, for the same reason.
        super().__init__("Another user has this e-mail address; letter case does not make it a different one.")


class VersionMismatch(PreconditionFailed):
    """`Min-Version` names a later version than `current`, which the user has."""

    def __init__(self, current: int, **members: Any) -> None:
        super().__init__(f"The user is at version {current} now.", current=current, **members)


class StateMismatch(PreconditionFailed):
    """`If-Match` or `If-None-Match` does not hold; `current` is the version that the user has."""

    def __init__(self, current: int) -> None:
        super().__init__(
            f"The user's entity tag does not meet the precondition; the user is at version {current} now.",
            current=current,
        )


class ReplayedRefusal(Problem):
    """A request that was refused under an Idempotency-Key is refused again, with the same document."""

    slug, title, status = "replayed", "A refusal that was given before", 409

    def __init__(self, body: str) -> None:
        self._document: dict[str, Any] = json.loads(body)
        super().__init__(self._document["detail"], headers=REPLAYED)

    def document(self) -> dict[str, Any]:
        return self._document


class DatabaseUnavailable(Unavailable):
    """PostgreSQL, which all replicas share, does not work. Another replica would answer the same, seconds later."""

    def __init__(self, detail: str) -> None:
        super().__init__(detail)
        # Envoy does not repeat a request whose answer has this field (docs: "x-envoy-ratelimited"), and removes it.
        self.headers["X-Envoy-RateLimited"] = "true"


def unavailable(error: LoadError, *, write: bool = False) -> Unavailable:
    """The problem to answer with. For a `write`, its detail says whether the change may have taken effect."""
    detail = str(error)
    if write and error.begun:
        detail += " Whether the change took effect is not known: read again before you repeat it."
    elif write:
        detail += " Nothing was changed."
    return Unavailable(detail) if isinstance(error, Busy) else DatabaseUnavailable(detail)
