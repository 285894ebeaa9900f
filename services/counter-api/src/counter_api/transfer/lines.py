"""A body in lines, as it arrives."""

from collections.abc import AsyncIterable, AsyncIterator


async def lines(chunks: AsyncIterable[bytes], *, longest: int) -> AsyncIterator[bytes]:
    """The lines without their ends, blank ones included; the last one may lack its end.

    Of a line with more than `longest` bytes there may come a part only, which is longer than `longest` as well.
    """
    rest = b""
    async for chunk in chunks:
        *whole, rest = (rest + chunk).split(b"\n")
        for line in whole:
            yield line
        if len(rest) > longest:
            # Whoever reads the lines has to stop here, so nothing more of this one is kept.
            yield rest
            return
    if rest:
        yield rest
