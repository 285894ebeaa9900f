"""Names in their order, in the memory of one process."""

from bisect import bisect_left, bisect_right, insort
from collections.abc import Iterator

LARGEST = 1000
"""Names of one block. To add a name moves half of them, which takes a microsecond."""


class SortedNames:
    """Blocks of names, each sorted and all in order. A block that gets too large becomes two."""

    def __init__(self) -> None:
        self._blocks: list[list[str]] = []
        self._firsts: list[str] = []
        """The first name of each block when the block was made. All later names of the block come after it."""

    def add(self, name: str) -> None:
        """The name must not be there yet."""
        if not self._blocks:
            self._blocks, self._firsts = [[]], [""]
        place = self._block(name)
        block = self._blocks[place]
        insort(block, name)
        if len(block) > LARGEST:
            half = len(block) // 2
            self._blocks[place : place + 1] = [block[:half], block[half:]]
            self._firsts.insert(place + 1, block[half])

    def remove(self, name: str) -> None:
        """The name must be there."""
        place = self._block(name)
        block = self._blocks[place]
        del block[bisect_left(block, name)]
        # The first block stays, for names before all others.
        if not block and place:
            del self._blocks[place], self._firsts[place]

    def behind(self, after: str, *, prefix: str) -> Iterator[str]:
        """Names after `after` that begin with the prefix. No name may be added or removed meanwhile."""
        if not self._blocks:
            return
        begin = max(after, prefix)
        place = self._block(begin)
        block = self._blocks[place]
        at = (bisect_right if after >= prefix else bisect_left)(block, begin)
        while True:
            for name in block[at:]:
                if not name.startswith(prefix):
                    return
                yield name
            place, at = place + 1, 0
            if place == len(self._blocks):
                return
            block = self._blocks[place]

    def _block(self, name: str) -> int:
        return bisect_right(self._firsts, name) - 1
