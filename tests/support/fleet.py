"""Reading the fleet of a service."""

import asyncio
import json
from collections.abc import AsyncIterator, Callable
from typing import Any

import httpx

Document = dict[str, Any]


async def until(client: httpx.AsyncClient, path: str, right: Callable[[Document], bool]) -> Document:
    """Read the fleet until it is right. The AssertionError after half a minute has the last one."""
    document: Document = {}
    for _ in range(300):
        answer = await client.get(path)
        document = answer.raise_for_status().json()
        if right(document):
            return document
        await asyncio.sleep(0.1)
    raise AssertionError(document)


def states(document: Document) -> dict[str, str]:
    """Of the replicas, by name, in the order of the document."""
    return {replica["name"]: replica["state"] for replica in document["replicas"]}


async def events(response: httpx.Response) -> AsyncIterator[Document]:
    """The documents of a stream, until it ends."""
    async for line in response.aiter_lines():
        if line.startswith("data: "):
            yield json.loads(line.removeprefix("data: "))
