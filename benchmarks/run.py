"""Side-by-side measurements, for the goals of docs/performance.md.

One server process runs on one core; the load, PostgreSQL and Redis run on another. Compare ratios only, because rates
depend on the machine. Ratios are of the server's CPU time for a request, unless a line says otherwise. Let the machine
do nothing else meanwhile.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import (
    at_rest,
    bulk,
    counters,
    database,
    footprint,
    growth,
    hits,
    inserts,
    releases,
    scale,
    staleness,
    tails,
    traces,
)
from benchmarks.goals import NOISE
from benchmarks.rounds import Options

PARTS: dict[str, tuple[str, Callable[[Options], None]]] = {
    "hits": ("Cached reads", hits.measure),
    "database": ("Reads from PostgreSQL, cold reads, writes", database.measure),
    "counters": ("Counters", counters.measure),
    "rest": ("At rest", at_rest.measure),
    "growth": ("A thousand times as many users", growth.measure),
    "memory": ("Process memory", footprint.measure),
    "inserts": ("What the change log costs writers", inserts.measure),
    "tails": ("The slowest answers to a mixed load", tails.measure),
    "traces": ("What traces cost", traces.measure),
    "bulk": ("Large changes", bulk.measure),
    "scale": ("Fleets", scale.measure),
    "staleness": ("Stale answers of five caches", staleness.measure),
}


LEFT_OUT = {"bulk", "scale", "staleness"}
"""Parts that run only when they are named: the first takes an hour, the second all cores, the third writes a page."""


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument(
        "--only", choices=PARTS, action="append", help="a part; all but bulk, scale and staleness by default"
    )
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=1.5, help="of load, per contestant and round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--short", action="store_true", help="of bulk, scale and staleness: a minute instead of many")
    parser.add_argument("--against", metavar="REF", help="measure this commit as well, in the same rounds")
    arguments = parser.parse_args()
    options = Options(
        arguments.rounds,
        arguments.seconds,
        arguments.connections,
        short=arguments.short,
        against=releases.at(arguments.against) if arguments.against else None,
    )
    print(
        f"A figure that is up to {NOISE:.0%} short of its goal counts as met, because repeated runs differ by so much."
    )
    for name in arguments.only or [name for name in PARTS if name not in LEFT_OUT]:
        title, measure = PARTS[name]
        print(f"\n## {title}\n", flush=True)
        measure(options)


if __name__ == "__main__":
    main()
