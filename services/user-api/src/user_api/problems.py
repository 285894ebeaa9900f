"""What can go wrong with users."""

from typing import Any

from evenkeel.problems import NotFound, PreconditionFailed, Problem


class UserNotFound(NotFound):
    slug, title = "user-not-found", "There is no such user"

    def __init__(self, user_id: int) -> None:
        super().__init__(f"There is no user {user_id}.")


class EmailTaken(Problem):
    slug, title, status = "email-taken", "The e-mail address belongs to another user", 409

    def __init__(self) -> None:
        # The address itself stays out of the answer, and so out of whatever logs answers.
        super().__init__("Another user has this e-mail address; letter case does not make it a different one.")


class VersionMismatch(PreconditionFailed):
    """`current` is the version that the user has."""

    def __init__(self, current: int, **members: Any) -> None:
        super().__init__(f"The user is at version {current} now.", current=current, **members)
