"""How far a change log has been read: which history, which transactions, and what the table was then."""

import re
from dataclasses import dataclass
from typing import Self

_STATE = re.compile(
    r"(?P<origin>[0-9A-F-]+) "
    r"(?P<snapshot>(?P<oldest>[0-9]{1,19}):(?P<end>[0-9]{1,19}):(?P<running>(?:[0-9]{1,19}(?:,[0-9]{1,19})*)?)) "
    r"(?P<table>-|[0-9a-f]{1,16}(?:-[0-9a-f]{1,16}){4})"
)

_PARTS = (
    "the table's name stands for another table",
    "the table was rewritten or emptied",
    "the table's columns or its name were altered",
    "the triggers were altered",
    "the log was rewritten",
)


@dataclass(frozen=True, slots=True)
class ChangeState:
    """As text `<origin> <snapshot> <table>`."""

    origin: str
    """The history that the transaction ids belong to: cluster, database, timeline, log, statistics reset."""

    snapshot: str
    """Which transactions had ended, as a `pg_snapshot`."""

    table: str | None
    """Five parts, each of which changes after what _PARTS names. None if the table was not to be trusted. That never
    equals a later state."""

    def __str__(self) -> str:
        return f"{self.origin} {self.snapshot} {self.table or '-'}"

    @classmethod
    def parse(cls, state: str) -> Self | None:
        """None for text that PostgreSQL could not read."""
        match = _STATE.fullmatch(state)
        if match is None:
            return None
        oldest, end = int(match["oldest"]), int(match["end"])
        running = [int(xid) for xid in match["running"].split(",") if xid]
        if not 0 < oldest <= end or running != sorted(running) or not all(oldest <= xid < end for xid in running):
            return None
        return cls(match["origin"], match["snapshot"], None if match["table"] == "-" else match["table"])

    def differs_from(self, earlier: Self) -> str | None:
        """Why the log does not lead from the earlier state to this one; None if it does."""
        if self.origin != earlier.origin:
            return "the database has another history"
        if earlier.table is None or self.table is None:
            return "changes may have gone unseen before"
        parts = zip(_PARTS, self.table.split("-"), earlier.table.split("-"), strict=True)
        return next((reason for reason, now, then in parts if now != then), None)
