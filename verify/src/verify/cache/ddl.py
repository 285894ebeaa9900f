"""Changes of the table itself, which fire none of its triggers, or disable them for a while.

Each gives the users of this run other names under higher versions, so that answers with the former names are stale.
Each is undone: at the end the table has its own columns, triggers and relations again.
"""

from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from typing import Any

from verify.cache.rows import Row
from verify.cache.scene import Scene, let_it_be_read
from verify.cache.sql import UPDATE_MANY, connected, learn

ASIDE = 20
"""How many users are changed, where not all are. Nothing else changes them meanwhile."""

LOGGING = ("user_changes_insert", "user_changes_update", "user_changes_delete")
"""The triggers that log changes. The one that sets versions stays on: without it states could not be told apart."""

REWRITE = """
ALTER TABLE users
    ALTER name TYPE text USING CASE WHEN {ours} THEN upper(name) ELSE name END,
    ALTER version TYPE bigint USING CASE WHEN {ours} THEN version + {step} ELSE version END
"""

INHERIT = """
CREATE TABLE verify_people (id bigint, email text, name text, version bigint);
ALTER TABLE users INHERIT verify_people
"""
DISINHERIT = "ALTER TABLE users NO INHERIT verify_people; DROP TABLE verify_people"

SWAP = """
LOCK TABLE users IN ACCESS EXCLUSIVE MODE;
CREATE TABLE verify_copy (LIKE users INCLUDING ALL);
INSERT INTO verify_copy OVERRIDING SYSTEM VALUE SELECT * FROM users;
UPDATE verify_copy SET name = upper(name), version = version + 1 WHERE {ours};
SELECT setval(pg_get_serial_sequence('verify_copy', 'id'), nextval(pg_get_serial_sequence('users', 'id')));
DO $$ BEGIN EXECUTE (
    SELECT replace(pg_get_triggerdef(oid), ' ON public.users ', ' ON public.verify_copy ')
    FROM pg_trigger WHERE tgrelid = 'users'::regclass AND tgname = 'user_changes_bump'
); END $$;
ALTER TABLE users RENAME TO verify_original;
ALTER TABLE verify_copy RENAME TO users
"""
SWAP_BACK = """
LOCK TABLE users, verify_original IN ACCESS EXCLUSIVE MODE;
ALTER TABLE users RENAME TO verify_copy;
ALTER TABLE verify_original RENAME TO users;
DELETE FROM users WHERE NOT EXISTS (
    SELECT FROM verify_copy WHERE verify_copy.id = users.id AND verify_copy::text = users::text);
INSERT INTO users OVERRIDING SYSTEM VALUE
    SELECT * FROM verify_copy WHERE NOT EXISTS (SELECT FROM users WHERE users.id = verify_copy.id);
SELECT setval(pg_get_serial_sequence('users', 'id'), nextval(pg_get_serial_sequence('verify_copy', 'id')));
DROP TABLE verify_copy
"""

SECOND_COLUMNS = """
ALTER TABLE users
    ADD verify_name text GENERATED ALWAYS AS (CASE WHEN {ours} THEN upper(name) ELSE name END) STORED,
    ADD verify_version bigint GENERATED ALWAYS AS (CASE WHEN {ours} THEN version + 1000 ELSE version END) STORED
"""
RENAME = """
ALTER TABLE users RENAME name TO verify_first_name;
ALTER TABLE users RENAME verify_name TO name;
ALTER TABLE users RENAME version TO verify_first_version;
ALTER TABLE users RENAME verify_version TO version
"""
RENAME_BACK = """
ALTER TABLE users RENAME name TO verify_name;
ALTER TABLE users RENAME verify_first_name TO name;
ALTER TABLE users RENAME version TO verify_version;
ALTER TABLE users RENAME verify_first_version TO version
"""
DROP_SECOND_COLUMNS = "ALTER TABLE users DROP verify_name, DROP verify_version"

FIND_TABLE = "SELECT to_regclass($1) IS NOT NULL"
FIND_COLUMN = "SELECT EXISTS (SELECT FROM pg_attribute WHERE attrelid = 'users'::regclass AND attname = $1)"


