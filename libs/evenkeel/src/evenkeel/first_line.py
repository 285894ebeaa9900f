"""What an error says, where there is one line for it."""


def first_line(error: BaseException) -> str:
    """The first line of its message; its type if it has none, as time-outs do."""
    return (str(error) or type(error).__name__).splitlines()[0]
