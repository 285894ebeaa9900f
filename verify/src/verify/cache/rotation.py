"""The keys of the cache are rotated: some replicas have the new key already, the others do not."""

import asyncio
import base64
import secrets

from verify.cache.extra_programs import extra_programs
from verify.cache.scene import Scene, let_it_be_read

MIXED = 5.0
"""Seconds with both kinds of replicas."""

PATIENCE = 2.0
"""Seconds that an answer may take beyond the database's time: nothing is down."""


async def rotate(scene: Scene) -> None:
    """Add a replica with the keys NEW,OLD beside those of the stack, which have OLD; then end it."""
    settings = scene.local.settings()
    old = settings["USER_API_CACHE_KEYS"]
    new = base64.b64encode(secrets.token_bytes(32)).decode()
    with scene.tally.patient(PATIENCE):
        async with extra_programs() as extra:
            await extra.replica_beside(scene.local, settings | {"USER_API_CACHE_KEYS": f"{new},{old}"})
            await asyncio.sleep(MIXED)
        await let_it_be_read()  # entries sealed with the new key remain, and no replica has that key
