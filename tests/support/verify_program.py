"""The program `verify`, as its users run it."""

import asyncio
import sys
from asyncio.subprocess import PIPE, Process
from pathlib import Path

VERIFY = Path(sys.executable).with_name("verify")


async def started(*arguments: str) -> Process:
    return await asyncio.create_subprocess_exec(VERIFY, *arguments, stdout=PIPE, stderr=PIPE)


async def run(*arguments: str) -> tuple[int, str, str]:
    """Its exit status, and what it has written to standard output and standard error."""
    process = await started(*arguments)
    output, errors = await process.communicate()
    assert process.returncode is not None
    return process.returncode, output.decode(), errors.decode()
