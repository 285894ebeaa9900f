"""The memory that a cached user takes, measured in a separate process: `python benchmarks/run.py --only memory`."""

import gc
import subprocess
import sys
import time

import psutil
from benchmarks.rounds import Options
from benchmarks.serving import ROOT
from benchmarks.users import payload
from prometheus_client import CollectorRegistry

from evenkeel.cache.entry import Entry
from evenkeel.cache.memory_tier import MemoryTier
from evenkeel.cache.metrics import CacheMetrics, Metrics
from user_api.representation import Representation, prepare

ENTRIES = 300_000


def measure(_: Options) -> None:
    counted = subprocess.run(
        [sys.executable, "-m", "benchmarks.footprint"], check=True, cwd=ROOT, capture_output=True, text=True
    )
    print(counted.stdout, end="")


def fill() -> None:
    tier: MemoryTier[Representation | None] = MemoryTier(
        max_entries=ENTRIES, ttl=3600, prepare=prepare, metrics=CacheMetrics(Metrics(CollectorRegistry()), "user")
    )
    tier.trust(time.monotonic() + 3600)
    before = _resident()
    for n in range(ENTRIES):
        key = str(n)
        with tier.reserve([key]) as reservations:
            tier.put(key, Entry(1, payload(n)), 3600, reservations[key])
    assert len(tier) == ENTRIES  # noqa: S101 (else the quotient below would be wrong)
    each = (_resident() - before) / ENTRIES
    body = len(prepare_body(ENTRIES - 1))
    print(f"memory tier: {each:,.0f} bytes an entry, of which {body} are the body of the answer ({ENTRIES:,} entries)")


def prepare_body(n: int) -> bytes:
    ready = prepare(Entry(1, payload(n)))
    assert ready is not None  # noqa: S101 (the user exists)
    return ready.body


def _resident() -> int:
    gc.collect()
    resident: int = psutil.Process().memory_info().rss
    return resident


if __name__ == "__main__":
    fill()
