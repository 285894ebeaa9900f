"""What a replica has imported once it is ready."""

import asyncio
import os
import signal
import subprocess
import sys
from collections.abc import Mapping
from pathlib import Path

import httpx

from stack.layout import free_port


async def imported_by(program: str, environment: Mapping[str, str]) -> set[str]:
    """The modules that `PROGRAM serve` has imported until it is ready. RuntimeError if it ends before."""
    port = free_port()
    prefix = program.replace("-", "_").upper()
    # Python writes each import to standard error as it happens.
    running = subprocess.Popen(  # noqa: ASYNC220 (communicate() runs in a thread)
        [sys.executable, "-X", "importtime", str(Path(sys.executable).with_name(program)), "serve"],
        env={"PATH": os.environ["PATH"], f"{prefix}_PORT": str(port), **environment},
        stderr=subprocess.PIPE,
        text=True,
    )
    lines = asyncio.create_task(asyncio.to_thread(running.communicate))
    try:
        async with httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}") as client:
            while not await _is_ready(client):
                if running.poll() is not None:
                    raise RuntimeError(f"{program} has ended")
                await asyncio.sleep(0.05)
    finally:
        running.send_signal(signal.SIGINT)
        _, written = await lines
    return {line.rpartition("|")[2].strip() for line in written.splitlines() if line.startswith("import time:")}


async def _is_ready(client: httpx.AsyncClient) -> bool:
    try:
        return (await client.get("/readyz")).is_success
    except httpx.TransportError:
        return False
