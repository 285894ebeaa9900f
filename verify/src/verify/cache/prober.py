"""Sends requests to user-api and judges the answers."""

import json
import time
from dataclasses import dataclass
from typing import Any

from verify.cache.address_book import AddressBook
from verify.cache.asker import Asker, is_marked_stale
from verify.cache.rows import ForeignAnswer, Row, Rows
from verify.cache.staleness import Position, deleted
from verify.cache.tally import CacheTally
from verify.clock import Clock
from verify.connection import Reply
from verify.target import Target


class Prober(Asker):
    """Every method sends one request and adds the result to a tally. None raises because of an answer."""

    def __init__(self, rows: Rows, clock: Clock = time.monotonic) -> None:
        super().__init__(clock)
        self._rows = rows

    async def create(self, target: Target, tally: CacheTally) -> Row | None:
        """A new user; None unless it was acknowledged."""
        serial, name = self._rows.next_serial(), self._rows.next_name()
        reply = await self._write(target, tally, "POST", "/v1/users", {"email": self._rows.email(serial), "name": name})
        if reply is None or reply.status != 201:
            return None
        user = reply.json()
        row = Row(user["id"], serial)
        self._acknowledged(row, user, tally)
        self._rows.add(row)
        return row

    async def patch(self, target: Target, row: Row, tally: CacheTally) -> "Written | None":
        """Change the user; None unless it was acknowledged."""
        reply = await self._write(
            target, tally, "PATCH", f"/v1/users/{row.id}", {"name": self._rows.next_name()}, tolerated=404
        )
        if reply is None or reply.status != 200:
            return None
        position = self._acknowledged(row, reply.json(), tally)
        self._rows.touch(row)
        return Written(position, reply.headers.get("x-served-by", "")) if position else None

    async def delete(self, target: Target, row: Row, tally: CacheTally) -> "Written | None":
        """Delete the user; None unless it was acknowledged."""
        self._rows.remove(row)
        row.deletes_sent.add(row.generation)
        reply = await self._write(target, tally, "DELETE", f"/v1/users/{row.id}", tolerated=404)
        if reply is None or reply.status != 204:
            return None
        row.history.committed(deleted(row.generation), self._clock())
        self._rows.touch(row)
        tally.writes += 1
        return Written(deleted(row.generation), reply.headers.get("x-served-by", ""))

    async def read(self, target: Target, row: Row, tally: CacheTally) -> None:
        await self._judged(target, row, tally, {})

    async def read_from_database(self, target: Target, row: Row, tally: CacheTally) -> None:
        """Read with `no-cache`: the answer must not be stale at all."""
        answer = await self._judged(target, row, tally, {"cache-control": "no-cache"})
        if answer and not answer.marked and answer.staleness > 0:
            tally.breach("no-cache", answer.what)

    async def read_min_version(self, target: Target, row: Row, tally: CacheTally) -> None:
        """Read with `Min-Version`, the newest known version: no older one may be the answer."""
        generation, version = row.history.latest
        if row.deletes_sent or not generation:
            return
        answer = await self._judged(target, row, tally, {"min-version": f"{version:.0f}"}, refused=412)
        if answer and not row.deletes_sent and answer.position < (generation, version):
            tally.breach("min-version", f"{answer.what}, asked for {version:.0f}")

    async def read_own(self, target: Target, row: Row, tally: CacheTally, *, written: Position, served_by: str) -> None:
        """Check that the replica that has just acknowledged a write of this prober returns it."""
        answer = await self._judged(target, row, tally, {})
        if answer and answer.served_by == served_by and not answer.marked:
            tally.own += 1
            if answer.position < written:
                tally.own_stale += 1
                if tally.strict:
                    tally.breach("own-write", answer.what)

    async def read_ahead(self, target: Target, tally: CacheTally) -> None:
        """An id that no user is known to have."""
        user_id = self._rows.id_ahead()
        asked = self._clock()
        reply = await self._ask(target, tally, "GET", f"/v1/users/{user_id}")
        row = self._rows.find(user_id)
        if reply is not None and row is not None:
            self._judge(reply, row, asked, tally)

    async def read_many(self, target: Target, rows: list[Row], tally: CacheTally) -> None:
        """Read a batch; its answers do not name their source."""
        wanted = {row.id: row for row in rows}
        asked = self._clock()
        reply = await self._ask(target, tally, "GET", f"/v1/users?ids={','.join(map(str, wanted))}")
        if reply is None:
            return
        if reply.status != 200:
            tally.errors[f"batch read {reply.status}"] += 1
            return
        document = reply.json()
        users: dict[int, dict[str, Any] | None] = dict.fromkeys(document["missing"])
        users |= {user["id"]: user for user in document["data"]}
        if users.keys() != wanted.keys():
            tally.breach("foreign", f"asked for the users {sorted(wanted)}, {target.name} answered {sorted(users)}")
            return
        for user_id, user in users.items():
            self._judge_user(reply, wanted[user_id], user, "batch", asked, tally)

    async def read_by_email(self, target: Target, book: AddressBook, address: str, tally: CacheTally) -> None:
        """Look up the user who has that address, if any."""
        asked = self._clock()
        reply = await self._ask(target, tally, "GET", f"/v1/users?email={address}")
        if reply is None:
            return
        if reply.status not in {200, 404}:
            tally.errors[f"read by e-mail {reply.status}"] += 1
            return
        source: str = "missing"
        user: dict[str, Any] = {"id": None, "email": address}
        if reply.status == 200:
            try:
                document = reply.json()
                source, user = document["source"], {name: document["data"][name] for name in ("id", "email")}
            except (ValueError, KeyError, TypeError):
                tally.breach("foreign", f"{target.name} answered {address} with {reply.body[:100]!r}")
                return
        status = reply.headers.get("cache-status", "")
        what = f"{target.name} answered {address} with user {user['id']} ({source}: {status})"
        staleness = book.staleness(address, user["id"], asked)
        if staleness is None or user["email"] != address:
            tally.breach("foreign", f"{what}, who had another address: {user}")
        elif is_marked_stale(status):
            tally.marked += 1
        else:
            tally.fresh(source, staleness, what)

    async def _judged(
        self, target: Target, row: Row, tally: CacheTally, headers: dict[str, str], *, refused: int | None = None
    ) -> "_Answer | None":
        asked = self._clock()
        reply = await self._ask(target, tally, "GET", f"/v1/users/{row.id}", headers)
        if reply is None:
            return None
        if reply.status == refused and not row.deletes_sent:
            tally.breach("min-version", f"{target.name} refused {headers} for user {row.id}")
            return None
        return self._judge(reply, row, asked, tally)

    def _judge(self, reply: Reply, row: Row, asked: float, tally: CacheTally) -> "_Answer | None":
        if reply.status == 404:
            return self._judge_user(reply, row, None, "missing", asked, tally)
        if reply.status != 200:
            tally.errors[f"read {reply.status}"] += 1
            return None
        document = reply.json()
        return self._judge_user(reply, row, document["data"], document["source"], asked, tally)

    def _judge_user(
        self, reply: Reply, row: Row, user: dict[str, Any] | None, source: str, asked: float, tally: CacheTally
    ) -> "_Answer | None":
        try:
            position = self._rows.position(row, user) if user else row.absent()
        except ForeignAnswer as foreign:
            tally.breach("foreign", str(foreign))
            return None
        served_by, status = reply.headers.get("x-served-by", ""), reply.headers.get("cache-status", "")
        state = f"version {position[1]:.0f} of generation {position[0]}" if user else "missing"
        answer = _Answer(
            position,
            row.history.staleness(position, asked),
            marked=is_marked_stale(status),
            served_by=served_by,
            what=f"{served_by} answered user {row.id} as {state} ({source}: {status or 'no Cache-Status'})",
        )
        if user:  # it was read, so it is committed, whether its writer got an answer or not
            row.history.committed(position, self._clock())
        if answer.marked:
            tally.marked += 1
        else:
            tally.fresh(source, answer.staleness, answer.what)
        return answer

    async def _write(
        self,
        target: Target,
        tally: CacheTally,
        method: str,
        path: str,
        document: dict[str, str] | None = None,
        *,
        tolerated: int | None = None,
    ) -> Reply | None:
        body = json.dumps(document).encode() if document else b""
        reply = await self._ask(target, tally, method, path, {"content-type": "application/json"}, body)
        if reply is not None and reply.status >= 400 and reply.status != tolerated:
            tally.errors[f"{method} {reply.status}"] += 1
        return reply

    def _acknowledged(self, row: Row, user: dict[str, Any], tally: CacheTally) -> Position | None:
        tally.writes += 1
        try:
            position = self._rows.position(row, user)
        except ForeignAnswer as foreign:
            tally.breach("foreign", str(foreign))
            return None
        row.history.committed(position, self._clock())
        return position


@dataclass(frozen=True, slots=True)
class Written:
    """A write that was acknowledged, and the replica that acknowledged it."""

    position: Position
    served_by: str


@dataclass(frozen=True, slots=True)
class _Answer:
    position: Position
    staleness: float
    marked: bool
    served_by: str
    what: str
