"""A body split into lines as it arrives."""

from collections.abc import AsyncIterable, AsyncIterator


async def lines(chunks: AsyncIterable[bytes], *, longest: int) -> AsyncIterator[bytes]:
    """The lines without their ends, blank ones included. The last line may lack its end.

    A line with more than `longest` bytes may come in part only, and then it is the last. The part too is longer than
    `longest`.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > longest:
            # The reader stops here, so no more of this line is kept.
            yield rest
            return
    if rest:
        yield rest
