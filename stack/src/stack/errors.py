"""What the command line turns into one line and an exit status."""


class StackError(Exception):
    """Something a person has to know; the message is complete as it stands."""

    exit_status = 1


class UsageError(StackError):
    """A wrong argument or environment variable."""

    exit_status = 2
