"""The problems of uniques."""

from evenkeel.http.problems import NotFound, Problem


class UniquesNotFound(NotFound):
    def __init__(self, name: str) -> None:
        super().__init__(f"No member was ever added to {name}.")


class NotUniques(Problem):
    """Another program wrote something under the key."""

    slug, title, status = "not-uniques", "What is stored there counts no unique members", 409

    def __init__(self) -> None:
        super().__init__("The key holds data that is no HyperLogLog; nothing was changed.")


class UniquesOff(Problem):
    """Members are hashed under a key that all replicas share, and the settings have none."""

    slug, title, status = "uniques-off", "Unique members are not counted here", 501

    def __init__(self) -> None:
        super().__init__(
            "Set COUNTER_API_UNIQUES_KEY to the same 32 random bytes in base64 for every replica; members are hashed "
            "under it."
        )
