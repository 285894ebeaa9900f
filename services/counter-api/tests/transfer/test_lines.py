from collections.abc import AsyncIterator

import pytest

from counter_api.transfer.lines import lines

pytestmark = pytest.mark.anyio


@pytest.mark.parametrize("size", [1, 2, 3, 7, 100])
async def test_lines(size: int) -> None:
    async def chunks() -> AsyncIterator[bytes]:
        for begin in range(0, len(text), size):
            yield text[begin : begin + size]

    for text in (b"", b"\n", b"a", b"a\n", b"a\n\nbc\r\n d", b"\n\n\n", b"abcdef\nghi"):
        expected = text.split(b"\n") if not text.endswith(b"\n") else text.split(b"\n")[:-1]
        assert [line async for line in lines(chunks(), longest=10)] == ([] if text == b"" else expected)


async def test_of_a_line_that_is_too_long_only_a_part_is_kept() -> None:
    taken = 0

    async def chunks() -> AsyncIterator[bytes]:
        nonlocal taken
        yield b"a\n"
        while True:
            taken += 1
            yield b"x" * 10

    assert [line async for line in lines(chunks(), longest=25)] == [b"a", b"x" * 30]
    assert taken == 3
