"""Records the pauses of the garbage collector in a process that has this folder in PYTHONPATH (benchmarks/pauses.py).

Python imports a module of this name as it starts. The file is written as the process ends.
"""

import atexit
import gc
import os
import sys
import time
from pathlib import Path


def _record(folder: Path) -> None:
    pauses: list[str] = []
    began = 0.0

    def collecting(phase: str, information: dict[str, int]) -> None:
        nonlocal began
        if phase == "start":
            # CPU time: on a busy machine the process could lose the processor meanwhile.
            began = time.thread_time()
        else:
            seconds = time.thread_time() - began
            pauses.append(f"{time.monotonic()} {information['generation']} {seconds}\n")

    gc.callbacks.append(collecting)
    file = folder / ".".join([Path(sys.argv[0]).name, *sys.argv[1:2], str(os.getpid())])
    atexit.register(lambda: file.write_text("".join(pauses)))


if "BENCHMARK_PAUSES" in os.environ:
    _record(Path(os.environ["BENCHMARK_PAUSES"]))
