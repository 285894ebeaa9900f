"""What times are measured with."""

from collections.abc import Callable

Clock = Callable[[], float]
"""Seconds of a clock that is never set back."""
