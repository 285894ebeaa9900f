"""The environments of programs whose dependencies are not those of this project: contestants, and the plots."""

import subprocess
import sys
from pathlib import Path

from benchmarks.serving import BIN, ROOT

CONTESTANTS = ROOT / "benchmarks" / "contestants"
PLOTTING = ROOT / "benchmarks" / "plotting"


def names() -> list[str]:
    """The contestants that have a lock file."""
    return sorted(lock.parent.name for lock in CONTESTANTS.glob("*/requirements.lock"))


def python(name: str) -> Path:
    """The contestant's Python, with what its lock file pins."""
    return python_of(CONTESTANTS / name)


def version(name: str, package: str) -> str:
    """The version of a package that the contestant's lock file pins."""
    text = (CONTESTANTS / name / "requirements.lock").read_text()
    return next(line.split()[0].partition("==")[2] for line in text.splitlines() if line.startswith(f"{package}=="))


def python_of(folder: Path) -> Path:
    """The Python of the folder's environment, which is made when it is missing or old."""
    environment, lock = folder / ".venv", folder / "requirements.lock"
    program, made_from = environment / "bin" / "python", environment / "made-from.lock"
    if not made_from.exists() or made_from.read_text() != lock.read_text():
        print(f"(preparing the environment of {folder.name} …)", file=sys.stderr, flush=True)
        _uv("venv", "--clear", "--python", sys.executable, str(environment))
        _uv("pip", "sync", "--python", str(program), "--compile-bytecode", "--require-hashes", str(lock))
        made_from.write_text(lock.read_text())
    return program


def _uv(*words: str) -> None:
    subprocess.run([BIN / "uv", "--quiet", *words], check=True)
