"""The same counter for several workers. The statistics say which worker answered."""

import asyncio
import os

from fastapi import FastAPI

app = FastAPI()
lock = asyncio.Lock()
count = 0


@app.get("/counter")
async def counter() -> dict[str, int]:
    global count
    async with lock:
        count += 1
        return {"current_count": count}


@app.get("/stats")
async def stats() -> dict[str, int]:
    return {"total_requests": count, "worker": os.getpid()}
