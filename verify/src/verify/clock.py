"""The clock of all measurements."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds of a clock that is never set back."""
