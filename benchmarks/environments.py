"""The environments of contestants whose dependencies are not those of this project."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving import BIN, ROOT

CONTESTANTS = ROOT / "benchmarks" / "contestants"


def names() -> list[str]:
    """The contestants that have a lock file."""
    return sorted(lock.parent.name for lock in CONTESTANTS.glob("*/requirements.lock"))


def python(name: str) -> Path:
    """The contestant's Python, with what its lock file pins. The environment is made when it is missing or old."""
    folder = CONTESTANTS / name
    environment, lock = folder / ".venv", folder / "requirements.lock"
    program, made_from = environment / "bin" / "python", environment / "made-from.lock"
    if not made_from.exists() or made_from.read_text() != lock.read_text():
        print(f"(preparing the environment of {name} …)", file=sys.stderr, flush=True)
        _uv("venv", "--clear", "--python", sys.executable, str(environment))
        _uv("pip", "sync", "--python", str(program), "--compile-bytecode", "--require-hashes", str(lock))
        made_from.write_text(lock.read_text())
    return program


def _uv(*words: str) -> None:
    subprocess.run([BIN / "uv", "--quiet", *words], check=True)
