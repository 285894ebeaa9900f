"""A test process that is killed leaves nothing behind."""

import subprocess
import sys
import time

import psutil

TEST_PROCESS = """
import subprocess, sys, time
from tests.support import leftovers
leftovers.watched(grace=0.5)
sleeper = "import signal, time; signal.signal(signal.SIGTERM, signal.SIG_IGN); time.sleep(600)"
child = subprocess.Popen([sys.executable, "-c", sleeper], start_new_session=True)
print(child.pid, flush=True)
time.sleep(600)
"""


def test_what_a_killed_test_process_has_started_ends() -> None:
    with subprocess.Popen([sys.executable, "-c", TEST_PROCESS], stdout=subprocess.PIPE) as process:
        assert process.stdout is not None
        child = psutil.Process(int(process.stdout.readline()))
        process.kill()
        process.wait()
        deadline = time.monotonic() + 60
        while child.is_running() and child.status() != psutil.STATUS_ZOMBIE:
            assert time.monotonic() < deadline
            time.sleep(0.05)
