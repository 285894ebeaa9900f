"""The keys of the cache are rotated: some replicas have the new one already, the others have not heard of it."""

import asyncio
import base64
import secrets

from verify.cache import own
from verify.cache.scene import Scene, let_it_be_read

MIXED = 5.0
"""Seconds with both kinds of replicas."""

PATIENCE = 2.0
"""Seconds that an answer may take beyond what the database needs, since nothing is down."""


async def rotate(scene: Scene) -> None:
    """A replica with NEW,OLD beside those of the stack, which have OLD; and back."""
    settings = scene.local.settings()
    old = settings["USER_API_CACHE_KEYS"]
    new = base64.b64encode(secrets.token_bytes(32)).decode()
    with scene.tally.patient(PATIENCE):
        async with own.beside() as beside:
            await beside.replica_beside(scene.local, settings | {"USER_API_CACHE_KEYS": f"{new},{old}"})
            await asyncio.sleep(MIXED)
        await let_it_be_read()  # what the new key has sealed is there, and nobody has that key
