"""Side-by-side measurements, for the goals of docs/performance.md.

One server process runs on one core; the load, PostgreSQL and Redis run on another. Compare ratios only, because rates
depend on the machine. Let the machine do nothing else meanwhile.
"""

import argparse
import sys
from collections.abc import Callable
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))

from benchmarks import bulk, counters, footprint, growth, inserts, rates
from benchmarks.rounds import Options

PARTS: dict[str, tuple[str, Callable[[Options], None]]] = {
    "rates": ("Rates", rates.measure),
    "counters": ("Counters", counters.measure),
    "growth": ("A thousand times as many users", growth.measure),
    "memory": ("Process memory", footprint.measure),
    "inserts": ("Writes", inserts.measure),
    "bulk": ("Large changes", bulk.measure),
}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", choices=PARTS, action="append", help="a part to run; all by default")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--seconds", type=float, default=2, help="of load, per contestant and round")
    parser.add_argument("--connections", type=int, default=32)
    parser.add_argument("--short", action="store_true", help="of bulk: half a minute instead of half an hour")
    arguments = parser.parse_args()
    options = Options(arguments.rounds, arguments.seconds, arguments.connections, short=arguments.short)
    for name in arguments.only or PARTS:
        title, measure = PARTS[name]
        print(f"\n{title}", flush=True)
        measure(options)


if __name__ == "__main__":
    main()
