"""Failures in log lines: what an error says, and one line for a series of them."""

import logging


def first_line(error: BaseException) -> str:
    """The first line of its message; its type if it has none, as time-outs do."""
    return (str(error) or type(error).__name__).splitlines()[0]


class Failures:
    """Of a loop that goes on after each of them: the first failure after a success is logged, the others are not."""

    def __init__(self, log: logging.Logger, consequence: str) -> None:
        """`consequence` is the log line: what does not work until the failures end."""
        self._log = log
        self._consequence = consequence
        self._failing = False

    def add(self, error: Exception) -> None:
        """It failed, with this error."""
        if not self._failing:
            about = {"reason": first_line(error), "error": type(error).__name__}
            self._log.warning(self._consequence, extra=about)
        self._failing = True

    def end(self) -> None:
        """It worked."""
        self._failing = False
