"""The commits that are measured: this checkout, and with --against another one beside it."""

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path

from benchmarks.serving import BIN, ROOT


@dataclass(frozen=True)
class Release:
    programs: Path
    """The folder of its commands."""
    name: str | None = None
    """None for this checkout."""

    def called(self, what: str) -> str:
        """The name in the tables."""
        return what if self.name is None else f"{what}, {self.name}"


HERE = Release(BIN)


def at(reference: str) -> Release:
    """A commit in a folder and an environment of its own. Both stay for the next time."""
    commit = _git("rev-parse", "--verify", f"{reference}^{{commit}}").decode().strip()
    folder = ROOT / "build" / "against" / commit[:12]
    if not folder.exists():
        folder.mkdir(parents=True)
        subprocess.run(["tar", "--extract", "--directory", folder], input=_git("archive", commit), check=True)
    subprocess.run(["make", "--silent", f"PYTHON={sys.executable}", ".venv/bin/.ready"], cwd=folder, check=True)
    return Release(folder / ".venv" / "bin", reference)


def _git(*words: str) -> bytes:
    return subprocess.run(["git", *words], cwd=ROOT, check=True, capture_output=True).stdout
