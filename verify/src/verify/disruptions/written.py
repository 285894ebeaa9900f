"""Values that one client alone writes."""


class Written:
    """A number to which its only writer adds one at a time: a counter, or the version of a user.

    So each answer shows whether an earlier write was lost or done twice.
    """

    def __init__(self, value: int) -> None:
        self._first = self._last = value
        self._acknowledged = 0
        self._unknown = 0

    def failed(self) -> None:
        """A write got no answer that says whether it was done. It may also be done later."""
        self._unknown += 1

    def answered(self, value: int) -> tuple[int, int]:
        """A write was answered with this value. Return how many writes that shows as lost, and as doubled."""
        self._acknowledged += 1
        lost = max(self._last + 1 - value, 0)
        doubled = max(value - self._first - self._acknowledged - self._unknown, 0)
        if lost or doubled:  # counted, so the next answer is judged from here
            self._first, self._acknowledged, self._unknown = value, 0, 0
        self._last = value
        return lost, doubled
