"""A run says which tests it leaves out because a program is not installed. It says nothing if all are."""

import os
import subprocess
import sys
from pathlib import Path

from tests.support import pgbouncer

ROOT = Path(__file__).parents[1]


def test_what_is_not_installed_is_said_once(tmp_path: Path) -> None:
    promtool = tmp_path / "promtool"
    promtool.touch(mode=0o755)
    (tmp_path / "test_nothing.py").write_text("def test_nothing(): pass\n")
    run = subprocess.run(
        [
            *(sys.executable, "-m", "pytest", "-q", "--collect-only", "--backend=embedded"),
            *("--rootdir", ROOT, "-c", ROOT / "pyproject.toml", "-p", "conftest", tmp_path / "test_nothing.py"),
        ],
        env=os.environ | {"PATH": str(tmp_path), "PYTHONPATH": str(ROOT)},
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=True,
        timeout=60,
    )
    missing = [line for line in run.stdout.splitlines() if "left out" in line]
    without = [] if pgbouncer.PROGRAM else ["pgbouncer"]  # it is found outside of PATH, too
    assert missing == [f"Tests marked {name} are left out: {name} is not installed" for name in ["chromium", *without]]
