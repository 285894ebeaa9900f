"""How far a change log has been read, as a string: whose history, which transactions, and what the table was then."""

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
    """Whose history the transaction ids belong to: cluster, database, timeline, log, statistics reset."""

    snapshot: str
    """Which transactions had ended; a `pg_snapshot`."""

    table: str | None
    """Five parts, of which each is another one after what _PARTS tells. None while the table was not to be trusted:
    it equals nothing that comes after it, then."""

    def __str__(self) -> str:
        return f"{self.origin} {self.snapshot} {self.table or '-'}"

    @classmethod
    def parse(cls, state: str) -> Self | None:
        """None for what PostgreSQL could not read, wherever it comes from."""
        match = _STATE.fullmatch(state)
        if match is None:
            return None
        oldest, end = int(match["oldest"]), int(match["end"])
        running = [int(xid) for xid in match["running"].split(",") if xid]
        if not 0 < oldest <= end or running != sorted(running) or not all(oldest <= xid < end for xid in running):
            return None
        return cls(match["origin"], match["snapshot"], None if match["table"] == "-" else match["table"])

    def differs_from(self, earlier: Self) -> str | None:
        """Why what the log says does not lead from there to here, or None."""
        if self.origin != earlier.origin:
            return "the database has another history"
        if earlier.table is None or self.table is None:
            return "changes may have gone unseen before"
        parts = zip(_PARTS, self.table.split("-"), earlier.table.split("-"), strict=True)
        return next((reason for reason, now, then in parts if now != then), None)
