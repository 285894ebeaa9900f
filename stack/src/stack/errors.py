"""Errors that the command line prints as one line, with an exit status."""


class StackError(Exception):
    """A failure whose message needs no explanation."""

    exit_status = 1


class UsageError(StackError):
    """A wrong argument or environment variable."""

    exit_status = 2
