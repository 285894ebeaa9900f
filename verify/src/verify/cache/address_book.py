"""Which user has had which e-mail address, and until when."""

import math
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

from verify.clock import Clock

NOBODY: Final = None
"""Stands in place of a user's id: the address is free."""

Holder = int | None


@dataclass(slots=True)
class _Tenure:
    holder: Holder
    lost: float = math.inf
    """When the end of the holding was known."""


class AddressBook:
    """Filled by the only writer of addresses. During a commit an address has two possible holders."""

    def __init__(self, addresses: Sequence[str], clock: Clock = time.monotonic) -> None:
        """All addresses are free at first."""
        self._clock = clock
        self._tenures = {address: [_Tenure(NOBODY)] for address in addresses}

    @property
    def addresses(self) -> list[str]:
        return list(self._tenures)

    def holder(self, address: str) -> Holder:
        """The holder according to the last known commit."""
        return next(tenure.holder for tenure in self._tenures[address] if tenure.lost == math.inf)

    def free(self) -> list[str]:
        return [address for address in self._tenures if self.holder(address) is NOBODY]

    def taken(self) -> dict[int, str]:
        """The addresses by their holders."""
        holders = ((self.holder(address), address) for address in self._tenures)
        return {holder: address for holder, address in holders if holder is not NOBODY}

    def begun(self, holders: Mapping[str, Holder]) -> None:
        """Note that these may be the holders from now on. To be called before COMMIT."""
        for address, holder in holders.items():
            self._tenures[address].append(_Tenure(holder))

    def committed(self, holders: Mapping[str, Holder]) -> None:
        """Note that these are the only holders. To be called right after COMMIT."""
        now = self._clock()
        for address in holders:
            for tenure in self._tenures[address][:-1]:
                tenure.lost = min(tenure.lost, now)

    def staleness(self, address: str, holder: Holder, asked: float) -> float | None:
        """For how many seconds, at the time of a question, this user had no longer held the address.

        0 if the user still held it; None if the user has never held it.
        """
        lost = max((tenure.lost for tenure in self._tenures[address] if tenure.holder == holder), default=None)
        return None if lost is None else max(0.0, asked - lost)
