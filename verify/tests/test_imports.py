"""Who may import whom: the verifiers judge from outside, and neither knows the other."""

import ast
from collections.abc import Iterable
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
VERIFY = ROOT / "verify/src/verify"
OF_EVENKEEL = {"counter_api", "evenkeel", "stack", "user_api", "verify"}


def _imported(paths: Iterable[Path]) -> set[str]:
    """The modules of Evenkeel that are imported anywhere in these files."""
    found: set[str] = set()
    for path in paths:
        for node in ast.walk(ast.parse(path.read_text())):
            match node:
                case ast.Import(names):
                    found |= {each.name for each in names}
                case ast.ImportFrom(module=str(module), names=names):
                    found |= {module, *(f"{module}.{each.name}" for each in names)}
    return {name for name in found if name.partition(".")[0] in OF_EVENKEEL}


def _roots(folder: Path) -> set[str]:
    return {name.partition(".")[0] for name in _imported(folder.rglob("*.py"))}


def test_verify_imports_nothing_of_what_it_verifies() -> None:
    assert _roots(VERIFY) == {"stack", "verify"}


def test_the_stack_does_not_import_verify() -> None:
    assert _roots(ROOT / "stack/src/stack") == {"stack"}


@pytest.mark.parametrize(("room", "other"), [("cache", "counters"), ("counters", "cache")])
def test_the_rooms_do_not_import_each_other(room: str, other: str) -> None:
    assert {name for name in _imported((VERIFY / room).glob("*.py")) if name.startswith(f"verify.{other}")} == set()


@pytest.mark.parametrize("path", sorted(VERIFY.glob("*.py")), ids=lambda path: path.stem)
def test_what_the_rooms_share_does_not_import_them(path: Path) -> None:
    rooms = {name for name in _imported([path]) if name.startswith(("verify.cache", "verify.counters"))}
    assert bool(rooms) is (path.name == "cli.py")
