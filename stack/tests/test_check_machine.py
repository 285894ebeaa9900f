"""Where the packages do not exist, `make` says so in one sentence. Where it says that they do, they do."""

import os
import runpy
import subprocess
import sys
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]

program = runpy.run_path(str(ROOT / "stack" / "check_machine.py"))


@pytest.mark.parametrize(
    ("version", "implementation", "free_threaded", "lacking"),
    [
        ((3, 11), "CPython", False, None),
        ((3, 14), "CPython", False, None),
        ((3, 15), "CPython", False, "CPython 3.15"),
        ((3, 10), "CPython", False, "CPython 3.10"),
        ((3, 11), "PyPy", False, "PyPy 3.11"),
        ((3, 14), "CPython", True, "CPython 3.14 without a global lock"),
    ],
)
def test_pythons(version: tuple[int, int], implementation: str, *, free_threaded: bool, lacking: str | None) -> None:
    assert program["lacking_python"](version, implementation, free_threaded) == lacking


@pytest.mark.parametrize(
    ("system", "machine", "libc", "macos", "lacking"),
    [
        ("Linux", "x86_64", ("glibc", "2.31"), "", None),
        ("Linux", "aarch64", ("glibc", "2.42"), "", None),
        ("Darwin", "arm64", ("", ""), "15.6.1", None),
        ("Darwin", "arm64", ("", ""), "26.0", None),
        ("Linux", "riscv64", ("glibc", "2.42"), "", "Linux on riscv64"),
        ("Linux", "x86_64", ("", ""), "", "Linux without glibc, such as Alpine"),
        ("Linux", "x86_64", ("glibc", "2.28"), "", "glibc 2.28"),
        ("Darwin", "x86_64", ("", ""), "15.6", "Darwin on x86_64"),
        ("Darwin", "arm64", ("", ""), "14.7", "macOS 14.7"),
        ("Windows", "AMD64", ("", ""), "", "Windows on AMD64"),
    ],
)
def test_systems(system: str, machine: str, libc: tuple[str, str], macos: str, lacking: str | None) -> None:
    assert program["lacking_system"](system, machine, libc, macos) == lacking


def test_make_says_what_is_missing_and_what_works_instead(tmp_path: Path) -> None:
    """By a Python that takes itself for a version that there are no wheels for yet."""
    python = tmp_path / "python3"
    lines = ("import runpy, sys", "sys.version_info = (3, 15, 0)", "runpy.run_path(sys.argv[1], run_name='__main__')")
    python.write_text("\n".join((f"#!{sys.executable}", *lines)))
    python.chmod(0o755)
    environment = tmp_path / "bin"
    done = subprocess.run(
        ["/usr/bin/env", "make", "--always-make", f"PYTHON={python}", f"BIN={environment}", f"{environment}/.ready"],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 2
    line = done.stderr.splitlines()[0]
    assert line == f"{program['NEEDED']} This is CPython 3.15. {program['INSTEAD']} {program['OTHER_PYTHON']}"
    assert not environment.exists()


@pytest.mark.slow
@pytest.mark.parametrize("python", ["3.11", "3.14"])
@pytest.mark.parametrize("system", ["x86_64-manylinux_2_31", "aarch64-manylinux_2_31", "aarch64-apple-darwin"])
def test_all_packages_exist_for_supported_machines(python: str, system: str, tmp_path: Path) -> None:
    uv = Path(sys.executable).with_name("uv")
    target = ("--python-version", python, "--python-platform", system)
    done = subprocess.run(
        [
            uv,
            "pip",
            "compile",
            *target,
            "--only-binary",
            ":all:",
            "--no-deps",
            "-qo",
            tmp_path / "out",
            "requirements.lock",
        ],
        cwd=ROOT,
        env=os.environ | {"MACOSX_DEPLOYMENT_TARGET": "15.0"},
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr
