"""Pauses of the garbage collector are recorded in the processes that are measured."""

import subprocess
import sys
import time
from pathlib import Path

from benchmarks.pauses import recorded, recording, rows

PROGRAM = """
import gc
gc.disable()
cycles = [[] for _ in range(100_000)]
for each in cycles:
    each.append(each)
del cycles, each
gc.collect(0)
"""


def test_a_process_records_its_pauses(tmp_path: Path) -> None:
    program = tmp_path / "program"
    program.write_text(PROGRAM)
    folder = tmp_path / "pauses"
    folder.mkdir()
    began = time.monotonic()
    subprocess.run([sys.executable, program, "serve"], env=recording(folder), check=True)
    whole = [(began, time.monotonic())]
    [pauses] = recorded(folder, "program.serve", whole)
    [longest] = [pause for pause in pauses if pause.seconds == max(each.seconds for each in pauses)]
    assert longest.generation in {0, 2}  # the last one, of the interpreter's end, is of generation 2
    assert longest.seconds > 0
    [(name, count, _, share)] = rows(folder, ["program.serve"], whole)
    assert (name, count) == ("program.serve", str(len(pauses)))
    assert share != "0.000%"
    assert list(recorded(folder, "program.serve", [(began - 2, began - 1)])) == [[]]
    assert list(recorded(folder, "another", whole)) == []
