"""Measures a service and prints what was found."""

import asyncio
import math
from dataclasses import replace

from verify import progress
from verify.cache.any_service.measurement import Service, measure
from verify.cache.report import ANYWHERE


def run(service: Service, *, as_json: bool) -> int:
    """The exit status; after a signal, 128 and its number, as a shell has it."""
    with progress.shown(ANYWHERE.command) as announce:
        result = asyncio.run(measure(service, announce))
    promised = None if service.within == math.inf else service.within * 1000
    status = replace(ANYWHERE, promises={"promise_ms": promised}).print(result.tallies, as_json=as_json)
    return 128 + result.interrupted if result.interrupted else status