async def change_table(scene: Scene) -> None:
    """Run all changes, one after the other. The table is put back even after a failure."""
    async with connected(scene.local.dsn) as connection:
        await connection.execute("SET lock_timeout = '10s'")
        table = _Table(connection, scene)
        await table.put_back()  # a verification that was killed may have left changes
        steps: Sequence[Callable[[], Awaitable[None]]] = (
            *(table.rewrite, table.inherit, table.inherit_for_a_moment, table.swap),
            *(table.log_nothing_for_a_moment, table.log_nothing, table.rename),
        )
        for step in steps:
            try:
                await step()
            finally:
                await table.put_back()


@dataclass(frozen=True)
class _Table:
    connection: Any
    scene: Scene

    async def rewrite(self) -> None:
        await self._execute(REWRITE, step=1)
        await self._read()

    async def inherit(self) -> None:
        """An update of the parent changes the rows of its child, and fires only the parent's statement triggers."""
        await self._execute(INHERIT)
        with self.scene.rows.aside(ASIDE) as aside:
            await self._update("verify_people", aside)
            await self._read()
        await self._execute(DISINHERIT)

    async def inherit_for_a_moment(self) -> None:
        with self.scene.rows.aside(ASIDE) as aside:
            async with self.connection.transaction():
                await self._execute(INHERIT)
                await self._update("verify_people", aside)
                await self._execute(DISINHERIT)
            await self._read()

    async def swap(self) -> None:
        """Another table takes the name."""
        await self._execute(SWAP)
        await self._read()
        await self._execute(SWAP_BACK)

    async def log_nothing_for_a_moment(self) -> None:
        with self.scene.rows.aside(ASIDE) as aside:
            async with self.connection.transaction():
                await self._triggers("DISABLE")
                await self._update("users", aside)
                await self._triggers("ENABLE")
            await self._read()

    async def log_nothing(self) -> None:
        with self.scene.rows.aside(ASIDE) as aside:
            await self._triggers("DISABLE")
            await self._read()
            await self._update("users", aside)
            await self._read()
            await self._triggers("ENABLE")
            await self._read()

    async def rename(self) -> None:
        """Other columns take the names. They cannot be written meanwhile."""
        await self._execute(SECOND_COLUMNS)
        await self._read()
        await self._execute(RENAME)
        await self._read()
        await self._rename_back()
        await self._read()

    async def put_back(self) -> None:
        """Undo every change that is still there."""
        if await self.connection.fetchval(FIND_TABLE, "verify_original"):
            await self._execute(SWAP_BACK)
        if await self.connection.fetchval(FIND_TABLE, "verify_people"):
            await self._execute(DISINHERIT)
        if await self.connection.fetchval(FIND_COLUMN, "verify_first_name"):
            await self._rename_back()
        elif await self.connection.fetchval(FIND_COLUMN, "verify_name"):
            await self._execute(DROP_SECOND_COLUMNS)
        await self._triggers("ENABLE")

    async def _rename_back(self) -> None:
        """The versions become higher than those of the other column: versions never fall."""
        async with self.connection.transaction():
            await self._execute(RENAME_BACK)
            await self._execute(DROP_SECOND_COLUMNS)
            await self._execute(REWRITE, step=2000)

    async def _execute(self, statements: str, *, step: int = 0) -> None:
        """Execute all statements in one transaction, as PostgreSQL does with several in one message."""
        await self.connection.execute(statements.format(ours=f"email LIKE '{self.scene.rows.pattern}'", step=step))

    async def _update(self, table: str, rows: Sequence[Row]) -> None:
        statement = UPDATE_MANY.replace("UPDATE users", f"UPDATE {table}")
        await self.connection.fetch(statement, [row.id for row in rows], self.scene.rows.next_name())

    async def _triggers(self, what: str) -> None:
        await self.connection.execute(f"ALTER TABLE users {', '.join(f'{what} TRIGGER {name}' for name in LOGGING)}")

    async def _read(self) -> None:
        """Note what is committed now, and wait while it is read."""
        await learn(self.connection, self.scene.rows, self.scene.tally)
        await let_it_be_read()
