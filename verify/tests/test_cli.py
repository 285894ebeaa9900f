"""The command line where nothing runs."""

import subprocess
from pathlib import Path

import pytest
from click.testing import CliRunner, Result
from tests.support.verify_program import VERIFY

from verify.cli import main


def _invoke(directory: Path, *arguments: str) -> Result:
    """In this process, for what depends on the arguments alone."""
    return CliRunner().invoke(main, ["--directory", str(directory), *arguments])


def _run(directory: Path, *arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [VERIFY, "--directory", directory, *arguments],
        env={"PATH": "/usr/bin:/bin"},
        capture_output=True,
        text=True,
        check=False,
        timeout=60,
    )


@pytest.mark.parametrize(
    "arguments",
    [
        ["cache", "--seconds", "0"],
        ["cache", "--faults", "flood"],
        ["cache", "--target", "http://127.0.0.1:1", "--faults", "kill-redis"],
        ["cache", "--target", "127.0.0.1:80"],
        ["cache", "--users", "19"],
        ["cache", "--bogus"],
        ["counters", "--operations", "many"],
        ["counters", "--clients", "0"],
        ["counters", "--faults", "kill-postgres"],
        ["counters", "--target", "http://127.0.0.1:1", "--faults", "kill-redis"],
        ["counters", "--target", "https://127.0.0.1:1"],
        ["disruptions"],
        ["disruptions", "--bogus"],
        ["users"],
        [],
    ],
)
def test_wrong_usage_is_one_line_and_status_2(tmp_path: Path, arguments: list[str]) -> None:
    ended = _invoke(tmp_path, *arguments)
    assert (ended.exit_code, ended.stdout) == (2, "")
    assert ended.stderr.startswith("verify: ")
    assert ended.stderr.count("\n") == 1


def test_wrong_usage_as_a_program(tmp_path: Path) -> None:
    ended = _run(tmp_path, "cache", "--faults", "flood")
    assert (ended.returncode, ended.stdout) == (2, "")
    assert ended.stderr.startswith("verify: --faults: 'flood' is not possible in the local stack; choose from none, ")


@pytest.mark.parametrize("command", [[], ["cache"], ["counters"], ["disruptions"]])
def test_help(tmp_path: Path, command: list[str]) -> None:
    ended = _invoke(tmp_path, *command, "--help")
    assert (ended.exit_code, ended.stderr) == (0, "")
    assert ended.stdout.startswith(" ".join(["Usage: verify", *command]))


@pytest.mark.parametrize("command", ["cache", "counters"])
def test_nothing_runs(tmp_path: Path, command: str) -> None:
    ended = _invoke(tmp_path, command)
    assert (ended.exit_code, ended.stdout) == (1, "")
    assert ended.stderr == "verify: the stack is not running: `make up` starts it\n"
